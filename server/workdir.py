"""The folder for the recordings of running sessions: one for each process, emptied even after a crash.

A process that was killed cannot delete its files, so the next one does: a folder whose lock nobody holds is left over.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PREFIX = "sotto-"
YOUNG_S = 10.0  # a folder this young may belong to a process that has not locked it yet


@contextmanager
def workdir(parent: Path) -> Iterator[Path]:
    """A fresh folder, deleted with all that is in it at the end; what killed processes left behind goes first."""
    sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        with (folder / "lock").open("w") as lock:
            _lock(lock)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Delete the folders of processes that are gone."""
    for path in parent.glob(f"{PREFIX}*/lock"):
        try:
            with path.open("a") as lock:
                if time.time() - path.stat().st_mtime > YOUNG_S and _lock(lock):
                    shutil.rmtree(path.parent, ignore_errors=True)
        except OSError:
            continue  # somebody else's, or gone in the meantime


def _lock(file: IO[str]) -> bool:
    """Whether this process holds the lock now; the system lets go of it when the process ends, however it ends."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

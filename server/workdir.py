"""The folder for the recordings of running sessions: one for each process, emptied even after a crash.

A process that was killed cannot delete its files, so the next one does: a folder whose lock nobody holds is left over.
Only what this program has made is deleted: the lock says so in its first line, and belongs to the same user.
"""

import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "sotto-"
LOCK = ".sotto-lock"
MAGIC = b"recordings of a running Sotto; deleted when it is gone\n"
YOUNG_S = 10.0  # a folder this young may belong to a process that has not locked it yet


@contextmanager
def workdir(parent: Path) -> Iterator[Path]:
    """A fresh folder, deleted with all that is in it at the end; what killed processes left behind goes first."""
    sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        with (folder / LOCK).open("wb", buffering=0) as lock:
            _lock(lock.fileno())
            lock.write(MAGIC)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Delete the folders of processes that are gone."""
    if sys.platform == "win32":
        return
    for path in parent.glob(f"{PREFIX}*/{LOCK}"):
        try:
            # Somebody may have put a pipe or a link there: neither is waited for or followed.
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue  # somebody else's, or gone in the meantime
        try:
            if _is_ours(file) and _lock(file):
                shutil.rmtree(path.parent, ignore_errors=True)
        finally:
            os.close(file)


def _is_ours(file: int) -> bool:
    """Whether a process of this user made it as a lock, and not just now."""
    about = os.fstat(file)
    if not stat.S_ISREG(about.st_mode) or about.st_uid != os.getuid() or time.time() - about.st_mtime <= YOUNG_S:
        return False
    return os.read(file, len(MAGIC) + 1) == MAGIC


def _lock(file: int) -> bool:
    """Whether this process holds the lock now; the system lets go of it when the process ends, however it ends."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

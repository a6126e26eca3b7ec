"""Recordings do not outlive their process, however it ends."""

import os
import signal
import subprocess
import sys

import pytest

from server.workdir import LOCK, MAGIC, YOUNG_S, sweep, workdir

HOLD = """
import sys, pathlib
from server.workdir import workdir
with workdir(pathlib.Path(sys.argv[1])) as folder:
    (folder / "speech.webm").write_bytes(b"words")
    print(folder, flush=True)
    sys.stdin.read()
"""


def age(lock):
    then = os.stat(lock, follow_symlinks=False).st_mtime - 2 * YOUNG_S
    os.utime(lock, (then, then), follow_symlinks=False)


def test_the_folder_goes_with_all_that_is_in_it(tmp_path):
    with workdir(tmp_path) as folder:
        (folder / "speech.webm").write_bytes(b"words")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_behind_is_deleted_and_what_a_running_one_uses_is_not(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            process.stdout.readline()
            [left] = tmp_path.iterdir()
            age(left / LOCK)
            sweep(tmp_path)
            assert (left / "speech.webm").exists()
        finally:
            process.send_signal(signal.SIGKILL)
    assert left.exists()
    sweep(tmp_path)
    assert not left.exists()


def test_a_folder_just_made_is_left_alone(tmp_path):
    (tmp_path / "sotto-new").mkdir()
    (tmp_path / "sotto-new" / LOCK).write_bytes(MAGIC)
    sweep(tmp_path)
    assert (tmp_path / "sotto-new").exists()


FOREIGN = {
    "a lock of another program": lambda lock: lock.write_bytes(b"4711\n"),
    "an empty file": lambda lock: lock.touch(),
    "a longer text that begins alike": lambda lock: lock.write_bytes(MAGIC + b"and more"),
    "a pipe nobody writes to": os.mkfifo,
    "a link to a lock": lambda lock: lock.symlink_to(lock.parents[1] / "real"),
    "a folder": lambda lock: lock.mkdir(),
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_what_others_keep_under_a_name_like_ours_is_left_alone(make, tmp_path):
    (tmp_path / "real").write_bytes(MAGIC)
    (tmp_path / "sotto-notes").mkdir()
    make(tmp_path / "sotto-notes" / LOCK)
    for lock in (tmp_path / "real", tmp_path / "sotto-notes" / LOCK):
        age(lock)
    sweep(tmp_path)
    assert os.path.lexists(tmp_path / "sotto-notes" / LOCK)


def test_a_folder_with_any_other_lock_is_left_alone(tmp_path):
    (tmp_path / "sotto-notes").mkdir()
    (tmp_path / "sotto-notes" / "lock").write_bytes(MAGIC)
    age(tmp_path / "sotto-notes" / "lock")
    sweep(tmp_path)
    assert (tmp_path / "sotto-notes").exists()


def test_of_several_folders_only_the_left_over_one_is_deleted(tmp_path):
    (tmp_path / "sotto-old").mkdir()
    (tmp_path / "sotto-old" / LOCK).write_bytes(MAGIC)
    age(tmp_path / "sotto-old" / LOCK)
    with workdir(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]

"""Recordings do not outlive their process, however it ends."""

import os
import signal
import subprocess
import sys

from server.workdir import YOUNG_S, sweep, workdir

HOLD = """
import sys, pathlib
from server.workdir import workdir
with workdir(pathlib.Path(sys.argv[1])) as folder:
    (folder / "speech.webm").write_bytes(b"words")
    print(folder, flush=True)
    sys.stdin.read()
"""


def age(folder):
    then = os.stat(folder / "lock").st_mtime - 2 * YOUNG_S
    os.utime(folder / "lock", (then, then))


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
            age(left)
            sweep(tmp_path)
            assert (left / "speech.webm").exists()
        finally:
            process.send_signal(signal.SIGKILL)
    assert left.exists()
    sweep(tmp_path)
    assert not left.exists()


def test_a_folder_just_made_is_left_alone(tmp_path):
    (tmp_path / "sotto-new").mkdir()
    (tmp_path / "sotto-new" / "lock").touch()
    sweep(tmp_path)
    assert (tmp_path / "sotto-new").exists()

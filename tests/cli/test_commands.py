"""`sotto` as a program: its commands, and how it ends."""

import os
import signal
import subprocess
import sys

import pytest
from api.conftest import RECORDINGS, ROOT, Process, environment

from server.batch.decode import decode
from server.cli.target import SERVER, TOKEN
from server.settings import CLIENTS

from .conftest import KEY

WEBM = RECORDINGS / "chromium-webm-opus.webm"


def here(server: Process) -> dict[str, str]:
    return environment(PYTHONPATH=str(ROOT), SOTTO_SERVER=server.url, SOTTO_TOKEN=KEY)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "server", *words]


def sotto(server: Process, *words: str, **how: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command(*words), env=here(server), capture_output=True, timeout=60, **how)


def samples() -> bytes:
    """The recording as 16-bit samples."""
    with WEBM.open("rb") as file:
        return b"".join((block * 32767).astype("<i2").tobytes() for block in decode(file, longest_s=60))


def test_transcribe(server):
    ended = sotto(server, "transcribe", str(WEBM))
    assert ended.returncode == 0 and b"best of times" in ended.stdout and ended.stderr == b""


def test_a_pipe_of_samples_becomes_a_line_for_each_final(server):
    ended = sotto(server, "live", input=samples())
    notes = [note for note in ended.stderr.splitlines() if b"the engine" not in note]  # which may be late: all at once
    assert ended.returncode == 0 and not notes
    assert b"best of times" in ended.stdout and b"foolishness" in ended.stdout.splitlines()[-1]


def test_a_pipe_of_a_container_needs_no_word_about_it(server):
    ended = sotto(server, "live", "-", input=WEBM.read_bytes())
    assert ended.returncode == 0 and b"foolishness" in ended.stdout


def test_a_file_comes_at_its_own_pace(server, tmp_path):
    short = tmp_path / "short.pcm"
    short.write_bytes(samples()[: 2 * 16_000 * 3])
    ended = sotto(server, "live", str(short), "--rate", "16000")
    assert ended.returncode == 0 and b"best" in ended.stdout


def test_ctrl_c_ends_the_sound_and_the_last_words_come(server):
    with subprocess.Popen(command("live"), env=here(server), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as live:
        try:
            assert live.stdin and live.stdout
            live.stdin.write(samples())
            live.stdin.flush()
            first = live.stdout.readline()  # nothing more comes for a while, which makes it final
            live.send_signal(signal.SIGINT)
            rest = live.stdout.read()
            assert live.wait(20) == 0 and b"foolishness" in first + rest
        finally:
            live.kill()


@pytest.mark.parametrize(
    "words, code, why",
    [
        (["live", "nothing.webm"], 1, b"No such file"),
        (["live", __file__], 1, b"sotto transcribe"),
        (["live", "--rate", "5"], 1, b"sample rate"),
        (["live", str(WEBM), "--language", "xx"], 1, b"knows en"),
        (["live", str(WEBM), "--server", "http://127.0.0.1:1"], 1, b"cannot reach"),
        (["live", str(WEBM), "--server", "http://127.0.0.1:99999"], 1, b"expected a server"),
        (["live", str(WEBM), "--server", "http://[a"], 1, b"expected a server"),
        (["live", str(WEBM), "--token", "schl\u00fcssel"], 2, b"--token"),
        (["transcribe", str(WEBM), "--token", "schl\u00fcssel"], 2, b"--token"),
        (["transcribe"], 2, b"FILE"),
        (["sing"], 2, b"sing"),
    ],
)
def test_a_fault_is_a_line_and_an_exit_code(server, words, code, why):
    ended = sotto(server, *words, input=bytes(4000))
    assert ended.returncode == code and why in ended.stderr and b"Traceback" not in ended.stderr


def test_a_standard_input_that_is_closed_is_told(server):
    ended = sotto(server, "live", preexec_fn=lambda: os.close(0))
    assert ended.returncode == 2 and b"expected a file" in ended.stderr and b"Traceback" not in ended.stderr


def test_a_reader_who_leaves_ends_it_without_a_word(server):
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        ended = subprocess.run(
            command("transcribe", str(WEBM)), env=here(server), stdout=theirs, stderr=subprocess.PIPE, timeout=60
        )
    finally:
        os.close(theirs)
    assert ended.returncode == 1 and ended.stderr == b""


def test_help_tells_of_every_command(server):
    said = sotto(server, "--help")
    assert all(name in said.stdout for name in (b"serve", b"transcribe", b"live"))


def test_the_server_passes_over_what_is_for_its_clients():
    assert {SERVER, TOKEN} == CLIENTS

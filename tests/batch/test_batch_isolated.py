"""Files are decoded in a process that has nothing but the file; what happens to it happens to this file only."""

import io
import os
import platform
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from anyio import create_task_group, fail_after
from anyio.abc import ByteReceiveStream
from anyio.lowlevel import checkpoint
from flac import silent
from test_batch_decode import FORMATS, encoded, wav

from server.batch import isolated
from server.batch.decode import decode
from server.batch.isolated import SAMPLE, TURN_S, Sound, decoded
from server.batch.worker import END, FAULT, HEAD, LENGTH, READY, SOUND
from server.errors import AudioCorrupt, AudioTooLarge, Overloaded, UnsupportedFormat
from server.speech.types import RATE

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
MINUTE = wav(bytes(2 * RATE * 60))


@pytest.fixture
def anyio_backend():
    return "asyncio"


@contextmanager
def on_disk(data: bytes):
    with tempfile.TemporaryFile() as file:
        file.write(data)  # and not flushed: that is not the caller's business
        yield file


async def sound_of(data: bytes, longest_s: float = 3600) -> np.ndarray:
    blocks = []
    with on_disk(data) as file, fail_after(60):
        async with decoded(file, longest_s=longest_s) as sound:
            while (samples := await sound.read()) is not None:
                blocks.append(samples)
    return np.concatenate(blocks)


def children() -> list[psutil.Process]:
    """The decoders, the newest last; numbers begin anew some time, and other tests have programs of their own."""
    found = [one for one in psutil.Process().children() if "server.batch.worker" in " ".join(one.cmdline())]
    return sorted(found, key=psutil.Process.create_time)


def child() -> psutil.Process:
    (process,) = children()
    return process


@pytest.mark.parametrize("name", FORMATS)
async def test_the_sound_of_every_format_is_the_decoders(name):
    data = encoded(*FORMATS[name])
    expected = np.concatenate(list(decode(io.BytesIO(data), longest_s=3600)))
    assert np.array_equal(await sound_of(data), expected)


async def test_a_file_that_is_still_in_memory_is_read_too_and_can_be_read_again():
    with tempfile.SpooledTemporaryFile(max_size=2**24) as file, fail_after(60):
        file.write(MINUTE)
        async with decoded(file, longest_s=100) as sound:
            assert sound.duration == pytest.approx(60)
            assert TURN_S <= len(await sound.read()) / RATE < TURN_S + 1
        file.seek(0)
        assert file.read() == MINUTE


@pytest.mark.parametrize(
    "data, fault",
    [
        (b"<html>", UnsupportedFormat),
        (b"", AudioCorrupt),
        (MINUTE[:40], AudioCorrupt),
        (wav(bytes(20_000), rate=1), UnsupportedFormat),
        (silent(1, 192_000, channels=8), UnsupportedFormat),
        (silent(7200, 16_000), AudioTooLarge),
    ],
    ids=["html", "nothing", "a header", "1 Hz", "8 channels of 192 kHz", "two hours in 33 kB"],
)
async def test_faults_of_the_file_are_told_before_it_is_read(data, fault):
    with on_disk(data) as file, fail_after(60), pytest.raises(fault) as told:
        async with decoded(file, longest_s=3600):
            raise AssertionError("nothing is to be read")
    assert told.value.param == "file"


async def test_two_hours_in_33_kilobytes_are_no_fault():
    with on_disk(silent(7200, 16_000)) as file, fail_after(60):
        async with decoded(file, longest_s=12 * 3600) as sound:
            assert sound.duration == pytest.approx(7200, abs=10) and await sound.read() is not None


# -- what becomes of the process -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGKILL, signal.SIGXCPU])
async def test_a_crash_of_the_decoder_harms_only_its_file(how, caplog):
    with on_disk(MINUTE) as file, on_disk(MINUTE) as other, fail_after(60):
        async with decoded(other, longest_s=100) as unharmed:
            with pytest.raises(AudioCorrupt):
                async with decoded(file, longest_s=100) as sound:
                    children()[-1].send_signal(how)
                    while await sound.read() is not None:
                        pass
            while await unharmed.read() is not None:
                pass
            assert unharmed.duration == 60
    assert how.name in caplog.text


async def test_a_decoder_that_hangs_is_not_waited_for(monkeypatch):
    with on_disk(MINUTE) as file, fail_after(60), pytest.raises(AudioCorrupt):
        async with decoded(file, longest_s=100) as sound:
            child().suspend()
            monkeypatch.setattr(isolated, "HANG_S", 0.05)
            while await sound.read() is not None:
                pass
    assert children() == []


async def test_who_goes_away_takes_the_decoder_along():
    with on_disk(MINUTE) as file, fail_after(60):
        async with create_task_group() as tasks, decoded(file, longest_s=100):
            tasks.cancel_scope.cancel()
    assert children() == []


async def test_a_decoder_that_cannot_be_started_is_our_fault(monkeypatch):
    for broken in ("/nowhere/python", "/bin/false"):
        monkeypatch.setattr(sys, "executable", broken)
        with on_disk(MINUTE) as file, fail_after(60), pytest.raises(Overloaded):
            async with decoded(file, longest_s=100):
                pass


def message(kind: bytes, payload: bytes = b"") -> bytes:
    return HEAD.pack(kind, len(payload)) + payload


BEGIN = message(READY) + message(LENGTH, b"60.0")
LIES = {  # what a decoder that was broken into says for ever: the beginning, and what is repeated
    "sound of nothing": (BEGIN, message(SOUND)),
    "half a sample": (BEGIN, message(SOUND, b"ab")),
    "another beginning": (b"", message(READY)),
    "another length": (BEGIN, message(LENGTH, b"60.0")),
    "a length without end": (message(READY), message(LENGTH, b"Infinity")),
    "a length that is none": (message(READY), message(LENGTH, b"[" * 4000)),
    "a long fault": (BEGIN, message(FAULT, b'["audio.corrupt", "%s"]' % (b"a" * 5000))),
    "what nobody knows": (BEGIN, message(b"x")),
}


def broken_into(monkeypatch, begin: bytes, more: bytes, times: int) -> None:
    """Decoders say this, and then that they have ended, whatever their file is."""
    say = f"say({begin!r})\nfor _ in range({times}): say({more!r})\nsay({message(END)!r})"
    monkeypatch.setattr(isolated, "BOOT", f"import sys\nsay = sys.stdout.buffer.write\n{say}")


@pytest.mark.parametrize("lie", LIES)
async def test_a_decoder_that_was_broken_into_is_not_listened_to(lie, monkeypatch):
    broken_into(monkeypatch, *LIES[lie], times=10**9)
    with on_disk(MINUTE) as file, fail_after(60), pytest.raises(AudioCorrupt):
        async with decoded(file, longest_s=100) as sound:
            await sound.read()


class Full(ByteReceiveStream):
    """A process whose pipe has been filled."""

    def __init__(self, pipe: bytes) -> None:
        self._pipe = io.BytesIO(pipe)
        self.stdout = self

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        return self._pipe.read(max_bytes)

    async def aclose(self) -> None:
        pass


async def test_a_decoder_with_many_small_things_to_say_lets_others_have_their_turn():
    turns, count = 0, 1000
    sound = Sound(Full(BEGIN + message(SOUND, bytes(SAMPLE)) * count + message(END)), longest_s=100)

    async def others() -> None:
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    async with create_task_group() as tasks:
        tasks.start_soon(others)
        assert len(await sound.read()) == count
        assert turns >= count
        tasks.cancel_scope.cancel()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc here")
async def test_the_process_has_no_secret_and_only_its_file(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with on_disk(MINUTE) as file, on_disk(b"secret") as other, fail_after(60):
        os.set_inheritable(other.fileno(), True)
        async with decoded(file, longest_s=100):
            process = child()
            assert set(process.environ()) <= {*isolated.ENVIRONMENT, *isolated.KEPT}
            assert process.num_fds() == 3 and process.num_threads() == 1
            assert os.getsid(process.pid) == process.pid and process.nice() >= 10


# -- the sandbox ---------------------------------------------------------------------------------------------------

ESCAPES = {
    "a file": "open(os.devnull)",
    "a folder": "os.listdir('/')",
    "a socket": "socket.socket()",
    "a pipe": "os.pipe()",
    "a thread": "_thread.start_new_thread(int, ())",
    "a process": "os.fork() or os._exit(0)",
    "a program": "os.execv('/bin/true', ['true'])",
    "a signal": "os.kill(os.getpid(), 0)",
    "much memory": "mmap.mmap(-1, 2**30)",
}
LINUX = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")


@pytest.mark.skipif(not LINUX, reason="system calls are only refused by Linux on x86-64 and ARM64")
@pytest.mark.parametrize("what", ESCAPES)
def test_nothing_else_is_within_reach(what):
    program = f"""
import _thread, mmap, os, socket, sys
from server.batch import sandbox
if sys.argv[1:]:
    sandbox.enter(10)
try:
    {ESCAPES[what]}
except (OSError, RuntimeError, MemoryError):
    os._exit(7)
os._exit(0)
"""
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, cwd=ROOT, timeout=60).returncode == 0
    assert subprocess.run([*command, "locked in"], cwd=ROOT, timeout=60).returncode == 7


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_no_more_cpu_than_a_file_may_take():
    program = "from server.batch import sandbox; sandbox.enter(1)\nwhile True: pass"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60)
    assert ran.returncode in (-signal.SIGXCPU, -signal.SIGKILL)

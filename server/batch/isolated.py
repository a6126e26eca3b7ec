"""A file decoded in a process of its own: a crash, a hang or a break-in there harms nothing but this file.

The process gets an empty environment, the open file, and a pipe that holds it up until somebody listens; see sandbox.py
for what is taken from it besides.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from math import isfinite
from pathlib import Path
from typing import IO

import anyio
import numpy as np
from anyio import to_thread
from anyio.abc import Process
from anyio.lowlevel import checkpoint
from anyio.streams.buffered import BufferedByteReceiveStream

from ..errors import AudioCorrupt, Overloaded, SottoError
from ..speech.types import RATE, Samples
from .decode import MAGIC, sniff
from .worker import END, FAULT, FAULTS, HEAD, LENGTH, READY, SOUND

HANG_S = 30.0  # seconds without a word from it while we listen
CPU_S = 20.0  # seconds of CPU for any file, and besides …
SLOWEST = 50  # … one for so many seconds of sound that are allowed: a slow machine decodes AAC 100 times as fast
END_S = 5.0  # seconds until a killed process must be gone
TURN_S = 16.0  # seconds of sound that are given out at once: 30 ms of work for who takes them
MOST = 2**22  # bytes in a message; a second of sound has 64 kB, the longest frame of FLAC 1 MB
MOST_JSON = 4096  # bytes in any other
AFTER = {b"": READY, READY: LENGTH + FAULT, LENGTH: SOUND + END + FAULT, SOUND: SOUND + END + FAULT}  # what may follow
SAMPLE = np.dtype(np.float32).itemsize  # bytes
KEPT = ("LD_LIBRARY_PATH", "SYSTEMROOT")  # of the environment: what Python itself may need to start
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # seccomp's rules are each thread's own
BOOT = "import sys; sys.path[:] = sys.argv[1].split('\\n'); from server.batch.worker import main; main()"
ROOT = str(Path(__file__).parents[2])

log = logging.getLogger("sotto")


@asynccontextmanager
async def decoded(file: IO[bytes], *, longest_s: float) -> "AsyncIterator[Sound]":
    """The sound of a file on disk; whatever is not audio, or too long, is told before the block begins.

    Raises UnsupportedFormat, AudioCorrupt, AudioTooLarge; Overloaded where no process can be started.
    """
    place = await to_thread.run_sync(_on_disk, file)
    try:
        async with _process(file, longest_s) as process:
            sound = Sound(process, longest_s)
            await sound.begin()
            yield sound
    finally:
        os.lseek(file.fileno(), place, os.SEEK_SET)  # the process moves it, and Python's buffer would not know


class Sound:
    """What comes out of the process, which is not trusted. `duration` is in seconds, None while nobody knows."""

    def __init__(self, process: Process, longest_s: float) -> None:
        assert process.stdout
        self.duration: float | None = None
        self._process = process
        self._pipe = BufferedByteReceiveStream(process.stdout)
        self._longest_s = longest_s
        self._patience_s = 2 * _cpu_s(longest_s)  # for all the time that we wait for it
        self._last = b""  # the kind of the last message
        self._count = 0  # samples
        self._waiting = bytearray()

    async def begin(self) -> None:
        """Returns when there is sound, or none to come."""
        while not self._waiting and self._last != END:
            await self._listen()

    async def read(self) -> Samples | None:
        """The next TURN_S seconds, float32, mono, 16 kHz; the last ones are fewer, and then comes None."""
        while self._last != END and len(self._waiting) < TURN_S * RATE * SAMPLE:
            await self._listen()
        samples, self._waiting = np.frombuffer(self._waiting, np.float32), bytearray()
        return samples if len(samples) else None

    async def _listen(self) -> None:
        kind, payload = await self._message()
        if kind not in AFTER[self._last]:
            raise self._failed(f"{kind!r} after {self._last!r}")
        self._last = kind
        try:
            if kind == LENGTH:
                self.duration = json.loads(payload)
                if self.duration is not None and not isfinite(self.duration):
                    raise ValueError(f"a length of {self.duration}")
            elif kind == SOUND:
                self._hear(payload)
            elif kind == END:
                self.duration = self._count / RATE
            elif kind == FAULT:
                code, message = json.loads(payload)
                raise FAULTS[code](message, param="file") if code in FAULTS else self._failed(message)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise self._failed(repr(error)) from error

    def _hear(self, sound: bytes) -> None:
        if not sound or len(sound) % SAMPLE:
            raise self._failed(f"a sound of {len(sound)} bytes")
        self._waiting += sound
        self._count += len(sound) // SAMPLE
        seconds = self._count / RATE
        if seconds > self._longest_s:
            raise self._failed("more sound than it may give")
        if self.duration is not None and seconds > self.duration + 1:
            self.duration = None  # the file claimed less

    async def _message(self) -> tuple[bytes, bytes]:
        began = anyio.current_time()
        try:
            with anyio.fail_after(min(HANG_S, self._patience_s)):
                await checkpoint()  # what has come already is not waited for, and others want their turn
                kind, size = HEAD.unpack(await self._pipe.receive_exactly(HEAD.size))
                if size > (MOST if kind == SOUND else MOST_JSON):
                    raise self._failed(f"{size} bytes at once")
                return kind, await self._pipe.receive_exactly(size)
        except TimeoutError:
            raise self._failed("no answer in time") from None
        except (anyio.IncompleteRead, anyio.EndOfStream):
            with anyio.move_on_after(END_S):
                await self._process.wait()
            raise self._failed(_end(self._process.returncode)) from None
        finally:
            self._patience_s -= anyio.current_time() - began

    def _failed(self, how: str) -> SottoError:
        log.warning("a decoder failed: %s", how[:500])
        if not self._last:
            return Overloaded("no decoder could be started", retry_after_s=5)
        return AudioCorrupt("expected audio that can be decoded, got some at which the decoder failed", param="file")


def _cpu_s(longest_s: float) -> float:
    return CPU_S + longest_s / SLOWEST


def _on_disk(file: IO[bytes]) -> int:
    """Writes what is still in memory; refuses what is no audio before a process is started for it. The file's place."""
    descriptor = file.fileno()
    file.seek(0)
    sniff(file.read(MAGIC))
    return os.lseek(descriptor, 0, os.SEEK_CUR)


@asynccontextmanager
async def _process(file: IO[bytes], longest_s: float) -> AsyncIterator[Process]:
    """It has ended when the block has."""
    paths = "\n".join([ROOT, *filter(None, sys.path)])  # found already: neither site nor a variable is needed for it
    command = [sys.executable, "-I", "-S", "-c", BOOT, paths, str(longest_s), str(_cpu_s(longest_s))]
    environment = ENVIRONMENT | {name: os.environ[name] for name in KEPT if name in os.environ}
    try:
        process = await anyio.open_process(
            command, stdin=file, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
        )
    except OSError as error:
        log.error("no decoder could be started: %s", error)
        raise Overloaded("no decoder could be started", retry_after_s=5) from error
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        with anyio.move_on_after(END_S, shield=True):
            with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
                while process.stdout:  # only a pipe that was read to its end counts as closed, and the process as over
                    await process.stdout.receive()
            await process.aclose()


def _end(code: int | None) -> str:
    """How a process ended."""
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit {code}"

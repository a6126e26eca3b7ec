"""Where the sound comes from: a file at the pace of its sound, or a pipe as it comes."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from time import monotonic
from typing import Any, BinaryIO

from ..audio import probe, raw
from ..audio.packet import Packet, Track
from ..audio.reader import ByteReader, Demuxer, Parser
from ..errors import SottoError, UnsupportedFormat

PIECE = 1024  # bytes; a quarter of a second of Opus
CHUNK_S = 0.25  # seconds; how often a browser's recorder gives what it has
READ = 65_536  # bytes
RAW: dict[str, Any] = {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1}  # what a pipe is taken for


@dataclass(frozen=True, slots=True)
class Source:
    """`audio` tells what samples without a header are, as the message `start` has it; None for a container."""

    file: BinaryIO
    head: bytes  # what was read to find that out
    audio: dict[str, Any] | None

    def parser(self) -> Callable[[ByteReader], Parser]:
        """Raises RequestInvalid for samples that cannot be."""
        if self.audio is None:
            return probe.parse
        return raw.parse(self.audio["encoding"], self.audio["sample_rate"], self.audio["channels"])

    def chunks(self) -> AsyncIterator[bytes]:
        """The sound, each chunk when it is there."""
        if stat.S_ISREG(os.fstat(self.file.fileno()).st_mode):
            return _paced(schedule(self.file, self.head, self.parser()))
        return _piped(self.file, self.head)


def identify(file: BinaryIO, told: dict[str, Any]) -> Source:
    """Look at the first bytes; `told` is what the user says of samples without a header.

    A file that is no container and of which nothing is told is refused: it is an MP3 rather than samples. Raises
    UnsupportedFormat, or RequestInvalid for samples that cannot be.
    """
    head = b""
    while len(head) < probe.RIFF_HEAD and (more := file.read(probe.RIFF_HEAD - len(head))):
        head += more
    try:
        if probe.suffix(head) is not None:
            return Source(file, head, None)
        raise UnsupportedFormat(f"expected WebM, MP4, Ogg or WAV, got {len(head)} bytes", param="file")
    except UnsupportedFormat:
        if not told and stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise
    source = Source(file, head, RAW | told)
    source.parser()
    return source


def schedule(file: BinaryIO, head: bytes, parse: Callable[[ByteReader], Parser]) -> Iterator[tuple[float, bytes]]:
    """A recording in chunks, each with the second at which a recorder would have given it.

    The demuxer knows: bytes by themselves tell no time, for silence takes few of them. A recording that it cannot read
    ends where it sees that, which is enough for the server to tell why.
    """
    demuxer = Demuxer(parse)
    chunk, given = b"", 0.0
    time, zero = 0.0, None  # of the last packet, and where the recorder's own clock began
    with suppress(SottoError):
        while data := head or file.read(PIECE):
            head = b""
            chunk += data
            for item in demuxer.feed(data):
                if isinstance(item, Track):
                    zero = None
                elif isinstance(item, Packet):
                    zero = item.time - time if zero is None else zero
                    time = max(time, item.time - zero)
            if time - given >= CHUNK_S:
                yield time, chunk
                chunk, given = b"", time
    yield time, chunk


async def _paced(chunks: Iterator[tuple[float, bytes]]) -> AsyncIterator[bytes]:
    begin = monotonic()
    for time, data in chunks:
        await asyncio.sleep(begin + time - monotonic())
        yield data


async def _piped(file: BinaryIO, head: bytes) -> AsyncIterator[bytes]:
    """Read in a thread that nobody waits for: a pipe on which nothing comes cannot be left in any other way."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[bytes] = asyncio.Queue(4)

    def read() -> None:
        data = head
        with suppress(CancelledError, RuntimeError):  # the loop has ended, and nobody listens any more
            while data:
                asyncio.run_coroutine_threadsafe(waiting.put(data), loop).result()
                try:
                    data = os.read(file.fileno(), READ)
                except OSError:
                    data = b""  # a recorder that was unplugged: what was said until then counts
            asyncio.run_coroutine_threadsafe(waiting.put(b""), loop).result()

    Thread(target=read, daemon=True, name="standard input").start()
    while data := await waiting.get():
        yield data

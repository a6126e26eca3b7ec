"""A browser's stream: speech as the WebM Opus chunks Chromium makes, sent at real-time pace, and what came back."""

import asyncio
import io
import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
import soxr
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from .clip import RATE, Speech

OPUS_RATE = 48_000
FRAME_S = 0.06  # Chromium's Opus frame
CHUNK_S = 0.3  # what a timeslice of 250 ms gives with such frames
BITRATE = 32_000
CLUSTER = re.compile(rb"\x1f\x43\xb6\x75")
LAST_WORD_S = 150.0  # how long to wait for `done`; a final is tried for two minutes


@dataclass(frozen=True, slots=True)
class Chunk:
    """One blob of a MediaRecorder, and when it was there: seconds after the first one."""

    time: float
    data: bytes


def record(speech: Speech) -> list[Chunk]:
    """Chunks of 300 ms, cut where Chromium cuts: one byte inside the next element."""
    data = _webm(speech)
    ends = [found.start() + 1 for found in CLUSTER.finditer(data)][1:] + [len(data)]
    starts = [0, *ends[:-1]]
    return [Chunk(i * CHUNK_S, data[a:b]) for i, (a, b) in enumerate(zip(starts, ends, strict=True))]


def _webm(speech: Speech) -> bytes:
    file = io.BytesIO()
    options = {"live": "1", "cluster_time_limit": str(int(CHUNK_S * 1000))}
    size = int(FRAME_S * OPUS_RATE)
    pcm = soxr.resample(speech.samples, RATE, OPUS_RATE).astype(np.float32)
    pcm = np.pad(pcm, (0, -len(pcm) % size))
    with av.open(file, "w", format="webm", options=options) as container:
        encoder = container.add_stream("libopus", rate=OPUS_RATE, layout="mono")
        encoder.bit_rate = BITRATE
        encoder.options = {"frame_duration": str(int(FRAME_S * 1000)), "application": "voip"}
        for at in range(0, len(pcm), size):
            frame = av.AudioFrame.from_ndarray(pcm[None, at : at + size], "flt", "mono")
            frame.sample_rate, frame.pts = OPUS_RATE, at
            container.mux(encoder.encode(frame))
        container.mux(encoder.encode(None))
    return file.getvalue()


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of the server; `at` is seconds after the first chunk was sent."""

    at: float
    bytes: int
    message: dict[str, Any]


@dataclass(slots=True)
class Session:
    """One stream, played."""

    heard: list[Heard] = field(default_factory=list)
    sent_at: float = 0.0  # when the last chunk was sent
    late: float = 0.0  # the most a chunk was sent too late: the benchmark's own fault

    def of(self, *types: str) -> list[Heard]:
        return [h for h in self.heard if h.message["type"] in types]

    @property
    def done(self) -> dict[str, Any] | None:
        """The last message, or None when the session died."""
        return next((h.message for h in self.of("done")), None)

    @property
    def text(self) -> str:
        return " ".join(h.message["text"] for h in self.of("final"))

    @property
    def cost(self) -> float:
        """Audio seconds sent to the engine for each second streamed."""
        return self.done["billed_s"] / self.done["audio_s"] if self.done else float("nan")

    def bytes_per_s(self, start: float, end: float) -> float:
        return sum(h.bytes for h in self.heard if start <= h.at < end) / (end - start)


async def play(url: str, chunks: list[Chunk], *, after: float = 0.0, query: str = "") -> Session:
    """Stream to the server at `url` (http://…), beginning `after` seconds from now; every chunk at its time."""
    session = Session()
    await asyncio.sleep(after)
    address = f"{url.replace('http', 'ws', 1)}/api/captions{query}"
    try:
        async with connect(address, max_size=None, compression=None, open_timeout=30) as socket:
            await socket.recv()  # ready
            begin = time.perf_counter()

            async def listen() -> None:
                async for text in socket:
                    message = json.loads(text)
                    session.heard.append(Heard(time.perf_counter() - begin, len(text), message))

            listening = asyncio.create_task(listen())
            try:
                for chunk in chunks:
                    await asyncio.sleep(begin + chunk.time - time.perf_counter())
                    session.late = max(session.late, time.perf_counter() - begin - chunk.time)
                    await socket.send(chunk.data)
                session.sent_at = time.perf_counter() - begin
                await socket.send('{"type":"stop"}')
                await asyncio.wait_for(listening, LAST_WORD_S)
            finally:
                listening.cancel()
    except (ConnectionClosed, InvalidHandshake, TimeoutError, OSError):
        pass  # the session has no `done`: it counts as dead
    return session


async def play_many(url: str, chunks: list[Chunk], count: int, *, spread_s: float = 3.0) -> list[Session]:
    """Several at once; they begin spread over some seconds, as people do."""
    return list(await asyncio.gather(*(play(url, chunks, after=spread_s * i / count) for i in range(count))))

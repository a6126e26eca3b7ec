"""An OpenAI-compatible server that knows what is said: it finds where the audio it got lies, and answers those words.

So the captions measure the server under test, not a model. It can be slow and fail as it is told, also while it runs:

    POST /v1/audio/transcriptions   as OpenAI's;   GET /stats   what was asked;   POST /control   {"delay_ms": 700, …}
"""

import argparse
import asyncio
import io
import json
import random
import re
import time
import wave
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from aiohttp import web

from .clip import RATE, Samples, Spoken
from .sound import Sound

FAILURES = ("500", "429", "html", "badjson", "empty", "hang", "drip")
UNSURE = -1.0  # the place of a packet that is in the recording more than once, or not at all
HEARD = 0.7  # a word is heard when this part of it is in the audio


def decode(data: bytes) -> Samples:
    """Any audio file as float32, mono, 16 kHz; packets that are damaged are left out, as WebKit's last one is."""
    pieces = []
    with av.open(io.BytesIO(data), "r") as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        for packet in container.demux(audio=0):
            with suppress(av.error.InvalidDataError):
                pieces += [piece for frame in packet.decode() for piece in resampler.resample(frame)]
        pieces += resampler.resample(None)
    return np.concatenate([piece.to_ndarray()[0] for piece in pieces]) if pieces else np.zeros(0, np.float32)


class Oracle:
    """Where a stretch of the recording lies: by its Opus packets where they are in it untouched, else by its sound."""

    def __init__(self, folder: Path) -> None:
        with wave.open(str(folder / "speech.wav")) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
        words = json.loads((folder / "speech.json").read_text())["words"]
        self._words = [Spoken(w["word"], w["start"], w["end"]) for w in words]
        self._sound = Sound(samples)
        self._packets: dict[bytes, float] = {}
        if (stream := folder / "speech.webm").is_file():
            for data, at in _packets(stream.read_bytes()):
                self._packets[data] = at if data not in self._packets else UNSURE

    def hear(self, data: bytes) -> tuple[float, list[Spoken]]:
        """Length in seconds, and the words with their times in the file."""
        if self._packets and (found := self._by_packets(data)):
            begin, seconds = found
        else:
            samples = decode(data)
            seconds = len(samples) / RATE
            place = self._sound.find(samples)
            if place is None:
                return seconds, []
            begin = place
        inside = (w for w in self._words if begin <= w.start + HEARD * (w.end - w.start) < begin + seconds)
        return seconds, [Spoken(w.text, max(0.0, w.start - begin), min(seconds, w.end - begin)) for w in inside]

    def _by_packets(self, data: bytes) -> tuple[float, float] | None:
        packets = _packets(data)
        for content, at in packets:
            if (place := self._packets.get(content, UNSURE)) >= 0:
                first, last = packets[0][1], packets[-1][1]
                return place - at, (last - first) * len(packets) / max(1, len(packets) - 1)
        return None


def _packets(data: bytes) -> list[tuple[bytes, float]]:
    with av.open(io.BytesIO(data), "r") as container:
        if container.streams.audio[0].codec_context.name not in ("opus", "libopus"):
            return []
        demuxed = container.demux(audio=0)
        return [(bytes(p), float(p.pts * p.time_base)) for p in demuxed if p.size and p.pts is not None]


@dataclass(slots=True)
class Manners:
    """How it behaves; /control changes them."""

    delay_ms: float = 0.0  # until the answer, counted from the request
    fail_rate: float = 0.0
    fail_mode: str = "500"  # 429, html, badjson, empty, hang, drip
    words: str = "bare"  # word times as OpenAI writes them; spaced: " word,"; none: no word times


@dataclass(slots=True)
class Stats:
    requests: int = 0
    answered: int = 0
    failed: int = 0
    audio_s: float = 0.0  # of everything it was asked, also where it failed
    in_flight: int = 0
    most_in_flight: int = 0


class Upstream:
    """The routes."""

    def __init__(self, oracle: Oracle, manners: Manners) -> None:
        self.oracle, self.manners, self.stats = oracle, manners, Stats()

    async def transcribe(self, request: web.Request) -> web.StreamResponse:
        begin = time.perf_counter()
        self.stats.requests += 1
        self.stats.in_flight += 1
        self.stats.most_in_flight = max(self.stats.most_in_flight, self.stats.in_flight)
        try:
            form = await request.post()
            data: Any = form["file"]
            seconds, words = await asyncio.to_thread(self.oracle.hear, data.file.read())
            self.stats.audio_s += seconds
            if random.random() < self.manners.fail_rate:
                self.stats.failed += 1
                return await self._fail(request)
            await asyncio.sleep(self.manners.delay_ms / 1000 - (time.perf_counter() - begin))
            self.stats.answered += 1
            return web.json_response(self._answer(seconds, words, form.get("response_format") == "verbose_json"))
        finally:
            self.stats.in_flight -= 1

    def _answer(self, seconds: float, words: list[Spoken], verbose: bool) -> dict[str, Any]:
        text = " ".join(w.text for w in words)
        if not verbose or self.manners.words == "none":
            return {"text": text}
        spell = (lambda w: f" {w}") if self.manners.words == "spaced" else (lambda w: re.sub(r"^\W+|\W+$", "", w))
        timed = [{"word": spell(w.text), "start": round(w.start, 2), "end": round(w.end, 2)} for w in words]
        return {"task": "transcribe", "language": "english", "duration": seconds, "text": text, "words": timed}

    async def _fail(self, request: web.Request) -> web.StreamResponse:
        match self.manners.fail_mode:
            case "429":
                return web.json_response({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "1"})
            case "html":
                return web.Response(text="<html><body>Bad Gateway</body></html>", content_type="text/html")
            case "badjson":
                return web.Response(text='{"text": "cut', content_type="application/json")
            case "empty":
                return web.json_response({})
            case "hang":
                await asyncio.sleep(600)
            case "drip":
                answer = web.StreamResponse(headers={"Content-Type": "application/json"})
                await answer.prepare(request)
                for _ in range(600):
                    await answer.write(b" ")
                    await asyncio.sleep(1)
                return answer
        return web.json_response({"error": {"message": "made to fail"}}, status=500)

    async def control(self, request: web.Request) -> web.Response:
        for name, value in (await request.json()).items():
            setattr(self.manners, name, value)
        return web.json_response({})

    async def tell(self, request: web.Request) -> web.Response:
        return web.json_response({name: getattr(self.stats, name) for name in Stats.__slots__})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds speech.wav, speech.json and perhaps speech.webm")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--fail-rate", type=float, default=0.0)
    parser.add_argument("--fail-mode", default="500", choices=FAILURES)
    parser.add_argument("--word-style", default="bare", choices=["bare", "spaced", "none"])
    args = parser.parse_args()
    manners = Manners(args.delay_ms, args.fail_rate, args.fail_mode, args.word_style)
    upstream = Upstream(Oracle(args.folder), manners)
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/v1/audio/transcriptions", upstream.transcribe)
    app.router.add_get("/stats", upstream.tell)
    app.router.add_get("/readyz", upstream.tell)
    app.router.add_post("/control", upstream.control)
    web.run_app(app, host="127.0.0.1", port=args.port, access_log=None, print=None)


if __name__ == "__main__":
    main()

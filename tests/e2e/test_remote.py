"""Live captions through the OpenAI engine: the real server, the real SDK, an upstream that decides by the suffix."""

import io
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soxr
from openai_server import Upstream, two_cities
from process import running_server
from websockets.sync.client import connect

from server.speech.types import RATE

RECORDINGS = Path(__file__).parents[1] / "recordings"
WORDS = "it was the best of times"


def encode(container: str, codec: str, rate: int, form: str = "s16", **options: str) -> bytes:
    """The clip's first 9 s as another recorder would write it."""
    pcm = soxr.resample(two_cities()[: 9 * RATE], RATE, rate)
    if form == "s16":
        pcm = (pcm * 32767).astype(np.int16)
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono", format=form)
        stream.codec_context.open()
        size = stream.codec_context.frame_size or 960
        for at in range(0, len(pcm) - size, size):
            frame = av.AudioFrame.from_ndarray(pcm[None, at : at + size].copy(), form, "mono")
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), at
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def made(kind: str) -> tuple[bytes, str]:
    """A recording, and the suffix that every clip of it must have."""
    match kind:
        case "webm" | "mp4":
            return next(RECORDINGS.glob(f"*.{kind}")).read_bytes(), ".webm"
        case "ogg":
            return encode("ogg", "libopus", 48_000), ".webm"
        case "aac":
            live = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "500000"}
            return encode("mp4", "aac", 44_100, "fltp", **live), ".m4a"
        case "wav":
            return encode("wav", "pcm_s16le", 16_000), ".wav"
    raise ValueError(kind)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[str]:
    account = {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": upstream.url, "WHISPER_MODEL": "whisper-1"}
    with running_server(SOTTO_ENGINE="openai", **account) as url:
        yield url.replace("http", "ws") + "/api/captions"


@pytest.mark.parametrize("kind", ["webm", "mp4", "ogg", "aac", "wav"])
def test_every_container_reaches_the_upstream_in_one_it_takes(upstream: Upstream, server: str, kind: str) -> None:
    recording, suffix = made(kind)
    before = len(upstream.requests)
    with connect(server) as socket:
        for at in range(0, len(recording), 4096):
            socket.send(recording[at : at + 4096])
        socket.send('{"type":"stop"}')
        told = [json.loads(message) for message in socket]
    said = " ".join(m["text"] for m in told if m["type"] == "final").lower()
    assert told[-1]["type"] == "done", json.dumps(told)
    assert WORDS in said.replace(",", "").replace(".", ""), json.dumps(told)
    assert {request.suffix for request in upstream.requests[before:]} == {suffix}

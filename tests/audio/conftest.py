"""Recordings for the tests: real browsers' from beside the checkout and from tests/recordings, and some made here."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest

TESTS = Path(__file__).parents[1]
SHARED = TESTS.parents[1] / "shared" / "recordings"
SECONDS = 4


@dataclass(frozen=True)
class Recording:
    name: str
    data: bytes
    chunks: list[int]  # sizes, as the browser sent them


# name → PyAV's format, its options, encoder
MADE: dict[str, tuple[str, dict[str, str], str]] = {
    "made.webm": ("webm", {"live": "1", "cluster_time_limit": "500"}, "libopus"),
    "made-aac.mp4": ("mp4", {"movflags": "empty_moov+default_base_moof", "frag_duration": "500000"}, "aac"),
    "made-opus.mp4": ("mp4", {"movflags": "empty_moov+delay_moov", "frag_duration": "500000"}, "libopus"),
    "made.ogg": ("ogg", {"page_duration": "250000"}, "libopus"),
}


@cache
def make(name: str) -> bytes:
    """Four seconds of two tones and noise, muxed like a live recording."""
    format, options, codec = MADE[name]
    rate = 48_000
    file = io.BytesIO()
    time = np.arange(SECONDS * rate) / rate
    noise = np.random.default_rng(1).standard_normal(len(time)) * 0.05
    samples = (0.3 * np.sin(2 * np.pi * 220 * time) * (time % 1 < 0.7) + noise).astype(np.float32)
    with av.open(file, "w", format=format, options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.codec_context.layout = "mono"
        stream.codec_context.format = "flt" if codec == "libopus" else "fltp"
        stream.codec_context.bit_rate = 32_000
        for start in range(0, len(samples), 4800):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 4800], stream.codec_context.format, "mono")
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def browser_recordings() -> dict[str, Path]:
    folders = (TESTS / "recordings", SHARED)
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.json"))}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "recording" in metafunc.fixturenames:
        names = [*MADE, *browser_recordings()]
        missing = pytest.param("shared", marks=pytest.mark.skip(reason="shared/recordings is not beside the checkout"))
        metafunc.parametrize("recording", names if SHARED.exists() else [*names, missing], indirect=True)


@pytest.fixture(scope="session")
def made() -> Callable[[str], bytes]:
    """The recordings made here, by name."""
    return make


@pytest.fixture
def recording(request: pytest.FixtureRequest) -> Recording:
    return load(request.param)


@cache
def load(name: str) -> Recording:
    if name in MADE:
        data = make(name)
        return Recording(name, data, [min(1500, len(data) - at) for at in range(0, len(data), 1500)])
    path = browser_recordings()[name]
    (file,) = (file for file in path.parent.glob(f"{path.stem}.*") if file.suffix != ".json")
    chunks = [size for size, _ in json.loads(path.read_text())["chunks"]]
    return Recording(name, file.read_bytes(), chunks)

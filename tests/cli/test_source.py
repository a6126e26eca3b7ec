"""Where sound comes from: its pace, and what it is taken for."""

import asyncio
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

from server.audio import probe, raw
from server.cli.source import RAW, identify, schedule
from server.errors import RequestInvalid, UnsupportedFormat

RECORDINGS = Path(__file__).parents[1] / "recordings"
WEBM, MP4 = RECORDINGS / "chromium-webm-opus.webm", RECORDINGS / "chromium-mp4-opus.mp4"


@pytest.mark.parametrize("path", [WEBM, MP4], ids=lambda path: path.suffix)
def test_each_byte_comes_when_the_recorder_wrote_it(path):
    data = path.read_bytes()
    chunks = list(schedule(io.BytesIO(data), b"", probe.parse))
    assert b"".join(chunk for _, chunk in chunks) == data
    times = [time for time, _ in chunks]
    assert times == sorted(times) and 9 < times[-1] < 10 and len(times) > 20
    recorded = json.loads(path.with_suffix(".json").read_text())["chunks"]
    ours, theirs = np.cumsum([len(chunk) for _, chunk in chunks]), np.cumsum([size for size, _ in recorded])
    middle = len(data) // 2
    then = times[int(np.searchsorted(ours, middle))]
    assert then == pytest.approx(9.5 * np.searchsorted(theirs, middle) / len(theirs), abs=1.0)


def test_samples_come_as_their_rate_says():
    second = bytes(32_000)
    chunks = list(schedule(io.BytesIO(second * 3), second, raw.parse("pcm_s16le", 16_000, 1)))
    assert sum(len(chunk) for _, chunk in chunks) == 4 * 32_000
    assert chunks[-1][0] == pytest.approx(4.0, abs=0.1) and chunks[0][0] <= 1.0


def test_what_cannot_be_read_is_sent_up_to_there_and_no_further():
    data = WEBM.read_bytes()[:30] + bytes(4_000_000)
    (*_, (_, last)) = schedule(io.BytesIO(data), b"", probe.parse)
    assert 0 < len(last) < len(data)


# -- what it is ----------------------------------------------------------------------------------------------------


def piped(data: bytes):
    ours, theirs = os.pipe()
    with open(theirs, "wb") as out:
        out.write(data)
    return open(ours, "rb", buffering=0)


@pytest.mark.parametrize("path", [WEBM, MP4], ids=lambda path: path.suffix)
def test_a_container_is_told_by_its_first_bytes_whatever_is_said(path):
    for opened in (path.open("rb", buffering=0), piped(path.read_bytes()[:4000])):
        with opened as file:
            assert identify(file, {"sample_rate": 8000}).audio is None


def test_a_pipe_of_anything_else_is_taken_for_samples():
    with piped(bytes(4000)) as file:
        assert identify(file, {}).audio == RAW
    with piped(bytes(4000)) as file:
        assert identify(file, {"encoding": "mulaw", "sample_rate": 8000}).audio == {
            "encoding": "mulaw", "sample_rate": 8000, "channels": 1,
        }  # fmt: skip


@pytest.mark.parametrize("data", [b"ID3" + bytes(4000), b"no", b""])
def test_a_file_of_anything_else_is_samples_only_if_told_so(tmp_path, data):
    path = tmp_path / "a.mp3"
    path.write_bytes(data)
    with path.open("rb", buffering=0) as file, pytest.raises(UnsupportedFormat):
        identify(file, {})
    with path.open("rb", buffering=0) as file:
        assert identify(file, {"sample_rate": 44_100}).audio == RAW | {"sample_rate": 44_100}


@pytest.mark.parametrize("told", [{"encoding": "mp3"}, {"sample_rate": 1}, {"channels": 99}])
def test_samples_that_cannot_be_are_refused(told):
    with piped(bytes(4000)) as file, pytest.raises(RequestInvalid):
        identify(file, told)


def test_a_pipe_is_read_to_its_end():
    data = os.urandom(60_000)

    async def read() -> bytes:
        return b"".join([chunk async for chunk in identify(file, {}).chunks()])

    with piped(data) as file:
        assert asyncio.run(read()) == data

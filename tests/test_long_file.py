"""A long file, bench/files.py in small: every word at its true time, in no more memory than a short one takes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

import pytest

pytest.importorskip("aiohttp", reason="the perfect engine of the benchmarks needs aiohttp")

from bench.clip import Speech, Spoken, two_cities
from bench.files import KNOWN, aac, misplaced, most_memory, whole_frames
from bench.process import upload
from bench.rig import Remote, remote

pytestmark = pytest.mark.anyio

PATIENCE_S = 120.0  # a busy machine needs a tenth of it
SHORT, LONG = KNOWN, 30  # times the clip: three minutes, and 22
MORE = 40e6  # bytes that the longer file may take besides; its samples alone have 85 MB


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def clip() -> Speech:
    return whole_frames(two_cities())


@pytest.fixture
async def rig(clip: Speech, tmp_path: Path) -> AsyncIterator[Remote]:
    reduce(add, [clip] * KNOWN).write(tmp_path)
    async with remote(tmp_path) as found:
        yield found


async def test_a_long_file_has_every_word_at_its_time_in_the_memory_of_a_short_one(clip: Speech, rig: Remote) -> None:
    frames, most = aac(clip), []
    for count in (SHORT, LONG):
        url = f"{rig.server.url}/api/transcribe"
        reading = asyncio.create_task(upload(url, frames * count, "a.aac", PATIENCE_S, format="verbose_json"))
        most.append(await most_memory(rig.server, reading))
    answer = reading.result()
    assert answer["duration"] == pytest.approx(LONG * clip.seconds, abs=0.1)
    said = [replace(w, start=w.start + k * clip.seconds) for k in range(LONG) for w in clip.words]
    heard = [Spoken(word["text"], word["start"], word["end"]) for word in answer["words"]]
    assert misplaced(said, heard) == 0
    assert most[1] - most[0] < MORE

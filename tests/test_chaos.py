"""Servers are killed and lines break in mid-speech; every word comes once. `python -m bench.chaos` does it for long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

pytest.importorskip("aiohttp", reason="the perfect engine of the benchmarks needs aiohttp")

from bench.chaos import SECRET
from bench.clip import FIRST_S, PAUSE_S, silence, two_cities
from bench.proxy import Proxy
from bench.rig import Remote, node, prepare, remote
from bench.speaker import Speaker
from bench.stream import record
from bench.words import errors

pytestmark = pytest.mark.anyio

SPEECH = two_cities().until(FIRST_S) + silence(PAUSE_S)
CHUNKS = record(SPEECH)
PACE = 4.0  # seconds of speech in a second
PATIENCE_S = 120.0  # a busy machine needs a tenth of it
EAGER = {"SOTTO_ENDPOINT_S": "0.25", "SOTTO_ENDPOINT_SETTLED_S": "0.25"}  # a final at every breath
SILENT_S = 12.0  # a server says something every 10 s: only a line that was swallowed is silent for longer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def behind_a_proxy(folder: Path) -> AsyncIterator[tuple[Remote, Proxy]]:
    it = prepare(SPEECH, CHUNKS, folder)
    async with (
        asyncio.timeout(PATIENCE_S),
        remote(it.packets, **SECRET, **EAGER) as found,
        Proxy(found.server.port) as proxy,
    ):
        yield found, proxy


@asynccontextmanager
async def speaking(*speakers: Speaker) -> AsyncIterator[None]:
    """To the last word of all; then each has said every word once, though its line was down."""
    async with asyncio.TaskGroup() as tasks:
        for speaker in speakers:
            tasks.create_task(speaker.speak())
        yield
    for speaker in speakers:
        assert errors(SPEECH.text, speaker.text).all == 0, speaker.text
        assert [final["offset"] for final in speaker.finals] == [*range(1, len(speaker.finals) + 1)]
        assert speaker.gaps


async def final(speaker: Speaker) -> None:
    """The next one."""
    before = len(speaker.finals)
    while len(speaker.finals) == before:
        speaker.told.clear()
        await speaker.told.wait()


async def test_a_server_that_is_killed_or_stopped_and_started_anew_goes_on(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path) as (found, proxy):
        speaker, another = Speaker(proxy.url, CHUNKS, pace=PACE), Speaker(proxy.url, CHUNKS, pace=PACE)
        async with speaking(speaker, another):
            for how in (SIGKILL, SIGTERM):
                await final(speaker)
                await found.server.restart(how)


async def test_another_server_with_the_same_secret_goes_on_however_the_line_broke(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path) as (found, proxy), node(found.upstream, **SECRET, **EAGER) as other:
        speaker = Speaker(proxy.url, CHUNKS, pace=PACE, silent_s=SILENT_S)
        proxy.sliced = True
        async with speaking(speaker):
            await final(speaker)
            proxy.target = other.port
            proxy.swallow()
            await final(speaker)
            proxy.target = found.server.port
            proxy.cut()
            await final(speaker)
            proxy.target = other.port
            await found.server.restart(SIGKILL)

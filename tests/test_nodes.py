"""Rooms on real servers that are killed, and with a real Redis that is: who follows sees every word once."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from signal import SIGKILL
from typing import Any

import httpx
import pytest

pytest.importorskip("aiohttp", reason="the perfect engine of the benchmarks needs aiohttp")

from redis_server import RedisServer, running_redis
from test_chaos import CHUNKS, EAGER, PACE, PATIENCE_S, SPEECH
from websockets.asyncio.client import connect

from bench.chaos import SECRET
from bench.process import Process, get
from bench.proxy import Proxy
from bench.rig import Remote, node, prepare, remote
from bench.speaker import Speaker
from bench.words import errors

pytestmark = pytest.mark.anyio

ROOM = "keynote"
PATH = f"/api/rooms/{ROOM}"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


class Viewer:
    """Who follows the room, and what was told of it."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.lines = 0  # connections
        self._id = ""
        self._more = asyncio.Event()

    @property
    def finals(self) -> list[dict[str, Any]]:
        return self.of("final")

    def of(self, type: str) -> list[dict[str, Any]]:
        return [message for message in self.told if message["type"] == type]

    async def events(self, url: str) -> None:
        """As an EventSource: when the line breaks it comes back with the id it was given last."""
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            while True:
                self.lines += 1
                headers = {"Last-Event-ID": self._id} if self._id else {}
                with suppress(httpx.TransportError):
                    async with client.stream("GET", f"{url}{PATH}/events", headers=headers) as answer:
                        answer.raise_for_status()
                        async for line in answer.aiter_lines():
                            self._read(line)

    async def socket(self, url: str) -> None:
        self.lines += 1
        async with connect(f"{url.replace('http', 'ws', 1)}{PATH}") as socket:
            async for message in socket:
                self._hear(json.loads(message))

    async def until(self, offset: int) -> None:
        """The final with this offset has come."""
        while not (self.finals and self.finals[-1]["offset"] >= offset):
            self._more.clear()
            await self._more.wait()

    def _read(self, line: str) -> None:
        field, _, value = line.partition(": ")
        if field == "id":
            self._id = value
        elif field == "data":
            self._hear(json.loads(value))

    def _hear(self, message: dict[str, Any]) -> None:
        self.told.append(message)
        self._more.set()


@asynccontextmanager
async def speaking(speaker: Speaker) -> AsyncIterator[asyncio.Task[None]]:
    """From when the room is there; the task ends with the last word."""
    async with asyncio.TaskGroup() as tasks:
        said = tasks.create_task(speaker.speak())
        await speaker.told.wait()
        yield said


@asynccontextmanager
async def following(*visits: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Until the end of the block; none of them may end before."""
    tasks = [asyncio.create_task(visit) for visit in visits]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


@asynccontextmanager
async def sharing(redis: RedisServer, folder: Path) -> AsyncIterator[Remote]:
    async with asyncio.timeout(PATIENCE_S), remote(prepare(SPEECH, CHUNKS, folder).packets, **shared(redis)) as found:
        yield found


def shared(redis: RedisServer) -> dict[str, str]:
    return {**SECRET, **EAGER, "SOTTO_REDIS_URL": redis.url}


def whole(finals: list[dict[str, Any]]) -> bool:
    """Every word once and in order."""
    text = " ".join(final["text"] for final in finals)
    offsets = [final["offset"] for final in finals]
    return errors(SPEECH.text, text).all == 0 and offsets == [*range(1, len(finals) + 1)]


async def transcript(server: Process) -> list[dict[str, Any]]:
    finals: list[dict[str, Any]] = (await get(f"{server.url}{PATH}/transcript.json"))["finals"]
    return finals


def of_the_room(speaker: Speaker) -> list[dict[str, Any]]:
    """Warnings; on a busy machine there may be others, that the engine is late."""
    return [told for told in speaker.warnings if told["code"] == "room.degraded"]


async def warned(speaker: Speaker, times: int) -> None:
    while len(of_the_room(speaker)) < times:
        speaker.told.clear()
        await speaker.told.wait()


async def test_viewers_see_every_word_once_when_the_server_of_the_speaker_is_killed(
    tmp_path: Path, redis: RedisServer
) -> None:
    viewers = moving, *staying = [Viewer() for _ in range(3)]
    async with (
        sharing(redis, tmp_path) as first,
        node(first.upstream, **shared(redis)) as other,
        Proxy(first.server.port) as proxy,
    ):
        speaker = Speaker(proxy.url, CHUNKS, pace=PACE, room=ROOM)
        async with speaking(speaker) as said:
            visits = moving.events(proxy.url), staying[0].events(other.url), staying[1].socket(other.url)
            async with following(*visits):
                await moving.until(1)
                proxy.target = other.port
                await first.server.end(SIGKILL)
                await said
                for viewer in viewers:
                    await viewer.until(len(speaker.finals))
        kept = await transcript(other)
    assert speaker.gaps and moving.lines > 1
    for finals in (speaker.finals, kept, *(viewer.finals for viewer in viewers)):
        assert whole(finals), finals
    assert len({told["epoch"] for viewer in viewers for told in viewer.of("room")}) == 1


async def test_while_redis_hangs_captions_go_on_and_afterwards_all_are_kept_in_order(
    tmp_path: Path, redis: RedisServer
) -> None:
    viewer = Viewer()
    async with sharing(redis, tmp_path) as found:
        speaker = Speaker(found.server.url, CHUNKS, pace=PACE, room=ROOM)
        async with speaking(speaker) as said, following(viewer.events(found.server.url)):
            await viewer.until(1)
            redis.stop()
            await said
            assert whole(speaker.finals) and len(of_the_room(speaker)) == 1
            redis.go_on()
            await viewer.until(len(speaker.finals))
        kept = await transcript(found.server)
    assert whole(viewer.finals) and whole(kept)
    assert any(told["degraded"] for told in viewer.of("room"))


@pytest.mark.parametrize("durable, epochs", [(True, 1), (False, 2)], ids=["with what it had", "empty"])
async def test_a_redis_that_comes_back_costs_nobody_a_word(tmp_path: Path, durable: bool, epochs: int) -> None:
    viewer = Viewer()
    with running_redis(durable=durable) as redis:
        async with sharing(redis, tmp_path) as found:
            speaker = Speaker(found.server.url, CHUNKS, pace=PACE / 2, room=ROOM)
            async with speaking(speaker) as said, following(viewer.socket(found.server.url)):
                await viewer.until(1)
                redis.kill()
                await warned(speaker, 1)
                redis.start()
                await warned(speaker, 2)
                await said
                await viewer.until(len(speaker.finals))
            kept = await transcript(found.server)
    assert whole(speaker.finals) and whole(viewer.finals)
    assert of_the_room(speaker)[1]["lag_s"] == 0 and len({told["epoch"] for told in viewer.of("room")}) == epochs
    assert not durable or whole(kept)


async def test_a_server_that_is_alone_keeps_what_was_said_when_it_is_killed(tmp_path: Path) -> None:
    async with remote(prepare(SPEECH, CHUNKS, tmp_path).packets, **SECRET, **EAGER) as found:
        await Speaker(found.server.url, CHUNKS, pace=PACE, room=ROOM).speak()
        before = await transcript(found.server)
        await found.server.restart(SIGKILL)
        assert whole(before) and await transcript(found.server) == before

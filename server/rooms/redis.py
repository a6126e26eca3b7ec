"""Rooms in Redis, Valkey or a cluster of either: for several servers behind one address.

What is kept is changed by scripts (scripts.py); finals and partials reach every server by pub/sub, which may lose them:
whoever follows sees by the offset that one is missing, and reads it. A call that fails is told as it is. Nothing is
tried again here, for behind it a caption waits.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from hashlib import sha1
from typing import Any

from redis.asyncio import Redis as Client
from redis.asyncio import RedisCluster
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from ..errors import StoreAway, Superseded
from . import scripts
from .base import SUPERSEDED, Claim, Final, Kept, Notify, Page, Said, Speaker, new_epoch

CONNECT_S = 0.5
CALL_S = 1.0
AGAIN_S = 0.5  # seconds between two attempts to listen
ALWAYS = "sotto"  # a channel on which nothing is said: listening to it shows that the connection stands

log = logging.getLogger("sotto")


class Redis:
    """See base.Store."""

    name = "redis"
    remote = True

    def __init__(self, url: str, *, retention_s: float, lease_s: float) -> None:
        self._options: dict[str, Any] = {
            "socket_connect_timeout": CONNECT_S,
            "socket_timeout": CALL_S,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "max_connections": 1000,  # finals of many sessions at once; each is there for a millisecond
        }
        self._url = url
        self._times = (round(retention_s * 1000), round(lease_s * 1000))
        self._bus = Client.from_url(url, **self._options)  # to listen and to say; any node of a cluster will do
        self._keys: Client | RedisCluster | None = None
        self._connecting = asyncio.Lock()
        self._notify: Notify = lambda room, said: None
        self._partials: dict[tuple[str, str], str] = {}  # unsent, the newest of each session
        self._some = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._followed: dict[str, asyncio.Event] = {}  # channels; set once Redis has said so
        self._ears: PubSub | None = None
        self._hearing = asyncio.Event()

    async def start(self, notify: Notify) -> None:
        self._notify = notify
        self._tasks = [asyncio.create_task(self._again(chore)) for chore in (self._listen, self._say)]

    async def open(self, speaker: Speaker) -> None:
        await self._run(scripts.OPEN, speaker)

    async def append(self, final: Final) -> tuple[str, int]:
        answer = await self._run(scripts.APPEND, final.speaker, final.utterance, final.shown, final.ticket)
        if not answer:
            raise Superseded(SUPERSEDED)
        return answer[0].decode(), answer[1]

    async def claim(self, speaker: Speaker, known: int, utterance: int) -> Claim:
        answer = await self._run(scripts.CLAIM, speaker, known, utterance)
        if not answer:
            raise Superseded(SUPERSEDED, param="ticket")
        return Claim(answer[0], [_kept(row) for row in answer[1]])

    async def close(self, speaker: Speaker) -> None:
        await self._run(scripts.CLOSE, speaker)

    async def read(self, room: str, after: int, limit: int) -> Page | None:
        answer = await self._run(scripts.READ, Speaker(room, ""), after, limit)
        if not answer:
            return None
        epoch, first, last, left_ms, rows = answer
        return Page(epoch.decode(), first, last, left_ms / 1000, [_kept(row) for row in rows])

    def show(self, room: str, said: Said) -> None:
        self._partials[room, said.session] = f"{said.session} {said.utterance}\n{said.shown}"
        self._some.set()

    async def follow(self, room: str) -> None:
        await self._hearing.wait()
        confirmed = self._followed[_channel(room)] = asyncio.Event()
        if self._ears:  # else it is subscribed to with all the others
            await self._call(self._ears.subscribe(_channel(room)))
        await confirmed.wait()

    async def leave(self, room: str) -> None:
        self._followed.pop(_channel(room), None)
        if self._ears:
            with suppress(RedisError, OSError):
                await self._ears.unsubscribe(_channel(room))

    async def ping(self) -> None:
        await self._call(self._bus.ping())

    async def sweep(self) -> None:
        """Redis does it by itself."""

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._bus.aclose()
        if self._keys:
            await self._keys.aclose()

    # -- calls -------------------------------------------------------------------------------------------------

    async def _run(self, script: str, speaker: Speaker, *more: int | str) -> Any:
        room = _channel(speaker.room)
        keys = room, f"{room}:sessions", f"{room}:finals"
        about = speaker.session, speaker.generation, speaker.offset, new_epoch(), *self._times
        client = self._keys or await self._call(self._connect())
        try:
            return await self._call(client.evalsha(_sha(script), len(keys), *keys, *about, *more))
        except NoScriptError:
            return await self._call(client.eval(script, len(keys), *keys, *about, *more))

    async def _connect(self) -> Client | RedisCluster:
        """The first call finds out what is there."""
        async with self._connecting:
            if self._keys is None:
                about = await self._bus.info("cluster")
                clustered = about.get("cluster_enabled")
                self._keys = RedisCluster.from_url(self._url, **self._options) if clustered else self._bus
            return self._keys

    async def _call(self, call: Any) -> Any:
        try:
            return await call
        except NoScriptError:
            raise
        except (RedisError, OSError) as error:
            raise StoreAway(f"Redis: {error}"[:300]) from None

    # -- pub/sub -----------------------------------------------------------------------------------------------

    async def _again(self, chore: Callable[[], Awaitable[None]]) -> None:
        """Until the end, whatever happens: without it the rooms of this server would fall silent."""
        while True:
            try:
                await chore()
            except (RedisError, OSError):
                pass
            except Exception:
                log.exception("Redis: once more in %g s", AGAIN_S)
            await asyncio.sleep(AGAIN_S)

    async def _listen(self) -> None:
        """Until the connection breaks."""
        await self._look_elsewhere()
        ears = self._bus.pubsub()
        try:
            await ears.subscribe(ALWAYS, *self._followed)
            self._ears = ears
            self._hearing.set()
            async for message in ears.listen():
                self._hear(message)
        finally:
            self._ears = None
            self._hearing.clear()
            with suppress(RedisError, OSError):
                await ears.aclose()  # type: ignore[no-untyped-call]

    async def _look_elsewhere(self) -> None:
        """In a cluster another node will do as well."""
        if isinstance(self._keys, RedisCluster) and (nodes := self._keys.get_nodes()):
            node, former = random.choice(nodes), self._bus
            self._bus = Client.from_url(self._url, **self._options)
            self._bus.connection_pool.connection_kwargs.update(host=node.host, port=node.port)
            await former.aclose()

    def _hear(self, message: dict[str, Any]) -> None:
        channel = message["channel"].decode()
        room = channel[len("sotto:{") : -1]
        if message["type"] == "subscribe":
            if confirmed := self._followed.get(channel):
                if confirmed.is_set():  # once more, after a break: what was said meanwhile was not heard
                    self._notify(room, None)
                confirmed.set()
        elif message["type"] == "message" and channel in self._followed:
            about, _, shown = message["data"].decode().partition("\n")
            session, utterance, epoch, offset = (about.split(" ") + ["", "0"])[:4] if about else ("", "", "", "")
            self._notify(room, Said(session, int(utterance), shown, epoch, int(offset)) if session else None)

    async def _say(self) -> None:
        """Partials, all that wait at once; a newer one takes the place of one that waits, and none is sent twice."""
        while True:
            await self._some.wait()
            self._some.clear()
            waiting, self._partials = self._partials, {}
            pipeline = self._bus.pipeline(transaction=False)
            for (room, _), said in waiting.items():
                pipeline.publish(_channel(room), said)
            await pipeline.execute()


def _channel(room: str) -> str:
    return f"sotto:{{{room}}}"


def _kept(row: list[Any]) -> Kept:
    offset, session, utterance, *texts = row
    return Kept(offset, session.decode(), utterance, *(text.decode() for text in texts))


@cache
def _sha(script: str) -> str:
    return sha1(script.encode()).hexdigest()  # as EVALSHA names it

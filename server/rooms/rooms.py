"""All rooms of this server: finals go to the store and what it does not take is held; viewers follow.

Whatever happens to the store, no speaker waits for it longer than a second, and then not again before it is back.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import ParamSpec, Self, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from ..errors import Overloaded, RoomExpired, RoomNotFound, SottoError, StoreAway, Superseded
from .base import Claim, Final, Page, Said, Speaker, Store
from .room import RECENT, Room

CALL_S = 1.0  # seconds a call to the store may take
PING_S = 0.5  # between two questions whether it is there: who speaks is told within 2 s
BEAT_S = 15.0  # seconds: a sign of life for viewers, and what pub/sub has lost is found
SLOW_S = 30.0  # seconds in which a viewer must take what it is sent
SWEEP_S = 60.0
READS = 4  # at once for all who follow, each with a limit of its own: a final waits behind no more
MOST_HELD = 10_000  # finals, about 15 MB; 500 sessions say as many in ten minutes

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger("sotto")


class Rooms:
    """`async with` it. All of `changed` are called when the store goes away (True) and when it is back (False).

    `dropped` is told of each "final" that is lost, and of each "viewer" who is let go because it does not read.
    """

    def __init__(
        self, store: Store, *, lease_s: float, max_viewers: int, dropped: Callable[[str], None] = lambda what: None
    ) -> None:
        self.store = store
        self.away: str | None = None  # why finals are held
        self.lost = 0  # finals that could not even be held
        self.viewers = 0
        self.changed: set[Callable[[bool], None]] = set()
        self._lease_s = lease_s
        self._max_viewers = max_viewers
        self._dropped = dropped
        self._rooms: dict[str, Room] = {}  # those that are followed here
        self._speaking: dict[str, Speaker] = {}  # by session
        self._stale: set[Room] = set()  # there is more in the store
        self._some_stale = asyncio.Event()
        self._later: dict[str, list[Final]] = {}  # by session
        self._held: deque[Final] = deque()
        self._doubt = anyio.Event()  # it may be away
        self._reads = anyio.CapacityLimiter(READS)
        self._turns = asyncio.Lock()
        self._closing = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.store.start(self._hear)
        self._stack.push_async_callback(self._end)
        self._tasks = await self._stack.enter_async_context(anyio.create_task_group())
        for chore in (self._watch, self._refresh_stale, self._beat, self._stay, self._sweep):
            self._tasks.start_soon(chore)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._tasks.cancel_scope.cancel()
        await self._stack.aclose()

    async def _end(self) -> None:
        self._held.extend(final for waiting in self._later.values() for final in waiting)  # nobody is here later
        with suppress(StoreAway):
            await self._flush()
        if self._held:
            log.warning("%d captions were not kept: %s", len(self._held), self.away)
        with anyio.move_on_after(CALL_S):
            await self.store.aclose()

    @property
    def held(self) -> int:
        """Finals that wait for the store."""
        return len(self._held)

    # -- who speaks --------------------------------------------------------------------------------------------

    async def open(self, speaker: Speaker) -> None:
        """The session is in its room until it is closed. Best called before its client is told of the room."""
        self._speaking[speaker.session] = speaker
        await self._if_there(self.store.open, speaker)

    async def close(self, speaker: Speaker, over: bool) -> None:
        """This connection leaves. `over`: no other will go on; else the room waits for one as long as it may come."""
        known = self._speaking.get(speaker.session)
        if known and known.generation <= speaker.generation:
            del self._speaking[speaker.session]
        if over:
            await self._if_there(self.store.close, speaker)

    async def append(self, final: Final) -> int | None:
        """Its offset; None: the store is away, and the final is held until it is back. Raises Superseded."""
        if not (self.away or self._held):
            try:
                _, offset = await self._within(self.store.append(final))
            except StoreAway as error:
                self._leave(error)
            else:
                known = self._speaking.get(final.speaker.session)
                if known and known.generation == final.speaker.generation:
                    self._speaking[known.session] = replace(known, offset=offset)
                return offset
        if len(self._held) >= MOST_HELD:
            self.lost += 1
            self._dropped("final")
            self._held.popleft()
        self._held.append(final)
        return None

    def append_later(self, final: Final) -> None:
        """When nobody can go on with its session any more, or the server ends; if somebody does before, not at all."""
        self._later.setdefault(final.speaker.session, []).append(final)
        self._tasks.start_soon(self._append_late, final)

    async def _append_late(self, final: Final) -> None:
        await anyio.sleep(self._lease_s)
        waiting = self._later.get(final.speaker.session, [])
        if final in waiting:
            while waiting:
                one = waiting[0]
                try:
                    await self.append(one)
                except Superseded:
                    pass
                except Exception:  # here nobody waits for it, and all rooms would end with it
                    log.exception("session %s: a late final is lost", one.speaker.session)
                    self._dropped("final")
                waiting.pop(0)  # not before: a stop keeps what is still here
            self._later.pop(final.speaker.session, None)
            await self._if_there(self.store.close, final.speaker)

    async def claim(self, speaker: Speaker, known: int, utterance: int) -> Claim:
        """See base.Store; while the store is away the session is whose the speaker says, and nothing was missed."""
        self._later.pop(speaker.session, None)
        claim = Claim(speaker.generation, [])
        if not (self.away or self._held):
            try:
                claim = await self._within(self.store.claim(speaker, known, utterance))
            except StoreAway as error:
                self._leave(error)
        self._speaking[speaker.session] = replace(speaker, generation=claim.generation)
        return claim

    def show(self, room: str, said: Said) -> None:
        """A partial. Never waits; may be lost."""
        self.store.show(room, said)

    def watched(self, room: str) -> bool:
        """Whether a partial may have any reader; who reads on another server cannot be known."""
        return self.store.remote or room in self._rooms

    # -- who follows -------------------------------------------------------------------------------------------

    async def read(self, room: str, after: int, limit: int) -> Page | None:
        """Raises StoreAway, for this reader alone."""
        async with self._reads:
            return await self._ask(self.store.read, room, after, limit)

    async def turn(self) -> None:
        """Returns to one at a time, however many are waiting, and lets all else in the event loop go before."""
        async with self._turns:
            await checkpoint()

    async def find(self, name: str) -> Page:
        """What the room is, without its finals. Raises RoomNotFound, RoomExpired, StoreAway."""
        page = await self.read(name, 0, 0)
        if page is None:
            raise RoomNotFound(f"there is no room {name!r}; it begins when somebody speaks in it", param="room")
        if page.left <= 0 and page.last and not page.first:
            raise RoomExpired(f"what was said in the room {name!r} is not kept any more", param="room")
        return page

    @asynccontextmanager
    async def follow(self, name: str) -> AsyncIterator[Room]:
        """The room, kept up to date. Raises RoomNotFound, RoomExpired, StoreAway, Overloaded."""
        if self.viewers >= self._max_viewers:
            raise Overloaded(f"{self._max_viewers} viewers follow this server already", retry_after_s=10)
        room = self._rooms.setdefault(name, Room(name, self._lease_s))
        room.users += 1
        self.viewers += 1
        try:
            if not room.loaded:
                async with room.loading:
                    if not room.loaded:
                        await self._load(room)
            room.closing, room.degraded = self._closing, self.away is not None
            yield room
        finally:
            self.viewers -= 1
            room.users -= 1
            if not room.users:
                del self._rooms[name]
                self._stale.discard(room)
                if not self._tasks.cancel_scope.cancel_called:
                    self._tasks.start_soon(self._forget, name)

    def dismiss(self) -> None:
        """The server is about to end: every viewer is told so."""
        self._closing = True
        for room in self._rooms.values():
            room.closing = True
            room.stir()

    async def _load(self, room: Room) -> None:
        await self.find(room.name)
        await self._ask(self.store.follow, room.name)
        page = await self.find(room.name)
        room.load(await self.read(room.name, max(0, page.last - RECENT), RECENT) or page)
        self._some_stale.set()  # there may have been news since it was read

    async def _forget(self, name: str) -> None:
        if name not in self._rooms:
            with suppress(StoreAway):
                await self._within(self.store.leave(name))

    def _hear(self, name: str, said: Said | None) -> None:
        room = self._rooms.get(name)
        if room and (said is None or not room.hear(said)):
            self._refresh_soon(room)

    def _refresh_soon(self, room: Room) -> None:
        self._stale.add(room)
        self._some_stale.set()

    async def _refresh_stale(self) -> None:
        while True:
            await self._some_stale.wait()
            self._some_stale.clear()
            for room in [*self._stale]:
                if room.loaded and not room.refreshing:
                    room.refreshing = True
                    self._tasks.start_soon(self._refresh, room)

    async def _refresh(self, room: Room) -> None:
        try:
            while room in self._stale:
                self._stale.discard(room)
                page = await self.read(room.name, room.last, RECENT)
                if page is None:
                    room.forgotten()
                elif page.epoch == room.epoch:
                    room.read(page)
                    if len(page.finals) == RECENT:
                        self._stale.add(room)
                else:
                    room.load(await self.read(room.name, max(0, page.last - RECENT), RECENT) or page)
        except StoreAway:
            self._stale.add(room)  # read again when the store answers
        finally:
            room.refreshing = False

    # -- the store goes and comes ------------------------------------------------------------------------------

    async def _within(self, call: Awaitable[T]) -> T:
        try:
            with anyio.fail_after(CALL_S):
                return await call
        except TimeoutError:
            raise StoreAway(f"the store did not answer within {CALL_S:g} s") from None
        except (SottoError, ValueError):  # ValueError: what cannot be written as UTF-8 is no fault of the store
            raise
        except Exception:
            log.exception("the store failed")
            raise StoreAway("the store failed; the log tells more") from None

    async def _ask(self, call: Callable[P, Awaitable[T]], *about: P.args, **named: P.kwargs) -> T:
        """For who follows. A failure does not make the store away for those who speak, but is a reason to ask it."""
        if self.away and self.store.remote:  # a file can often be read where it cannot be written to
            raise StoreAway(self.away)
        try:
            return await self._within(call(*about, **named))
        except StoreAway:
            self._doubt.set()
            raise

    async def _if_there(self, call: Callable[[Speaker], Awaitable[None]], speaker: Speaker) -> None:
        if not self.away:
            try:
                await self._within(call(speaker))
            except StoreAway as error:
                self._leave(error)

    def _leave(self, error: StoreAway) -> None:
        self._doubt.set()
        if self.away is None:
            log.warning("rooms: %s", error.message)
            self.away = error.message
            self._tell()

    def _come_back(self) -> None:
        log.info("rooms: the store is back; %d captions were lost", self.lost)
        self.away, self.lost = None, 0
        self._tell()
        for room in self._rooms.values():
            self._refresh_soon(room)

    def _tell(self) -> None:
        for changed in [*self.changed]:
            changed(self.away is not None)
        for room in self._rooms.values():
            room.degraded = self.away is not None
            room.stir()

    async def _watch(self) -> None:
        """Notice that the store is gone, also while nobody speaks; and that it is back."""
        while True:
            if not self.store.remote:
                await self._doubt.wait()
            await anyio.sleep(PING_S)
            try:
                await self._within(self.store.ping())
                self._doubt = anyio.Event()
                self._some_stale.set()
                if self.away:
                    await self._restore()
                    self._come_back()
            except StoreAway as error:
                self._leave(error)

    async def _restore(self) -> None:
        """What is held, and who speaks: the store may never have known, or have lost it. Raises StoreAway."""
        opened: set[Speaker] = set()
        while (missing := {*self._speaking.values()} - opened) or self._held:
            await self._flush()
            for speaker in missing:
                if self._speaking.get(speaker.session) is speaker:
                    await self._within(self.store.open(speaker))
            opened |= missing

    async def _flush(self) -> None:
        """What is held, in order. Raises StoreAway with the rest still held."""
        while self._held:
            final = self._held[0]
            try:
                await self._within(self.store.append(final))
            except StoreAway:
                raise
            except Superseded:
                log.info("session %s: a held final is of an older connection", final.speaker.session)
            except ValueError:
                log.exception("session %s: a held final is lost", final.speaker.session)
                self._dropped("final")
            if self._held and self._held[0] is final:  # it may have had to make room
                self._held.popleft()

    # -- what is done again and again --------------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            await anyio.sleep(BEAT_S)
            latest = anyio.current_time() - SLOW_S
            for room in self._rooms.values():
                self._refresh_soon(room)
                room.stir()
                for viewer in [*room.viewers]:
                    if viewer.sending_since is not None and viewer.sending_since < latest:
                        viewer.sending_since = None  # once
                        self._dropped("viewer")
                        viewer.drop()

    async def _stay(self) -> None:
        """Who speaks here is in its room also while it is silent."""
        while True:
            await anyio.sleep(self._lease_s / 4)
            for speaker in [*self._speaking.values()]:
                if self._speaking.get(speaker.session) is speaker:
                    await self._if_there(self.store.open, speaker)

    async def _sweep(self) -> None:
        while True:
            if not self.away:
                try:
                    await self._within(self.store.sweep())
                except StoreAway as error:
                    self._leave(error)
            await anyio.sleep(SWEEP_S)

"""A room that is followed on this server: its newest captions, each written down once for all its viewers.

A viewer has no queue, only a place: the offset and the partials it was sent. Whoever is slow finds only the newest
partials when it comes back, and costs nobody else anything. A change wakes the viewers a few at a time, so that what
else the event loop has to do comes in between.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from ..errors import Draining
from .base import Kept, Page, Said

RECENT = 512  # finals that are held for viewers who are not far behind; older ones are read from the store
PAGE = 200  # finals read at once for viewers who are
PAGES = 8  # of these are held as well, until the room is read again: who comes together is read for once
MOST_PARTIALS = 64  # in a room at once; far more than speak at once
SLICE = 50  # viewers woken before others get their turn: about 2 ms


@dataclass(frozen=True, slots=True)
class Frame:
    """A caption as a WebSocket message and as a server-sent event. A partial has offset 0."""

    offset: int
    text: str
    event: bytes
    version: int = 0  # of the room when a partial came


@dataclass(frozen=True, slots=True)
class State:
    """Whether anybody may still speak; with another epoch a viewer forgets what it has."""

    room: str
    epoch: str
    live: bool
    degraded: bool  # captions may be missing at the moment


@dataclass(frozen=True, slots=True)
class Gap:
    """These finals a viewer has missed are not kept any more."""

    first: int
    last: int


News = list[Frame | State | Gap]


class Room:
    """Filled by `load`, then by `hear`; viewers wait for `change`."""

    def __init__(self, name: str, linger_s: float) -> None:
        self.name = name
        self.epoch = ""
        self.last = 0  # the newest offset
        self.floor = 0  # what comes after this offset is held here
        self.version = 0
        self.closing = False  # the server is being stopped
        self.degraded = False  # the store is away
        self.users = 0
        self.loaded = False
        self.refreshing = False  # it is being read from the store
        self.loading = asyncio.Lock()  # it is being read for viewers
        self.viewers: set[Viewer] = set()
        self._linger_s = linger_s
        self._ends = 0.0  # on the loop's clock: when nobody may speak any more
        self._frames: deque[Frame] = deque()
        self._pages: dict[int, list[Frame]] = {}  # by the offset they come after
        self._partials: dict[tuple[str, int], Frame] = {}
        self._settled: dict[str, int] = {}  # the newest final utterance of each session
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._waking = False

    @property
    def live(self) -> bool:
        return asyncio.get_running_loop().time() < self._ends

    @property
    def over(self) -> bool:
        """Nobody speaks, and nobody came for some time."""
        return asyncio.get_running_loop().time() >= self._ends + self._linger_s

    def load(self, page: Page) -> None:
        """From its newest finals."""
        self.epoch, self.loaded = page.epoch, True
        self._frames.clear()
        self._partials.clear()
        self._settled.clear()
        self.last = self.floor = page.finals[0].offset - 1 if page.finals else page.last
        self.read(page)

    def read(self, page: Page) -> None:
        """What the store has behind `last`, and what it does not keep any more."""
        self._pages.clear()
        self._ends = asyncio.get_running_loop().time() + page.left
        for kept in page.finals:
            if kept.offset > self.last:
                self._append(kept)
        while self._frames and (self._frames[0].offset < page.first or not page.first):
            self.floor = self._frames.popleft().offset
        self.last = max(self.last, page.last if not page.finals else 0)
        if not self._frames:
            self.floor = self.last
        elif page.first > self.floor:
            self.floor = 0  # nothing older is anywhere
        self.stir()

    def forgotten(self) -> None:
        """The store does not know it any more; whoever speaks here will begin it anew."""
        self._ends = min(self._ends, asyncio.get_running_loop().time())
        self.stir()

    def hear(self, said: Said) -> bool:
        """False: something is missing before it, and the store has to be read."""
        if not said.offset:
            self._show(said)
            return True
        if said.epoch != self.epoch or said.offset > self.last + 1:
            return False
        if said.offset == self.last + 1:
            self._append(Kept(said.offset, said.session, said.utterance, said.shown))
            self.stir()
        return True

    def _append(self, kept: Kept) -> None:
        self.last = kept.offset
        self._frames.append(final_frame(self.epoch, kept))
        if len(self._frames) > RECENT:
            self.floor = self._frames.popleft().offset
        self._settled.pop(kept.session, None)  # to the end: who spoke last stays longest
        self._settled[kept.session] = kept.utterance
        if len(self._settled) > MOST_PARTIALS:
            del self._settled[next(iter(self._settled))]
        for session, utterance in [*self._partials]:
            if session == kept.session and utterance <= kept.utterance:
                del self._partials[session, utterance]

    def _show(self, said: Said) -> None:
        if said.utterance <= self._settled.get(said.session, 0):
            return  # came by another way than its final, and later
        self.stir()
        self._partials.pop((said.session, said.utterance), None)
        event = f"data: {said.shown}\n\n".encode()
        self._partials[said.session, said.utterance] = Frame(0, said.shown, event, self.version)
        if len(self._partials) > MOST_PARTIALS:
            del self._partials[next(iter(self._partials))]

    # -- viewers -----------------------------------------------------------------------------------------------

    def since(self, offset: int, version: int) -> list[Frame]:
        """Finals behind an offset, then the partials that are newer than a version."""
        finals: list[Frame] = []
        for frame in reversed(self._frames):
            if frame.offset <= offset:
                break
            finals.append(frame)
        return finals[::-1] + [frame for frame in self._partials.values() if frame.version > version]

    async def older(self, offset: int, read: "Read") -> list[Frame] | None:
        """What is kept behind an offset before the `floor`, or some of it; None where that cannot be said."""
        begin = offset - offset % PAGE
        async with self.loading:
            frames = self._pages.get(begin)
            if frames is None:
                page = await read(self.name, begin, PAGE)
                if page is None or page.epoch != self.epoch:
                    return None
                frames = [final_frame(page.epoch, kept) for kept in page.finals]
                if len(frames) == PAGE:  # nothing is added to it any more
                    self._pages[begin] = frames
                if len(self._pages) > PAGES:
                    del self._pages[next(iter(self._pages))]
        return [frame for frame in frames if frame.offset > offset]

    def stir(self) -> None:
        """Wake everybody who waits."""
        self.version += 1
        if not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        for _ in range(SLICE):
            if not self._waiting or self._waiting[0][0] == self.version:
                self._waking = False
                return
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
        asyncio.get_running_loop().call_soon(self._wake)

    async def change(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append((self.version, waiter))
        await waiter


Read = Callable[[str, int, int], Awaitable[Page | None]]


class Viewer:
    """One who follows, and how far it is. `after`: the offset it has; `epoch`: of which counting, None for any."""

    def __init__(self, room: Room, read: Read, after: int, epoch: str | None) -> None:
        self._room = room
        self._read = read
        self._offset = min(after, room.last)
        self._epoch = epoch if epoch is not None else room.epoch
        self._told: State | None = None
        self._seen = 0  # version
        self.sending_since: float | None = None  # on the loop's clock
        self.drop: Callable[[], None] = lambda: None

    @property
    def at_end(self) -> bool:
        """There is nothing it does not have."""
        return self._epoch == self._room.epoch and self._offset == self._room.last

    @property
    def state(self) -> State:
        return State(self._room.name, self._room.epoch, self._room.live, self._room.degraded)

    async def next(self) -> News | None:
        """What is new, in order; nothing as a sign of life; None at the end. Raises Draining, StoreAway."""
        news, room = self._news(), self._room
        if not news and self._offset < room.floor:
            news = await self._older() or self._news()
        if news:
            return news
        if room.closing:
            raise Draining("this server is being stopped; come back, to any other")
        if room.over:
            return None
        await room.change()
        return self._news()

    def _news(self) -> News:
        room = self._room
        news: News = []
        if (state := self.state) != self._told:
            if self._epoch != room.epoch:
                self._epoch, self._offset = room.epoch, 0
            self._told = state
            news.append(state)
        if self._offset >= room.floor:
            news += self._in_order(room.since(self._offset, self._seen))
            self._seen = room.version
        return news

    async def _older(self) -> News:
        room = self._room
        frames = await room.older(self._offset, self._read)
        if frames is None or room.epoch != self._epoch:
            return []  # the room hears of it as well
        if frames or self._offset >= room.floor:
            return self._in_order(frames)
        missed = Gap(self._offset + 1, room.floor)
        self._offset = room.floor
        return [missed] if missed.first > 1 else []

    def _in_order(self, frames: Iterable[Frame]) -> News:
        news: News = []
        for frame in frames:
            if frame.offset:
                if 0 < self._offset < frame.offset - 1:
                    news.append(Gap(self._offset + 1, frame.offset - 1))
                self._offset = frame.offset
            news.append(frame)
        return news


def final_frame(epoch: str, kept: Kept) -> Frame:
    text = final_text(kept)
    return Frame(kept.offset, text, f"id: {epoch}:{kept.offset}\ndata: {text}\n\n".encode())


def final_text(kept: Kept) -> str:
    """A final as viewers are told of it."""
    return f'{{"type":"final","offset":{kept.offset},{kept.shown}}}'

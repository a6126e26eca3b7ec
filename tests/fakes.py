"""Small honest stand-ins for the outer world."""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

import anyio
import numpy as np

from server.audio.clip import Clip
from server.engines.base import Speech
from server.errors import StoreAway
from server.rooms.base import Page
from server.rooms.sqlite import Sqlite
from server.speech.types import RATE, Hypothesis, Samples

T = TypeVar("T")
Answer = str | Hypothesis | BaseException | Callable[[Speech], Hypothesis]


class Silence:
    """A stretch of nothing, for engines that do not listen."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds

    def samples(self) -> Samples:
        return np.zeros(round(self._seconds * RATE), np.float32)

    def clip(self) -> Clip:
        raise LookupError("silence has no packets")


class ScriptedEngine:
    """An engine that answers what it is told to, in order, and "ok" when it was told no more.

    An exception is raised; a function is called in the engine's thread. `hold` lets no call return before `release`.
    """

    wants_samples = True
    languages: frozenset[str] | None = None
    paid = False
    partial_interval = 1.0
    longest = 30.0
    context = 0.0

    def __init__(self, *answers: Answer, name: str = "scripted") -> None:
        self.name = name
        self.heard: list[Speech] = []
        self.running = self.most = 0  # calls at once, now and ever
        self.closed = False
        self._answers = deque(answers)
        self._changed = threading.Condition()
        self._open = threading.Event()
        self._open.set()

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def wait_for(self, calls: int) -> None:
        """Blocks until so many calls have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.heard) >= calls, timeout=10)

    def transcribe(self, speech: Speech) -> Hypothesis:
        with self._changed:
            self.heard.append(speech)
            answer = self._answers.popleft() if self._answers else "ok"
            self.running += 1
            self.most = max(self.most, self.running)
            self._changed.notify_all()
        try:
            self._open.wait()
            if isinstance(answer, BaseException):
                raise answer
            if isinstance(answer, str):
                return Hypothesis(answer)
            return answer if isinstance(answer, Hypothesis) else answer(speech)
        finally:
            with self._changed:
                self.running -= 1

    def close(self) -> None:
        self.closed = True


class HeldStore(Sqlite):
    """A store in memory. `hold` lets no read return before its release; while it is to `fail` it does nothing."""

    def __init__(self) -> None:
        super().__init__(None, retention_s=600, lease_s=600)
        self.reads = self.running = self.most = 0  # ever, now, and at once
        self.fail = False
        self._free = anyio.Event()
        self.release()

    def hold(self) -> None:
        self._free = anyio.Event()

    def release(self) -> None:
        self._free.set()

    def release_those(self) -> None:
        """Who waits now; who comes next is held."""
        self.release()
        self.hold()

    def lose(self) -> None:
        """All that it has."""
        if self._db:
            self._db.close()
        self._db = None

    async def read(self, room: str, after: int, limit: int) -> Page | None:
        self.reads += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            page = await super().read(room, after, limit)
            await self._free.wait()
            return page
        finally:
            self.running -= 1

    async def _call(self, work: Callable[[sqlite3.Connection], T], writes: bool = True) -> T:
        if self.fail:
            raise StoreAway("it does not answer")
        return await super()._call(work, writes)

"""What one client has sent and nobody has worked on yet. The socket is always drained; what is held is bounded."""

from collections import deque

import anyio

from ..errors import SottoError
from ..live import Input

BITE = 16_384  # bytes decoded at once; the smallest packets make minutes of sound of them, and no more
ENVELOPE = 128  # bytes that holding anything takes: many empty words are a flood too


class Inbox:
    """A queue of chunks and commands, bounded in bytes; chunks that wait together are taken together."""

    def __init__(self, limit: int) -> None:
        self._waiting: deque[Input] = deque()
        self._bytes = 0
        self._limit = limit
        self._fault: SottoError | None = None
        self._some = anyio.Event()
        self._room = anyio.Event()

    async def put(self, said: Input) -> None:
        """Waits only while more than the limit is held. After a fault nothing is taken any more."""
        if self._fault:
            return
        for bite in _bites(said):
            self._waiting.append(bite)
            self._bytes += _weight(bite)
        self._some.set()
        while self._bytes > self._limit:
            self._room = anyio.Event()
            await self._room.wait()

    def fail(self, fault: SottoError) -> None:
        """After what is waiting, `get` raises this."""
        self._fault = fault
        self._some.set()

    async def get(self) -> Input:
        """The next command, or the next bytes."""
        while not self._waiting:
            if self._fault:
                raise self._fault
            self._some = anyio.Event()
            await self._some.wait()
        said = self._take()
        if not isinstance(said, bytes):
            return said
        bites = [said]
        size = len(said)
        while self._waiting and isinstance(more := self._waiting[0], bytes) and size + len(more) <= BITE:
            bites.append(more)
            size += len(more)
            self._take()
        return b"".join(bites)

    def _take(self) -> Input:
        said = self._waiting.popleft()
        self._bytes -= _weight(said)
        if self._bytes <= self._limit:
            self._room.set()
        return said


def _bites(said: Input) -> list[Input]:
    if not isinstance(said, bytes) or len(said) <= BITE:
        return [said]
    return [said[at : at + BITE] for at in range(0, len(said), BITE)]


def _weight(said: Input) -> int:
    return ENVELOPE + (len(said) if isinstance(said, bytes) else 0)

"""What one reader was not sent yet. A slow reader loses partials, then its connection; nobody waits for it."""

from collections import OrderedDict
from typing import Generic, TypeVar

import anyio

from ..errors import ClientSlow

T = TypeVar("T")


class Outbox(Generic[T]):
    """Messages in order; one put with a `key` replaces the unsent one of the same key."""

    def __init__(self, limit: int = 1000) -> None:
        self._messages: OrderedDict[object, T] = OrderedDict()
        self._limit = limit  # messages that may wait
        self._some = anyio.Event()
        self._closed = False
        self._slow = False  # a message found no room: the reader is lost

    def put(self, message: T, key: object = None) -> None:
        """Never waits. Where there is no room, a message with a key is lost; one without it loses the reader."""
        if self._closed:
            return
        if key in self._messages or len(self._messages) < self._limit:
            self._messages[object() if key is None else key] = message
        elif key is None:
            self._slow = True
        self._some.set()

    def drop(self, key: object) -> None:
        """Take back an unsent message: a final has made it worthless."""
        self._messages.pop(key, None)

    def close(self) -> None:
        """Nothing follows."""
        self._closed = True
        self._some.set()

    def discard(self) -> None:
        """Nothing follows, and what is unsent is worth nothing any more."""
        self._messages.clear()
        self._slow = False
        self.close()

    async def next(self) -> T | None:
        """The next message, or None at the end. Raises ClientSlow when too many were waiting."""
        while not (self._messages or self._slow):
            if self._closed:
                return None
            self._some = anyio.Event()
            await self._some.wait()
        if self._slow:
            raise ClientSlow(f"{self._limit} messages were waiting to be read")
        return self._messages.popitem(last=False)[1]

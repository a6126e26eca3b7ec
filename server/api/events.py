"""Server-Sent Events to one client that waits for an answer (HTML standard, 9.2)."""

import anyio
from starlette.requests import ClientDisconnect
from starlette.types import Message, Send

KEEPALIVE_S = 8.0  # seconds without an event, after which a comment shows that the line is up; some proxies wait 15
SLOW_S = 60.0  # seconds that a client may take until it reads on

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]


class Events:
    """`tell` never waits; `flow` sends as fast as the client reads.

    The status is 200, sent with the first event, or with a comment if none comes for KEEPALIVE_S and that is allowed.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: list[str] = []
        self._passing: str | None = None
        self._news = anyio.Event()
        self._closed = self._allowed = False
        self.begun = False  # it is too late for another status

    def tell(self, data: str, *, passing: bool = False) -> None:
        """One event, whose data is one line. A passing one is left out if there are newer ones when it is sent."""
        self.begun = True
        self._passing = data if passing else None
        if not passing:
            self._waiting.append(data)
        self._news.set()

    def allow(self) -> None:
        """There is nothing to tell yet, but it will be a stream."""
        self._allowed = True

    def close(self) -> None:
        """Nothing more will be told."""
        self._closed = True
        self._news.set()

    async def flow(self) -> None:
        """Returns after `close`, when all is sent. Raises ClientDisconnect for a client that does not read."""
        started = False
        while not self._closed or self._waiting:
            with anyio.move_on_after(KEEPALIVE_S) as waiting:
                await self._news.wait()
            self._news = anyio.Event()
            text = self._told()
            if waiting.cancelled_caught and not (text or self._closed):
                text = ":\n\n"
                self.begun |= self._allowed
            if not (self.begun and text):
                continue
            if not started:
                await self._put({"type": "http.response.start", "status": 200, "headers": HEADERS})
                started = True
            await self._put({"type": "http.response.body", "body": text.encode(), "more_body": True})
        if started:
            await self._put({"type": "http.response.body", "body": b""})

    def _told(self) -> str:
        told = self._waiting if self._passing is None else [*self._waiting, self._passing]
        self._waiting, self._passing = [], None
        return "".join(f"data: {data}\n\n" for data in told)

    async def _put(self, message: Message) -> None:
        with anyio.move_on_after(SLOW_S) as patience:
            await self._send(message)
        if patience.cancelled_caught:
            raise ClientDisconnect

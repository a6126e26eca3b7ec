"""A live session over sockets that break: sound goes out, captions come in. Comes back with the server's ticket.

The twin of static/captions/connection.js and comeback.js; docs/protocol.md, "Coming back".
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from .ring import Ring
from .target import Failed, Target, fault

OPEN_S = 10.0  # seconds for a socket to open
DONE_S = 130.0  # the longest silence after stop: the server asks its engine for two minutes
KEEPALIVE_S = 10.0  # well within the server's idle limit of a minute; one that has less patience tells so
GIVE_UP_S = 600.0  # as long as the server's tickets last
STEADY_S = 5.0  # a line that held so long was a good one; a shorter one was part of the same trouble
MESSAGE = 65_536  # bytes of sound in a message, at most
BROKEN = 1006  # the code of a line that was not closed
PASSING = {1001, BROKEN, 1011, 1012, 1013}  # going away, broken, internal error, restart, try again later
TICKET_REFUSED = {"resume.expired", "request.invalid"}  # after these only a new session helps

Message = dict[str, Any]


class Line:
    """One session. `show` is given the server's partials, finals and warnings, and `down` and `up` when the line is."""

    def __init__(self, target: Target, start: Message, show: Callable[[Message], None]) -> None:
        self._address = target.address("api/captions", "ws")
        self._headers = target.headers
        self._start, self._show = start, show
        self._ring = Ring()
        self._news = asyncio.Event()  # there is more to send, or room for more to keep
        self._ended = False  # no more sound will come
        self._ticket = ""
        self._resuming = False  # the ticket was shown, and not answered yet
        self._ready = False  # the server has begun this session
        self._spoken = False  # it ever said anything
        self._keepalive_s = KEEPALIVE_S
        self._fault: Message = {}
        self._trouble: float | None = None  # since when
        self._up: float | None = None  # since when the line is up
        self._down = False  # and this was shown
        self._tries = 0

    async def speak(self, sound: AsyncIterator[bytes]) -> None:
        """All of the sound, until the server is done with it. Raises Failed, and what `sound` raises."""
        taking = asyncio.create_task(self._take(sound))
        try:
            while (code := await self._connected()) is not None:
                await self._come_back(code)
        finally:
            taking.cancel()
        with suppress(asyncio.CancelledError):
            await taking

    @property
    def ended(self) -> bool:
        """No more sound will come."""
        return self._ended

    def stop(self) -> None:
        """No more sound, and then the last words."""
        self._ended = True
        self._news.set()

    async def _take(self, sound: AsyncIterator[bytes]) -> None:
        try:
            async for data in sound:
                while self._ring.full:
                    await self._changed()
                if self._ended:
                    return
                self._ring.add(data)
                self._news.set()
        finally:
            self.stop()

    async def _changed(self) -> None:
        self._news.clear()
        await self._news.wait()

    # -- one socket --------------------------------------------------------------------------------------------

    async def _connected(self) -> int | None:
        """The code with which the socket was closed, or None when all is done. Raises Failed."""
        self._fault = {}
        try:
            async with connect(
                self._address, additional_headers=self._headers, open_timeout=OPEN_S, compression=None, max_size=2**20
            ) as socket:
                await self._converse(socket)
                return None
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else BROKEN
        except InvalidURI as error:
            raise Failed(str(error)) from None
        except InvalidStatus as error:
            if not self._spoken:
                raise Failed(f"{self._address} answered {error.response.status_code}; is it a Sotto?") from None
        except (OSError, InvalidHandshake) as error:
            if not self._spoken:
                raise Failed(f"cannot reach {self._address}: {error}") from None
        return BROKEN

    async def _converse(self, socket: ClientConnection) -> None:
        """Until `done`."""
        self._resuming = self._ticket != ""
        sending = asyncio.create_task(self._begin(socket))
        try:
            while True:
                message = json.loads(await self._next(socket))
                self._spoken = True
                match message["type"]:
                    case "ready" if not self._resuming:
                        self._ready = True
                        self._line_is_up()
                        self._keepalive_s = min(KEEPALIVE_S, message["limits"]["idle_s"] / 3)
                        self._news.set()  # who waits for more sound already, waits anew
                    case "resumed":
                        self._resuming = False
                        sending = asyncio.create_task(self._go_on(socket, message["bytes"], message["header"]))
                        self._line_is_up()
                    case "done":
                        return
                    case _:
                        self._hear(message)
        finally:
            sending.cancel()

    async def _next(self, socket: ClientConnection) -> str | bytes:
        while True:
            try:
                return await asyncio.wait_for(socket.recv(), DONE_S)
            except TimeoutError:
                if self._ended:  # before that nobody may have spoken, and pings find a dead line
                    raise Failed(f"the server has said nothing for {DONE_S:g} s") from None

    def _hear(self, message: Message) -> None:
        match message["type"]:
            case "ack":
                self._acknowledged(message)
            case "final":
                self._acknowledged(message["ack"])
                self._show(message)
            case "reconnect":
                self._ticket = message["ticket"]  # its close follows
            case "error":
                self._fault = message["error"]  # and this one's tells whether to come back
            case "partial" | "warning":
                self._show(message)

    def _acknowledged(self, ack: Message) -> None:
        self._ticket = ack["ticket"]
        self._ring.trim(ack["bytes"], ack["header"])
        self._news.set()

    async def _begin(self, socket: ClientConnection) -> None:
        # A line that ends here may have brought the reason before: it is for who listens to notice.
        with suppress(ConnectionClosed):
            if self._resuming:
                return await _say(socket, type="resume", ticket=self._ticket)
            await _say(socket, **self._start)
            await self._send(socket, 0)

    async def _go_on(self, socket: ClientConnection, position: int, header: int) -> None:
        with suppress(ConnectionClosed):
            if header:
                await socket.send(self._ring.header(header))
            await self._send(socket, position)

    async def _send(self, socket: ClientConnection, position: int) -> None:
        """All there is from there on, and what comes."""
        while True:
            if data := self._ring.read(position, MESSAGE):
                await socket.send(data)
                position += len(data)
            elif self._ended:
                return await _say(socket, type="stop")
            else:
                await self._more(socket)

    async def _more(self, socket: ClientConnection) -> None:
        """Waits for more sound; the server must not think that we left."""
        try:
            await asyncio.wait_for(self._changed(), self._keepalive_s)
        except TimeoutError:
            await _say(socket, type="keepalive")

    # -- the line breaks ---------------------------------------------------------------------------------------

    def _line_is_up(self) -> None:
        self._up = monotonic()
        if self._down:
            self._down = False
            self._show({"type": "up"})

    async def _come_back(self, code: int) -> None:
        """Waits until it is time for another try. Raises Failed where there is no use in it."""
        said = self._fault.get("code")
        if said in TICKET_REFUSED and self._resuming:
            self._begin_anew()
        elif code >= 4500 or said == "auth.expired":
            raise Failed(self._why(code))
        elif not (code in PASSING or 4000 <= code) or not self._can_go_on:
            raise Failed(self._why(code))
        now = monotonic()
        if self._up is not None and now - self._up >= STEADY_S:
            self._trouble, self._tries = None, 0
        self._up = None
        self._trouble = self._trouble or now
        if not self._down:
            self._down = True
            self._show({"type": "down", "message": self._why(code)})
        if now - self._trouble >= GIVE_UP_S:
            raise Failed("the server did not come back for ten minutes")
        await asyncio.sleep(max(pause(self._tries), self._fault.get("retry_after_s") or 0))
        self._tries += 1

    @property
    def _can_go_on(self) -> bool:
        """With a ticket, or where a server is there that has not begun yet."""
        return self._ticket != "" or (self._spoken and not self._ready)

    def _why(self, code: int) -> str:
        return fault(self._fault) if self._fault else f"the line to {self._address} broke ({code})"

    def _begin_anew(self) -> None:
        """The server cannot go on with the session; what it has not acknowledged begins a new one."""
        self._ring = self._ring.anew()
        self._ticket, self._ready = "", False


def pause(tries: int) -> float:
    """Seconds before the next try: none, then short and growing ones, never the same for two clients."""
    return min(7.0, 0.25 * 1.5 ** max(0, tries - 8)) * random.uniform(0.8, 1.2) if tries else 0.0


async def _say(socket: ClientConnection, **message: Any) -> None:
    await socket.send(json.dumps(message))

"""A speaker who comes back: a recording at its own pace, over lines that break, as static/captions does it.

The numbers are read from there, so that the two stay the same.
"""

import asyncio
import json
import random
import re
from dataclasses import dataclass
from itertools import accumulate
from time import monotonic
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from .process import ROOT
from .stream import Chunk

LIBRARY = ROOT / "static" / "captions"
NUMBERS = {
    name: float(value)
    for file in ("connection.js", "comeback.js")
    for name, value in re.findall(r"^const (\w+) = ([\d_.]+);", (LIBRARY / file).read_text(), re.MULTILINE)
}
OPEN_S, SILENT_S, STEADY_S = (NUMBERS[f"{name}_MS"] / 1000 for name in ("OPEN", "SILENT", "STEADY"))
PASSING = {1001, 1006, 1011, 1012, 1013}
BROKEN = 1006  # the close code of a line that was not closed


class Lost(Exception):
    """The session cannot go on."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The line was down: from when the speaker noticed (monotonic seconds) until the session went on."""

    since: float
    seconds: float


def pause(attempt: int) -> float:
    """Seconds before the next try; comeback.js, pause()."""
    if attempt == 0:
        return 0.0
    grown = NUMBERS["SOON_S"] * NUMBERS["GROWTH"] ** max(0, attempt - NUMBERS["SOON"])
    return min(NUMBERS["LONGEST_S"], grown) * (1 + NUMBERS["JITTER"] * random.uniform(-1, 1))


class Speaker:
    """One session. It keeps nothing that was acknowledged, so a server that asks for that loses words."""

    def __init__(
        self, url: str, chunks: list[Chunk], *, pace: float = 1.0, silent_s: float = SILENT_S, room: str = ""
    ) -> None:
        """`url`: http://…; `pace`: seconds of the recording in a second; `silent_s`: after which a line is dead."""
        self.finals: list[dict[str, Any]] = []
        self.times: list[float] = []  # when each final came: monotonic seconds
        self.warnings: list[dict[str, Any]] = []
        self.gaps: list[Gap] = []
        self.told = asyncio.Event()  # set by every message; who waits for one clears it
        self._url = f"{url.replace('http', 'ws', 1)}/api/captions{f'?room={room}' if room else ''}"
        self._chunks, self._pace, self._silent_s = chunks, pace, silent_s
        self._starts = [0, *accumulate(len(chunk.data) for chunk in chunks)]  # bytes
        self._recorded = 0  # chunks that are there
        self._more = asyncio.Condition()
        self._ticket = ""
        self._gone = 0  # bytes that are not held any more
        self._fault: dict[str, Any] = {}
        self._done = False
        self._broke: float | None = None
        self._up: float | None = None
        self._attempt = 0

    @property
    def text(self) -> str:
        return " ".join(final["text"] for final in self.finals)

    async def speak(self) -> None:
        """To the last word. Raises Lost."""
        recording = asyncio.create_task(self._record())
        try:
            while not self._done:
                await self._come_back(await self._line())
        finally:
            recording.cancel()

    async def _record(self) -> None:
        begin = monotonic()
        for chunk in self._chunks:
            await asyncio.sleep(begin + chunk.time / self._pace - monotonic())
            async with self._more:
                self._recorded += 1
                self._more.notify_all()

    async def _come_back(self, code: int) -> None:
        """After a close: waits as long as the library does."""
        if self._done:
            return
        said = self._fault.get("code", "")
        if code not in PASSING and not 4000 <= code < 4500 or said in ("resume.expired", "request.invalid"):
            raise Lost(f"{code} {said}")
        now = monotonic()
        if self._up is not None and now - self._up >= STEADY_S:
            self._attempt = 0
        self._up = None
        self._broke = self._broke or now
        self._attempt += 1
        await asyncio.sleep(max(pause(self._attempt - 1), self._fault.get("retry_after_s") or 0))

    def _line_is_up(self) -> None:
        self._up = monotonic()
        if self._broke is not None:
            self.gaps.append(Gap(self._broke, self._up - self._broke))
            self._broke = None

    # -- one connection ----------------------------------------------------------------------------------------

    async def _line(self) -> int:
        """Speak over one connection; returns the code with which it ended."""
        self._fault = {}
        socket: ClientConnection | None = None
        try:
            async with asyncio.timeout(OPEN_S):
                socket = await connect(self._url, compression=None, max_size=None, ping_interval=None, proxy=None)
                place = await self._begin(socket)
            sending = asyncio.create_task(self._send(socket, **place))
            try:
                while not self._done:
                    self._hear(json.loads(await asyncio.wait_for(socket.recv(), self._silent_s)))
                return 1000
            finally:
                sending.cancel()
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else BROKEN
        except (WebSocketException, OSError, TimeoutError, EOFError):
            return BROKEN
        finally:
            if socket:
                socket.transport.abort()  # a browser does not wait for a dead peer's goodbye either

    async def _begin(self, socket: ClientConnection) -> dict[str, int]:
        """Where the server wants the sound from."""
        ticket = self._ticket
        if ticket:
            await socket.send(json.dumps({"type": "resume", "ticket": ticket}))
        while True:
            message = json.loads(await socket.recv())
            self._hear(message)
            if message["type"] == ("resumed" if ticket else "ready"):
                at, header = message.get("bytes", 0), message.get("header", 0)
                if at < self._gone:
                    raise Lost(f"the server wants byte {at}, and said that nothing before {self._gone} is needed")
                self._line_is_up()
                return {"at": at, "header": header}

    async def _send(self, socket: ClientConnection, at: int, header: int) -> None:
        """All there is from byte `at` on, then what is recorded as it comes, then the stop."""
        try:
            if header:
                await socket.send(b"".join(chunk.data for chunk in self._chunks)[:header])
            for number, chunk in enumerate(self._chunks):
                async with self._more:
                    await self._more.wait_for(lambda number=number: self._recorded > number)
                if piece := chunk.data[max(0, at - self._starts[number]) :]:
                    await socket.send(piece)
            await socket.send('{"type":"stop"}')
        except ConnectionClosed:
            pass  # who listens hears it too

    def _hear(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "final":
                self.finals.append(message)
                self.times.append(monotonic())
                self._acknowledged(message["ack"])
            case "ack":
                self._acknowledged(message)
            case "reconnect":
                self._ticket = message["ticket"]
            case "warning":
                self.warnings.append(message)
            case "error":
                self._fault = message["error"]
            case "done":
                self._done = True
        self.told.set()

    def _acknowledged(self, ack: dict[str, Any]) -> None:
        self._ticket, self._gone = ack["ticket"], ack["bytes"]

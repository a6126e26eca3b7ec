"""The real app: in this process with an engine of the tests, and as a process of its own with a real one."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from fastapi import FastAPI
from httpx_ws import AsyncWebSocketSession, WebSocketDisconnect, aconnect_ws
from httpx_ws.transport import ASGIWebSocketTransport

from server.api.service import Service
from server.app import create_app
from server.settings import Settings

from .engines import Counts

ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT / "tests" / "recordings"
SECRET = "a secret of the tests"
STOP = {"type": "stop"}
PATIENCE_S = 20.0  # a busy machine needs a twentieth of it; nothing waits for it when all is well


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def chunks(name: str = "chromium-webm-opus.webm") -> list[bytes]:
    """A browser's recording, cut as the browser cut it."""
    path = RECORDINGS / name
    data, at, cut = path.read_bytes(), 0, []
    for size, _ in json.loads(path.with_suffix(".json").read_text())["chunks"]:
        cut.append(data[at : at + size])
        at += size
    return cut


@dataclass
class Told:
    """All that a client was told, and how it ended."""

    messages: list[dict[str, Any]]
    code: int
    reason: str

    def of(self, type: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == type]

    @property
    def error(self) -> dict[str, Any]:
        assert self.messages[-1]["type"] == "error", self.messages[-1]
        return self.messages[-1]["error"]


@dataclass(frozen=True)
class Until:
    """Go on when a message of this type has come."""

    type: str


@dataclass
class Site:
    """A running app and a client of it."""

    app: FastAPI
    client: httpx.AsyncClient

    @property
    def service(self) -> Service:
        return self.app.state.service

    @asynccontextmanager
    async def open(self, query: str = "", **headers: str) -> AsyncIterator[AsyncWebSocketSession]:
        options: Any = {"keepalive_ping_interval_seconds": None, "queue_size": 4096}
        url = f"http://localhost/api/captions{query}"
        async with aconnect_ws(url, self.client, headers=headers, **options) as socket:
            yield socket

    async def say(self, *said: "bytes | str | dict[str, Any] | Until", query: str = "") -> Told:
        """Open a session, say all this, and read to the end."""
        before: list[dict[str, Any]] = []
        async with self.open(query) as socket:
            for one in said:
                if isinstance(one, Until):
                    before += (await read(socket, one.type)).messages
                else:
                    await send(socket, one)
            told = await read(socket)
        return Told(before + told.messages, told.code, told.reason)


async def send(socket: AsyncWebSocketSession, said: bytes | str | dict[str, Any]) -> None:
    match said:
        case bytes():
            await socket.send_bytes(said)
        case str():
            await socket.send_text(said)
        case _:
            await socket.send_text(json.dumps(said))


async def read(socket: AsyncWebSocketSession, until: str | None = None) -> Told:
    """What comes to the end, or up to the first message of a type."""
    messages: list[dict[str, Any]] = []
    try:
        while not (messages and messages[-1]["type"] == until):
            messages.append(json.loads(await socket.receive_text(PATIENCE_S)))
    except WebSocketDisconnect as end:
        return Told(messages, end.code, end.reason or "")
    return Told(messages, 0, "")


@asynccontextmanager
async def serving(engine: Counts | None = None, fallback: Counts | None = None, **settings: Any) -> AsyncIterator[Site]:
    """The app with an engine of the tests; leaving ends every session first, without waiting for who may come back."""
    settings = {"resume_grace_s": 0, "secret": SECRET, "retention_h": 0} | settings
    app = create_app(Settings(_env_file=None, **settings), engine or Counts(), fallback)
    with anyio.fail_after(60 * PATIENCE_S):  # some put the clock forward
        async with app.router.lifespan_context(app):
            transport = ASGIWebSocketTransport(app, raise_app_exceptions=False, initial_receive_timeout=PATIENCE_S)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                yield Site(app, client)


FIELD = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


class Bare:
    """An upload at the bare interface of ASGI, of a file or only its beginning. Its client is there until `left`."""

    def __init__(
        self,
        site: Site,
        file: bytes | None = None,
        accept: str = "*/*",
        path: str = "/api/transcribe",
        **fields: str,
    ) -> None:
        self.left = anyio.Event()
        self.got: list[dict[str, Any]] = []
        self.news = anyio.Event()  # set whenever something was got
        self._site, self._accept, self._path = site, accept.encode(), path
        head = "".join(FIELD.format(*field) for field in fields.items()).encode() + HEAD
        body = head if file is None else head + file + b"\r\n--x--\r\n"
        self._said = [{"type": "http.request", "body": body, "more_body": file is None}]

    async def post(self) -> None:
        headers = [(b"content-type", b"multipart/form-data; boundary=x"), (b"accept", self._accept)]
        scope = {"type": "http", "method": "POST", "path": self._path, "query_string": b"", "headers": headers}
        await self._site.app({**scope, "app": self._site.app}, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if self._said:
            return self._said.pop()
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.got.append(message)
        self.news.set()


class Clock:
    """The event loop's clock, which can be put forward."""

    def __init__(self, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = 0.0
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + self._ahead)

    async def forward(self, seconds: float) -> None:
        await anyio.wait_all_tasks_blocked()
        self._ahead += seconds
        await checkpoint()
        await anyio.wait_all_tasks_blocked()


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(asyncio.get_running_loop(), monkeypatch)


@dataclass
class Process:
    """`python -m server` on a free port of loopback."""

    port: int
    log: Callable[[], str]  # ends the process, and tells all it wrote

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def environment(**settings: str) -> dict[str, str]:
    """This process's, without the settings of whoever runs the tests."""
    theirs = ("SOTTO_", "OPENAI_", "WHISPER_")
    return {name: value for name, value in os.environ.items() if not name.startswith(theirs)} | settings


@contextmanager
def process(folder: Path, **settings: str) -> Iterator[Process]:
    """Runs in `folder`, so that no .env of the checkout is read, until the block ends."""
    env = environment(SOTTO_PORT="0", PYTHONPATH=str(ROOT), **settings)
    with subprocess.Popen(
        [sys.executable, "-m", "server"], cwd=folder, env=env, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        lines: list[str] = []

        def log() -> str:
            running.terminate()
            lines.extend(running.stderr or [])
            return "".join(lines)

        try:
            for line in running.stderr:
                lines.append(line)
                if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                    break
            else:
                pytest.fail("the server did not start:\n" + "".join(lines))
            yield Process(int(found[1]), log)
        finally:
            running.terminate()
            try:
                running.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                running.kill()

"""A server process of our own: start it on a free port, wait until it is ready, measure it, stop it by its handle."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from random import sample
from types import TracebackType
from typing import Any, Self

import psutil

ROOT = Path(__file__).parents[1]
PORTS = range(20_000, 32_000)  # Linux connects from 32768 on
READY_S = 60.0  # longest wait for /readyz
_starting = asyncio.Lock()  # one at a time: starting costs seconds of CPU, and others are being measured
STOP_S = 10.0  # from SIGTERM to SIGKILL


class Process:
    """`async with Process("server", env={…}) as server:`; its output is in `log`."""

    def __init__(self, module: str, *args: str, env: dict[str, str] | None = None, port: int = 0) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ready_s = float("nan")  # from the start to the first good /readyz
        self._command = [sys.executable, "-m", module, *args]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SOTTO_", "OPENAI_", "WHISPER_"))}
        self._folder = tempfile.TemporaryDirectory(prefix="sotto-bench-")  # an empty one: no .env is read
        own = {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": self._folder.name}
        self._env = kept | own | (env or {})
        self.log = Path(self._folder.name) / "log"

    async def __aenter__(self) -> Self:
        async with _starting:
            await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        self._folder.cleanup()

    async def restart(self, how: signal.Signals) -> None:
        """End the process with this signal, start it anew on its port at once, and wait until it is ready."""
        await self.end(how)
        await self._begin()

    async def end(self, how: signal.Signals) -> None:
        """By this signal, and wait until it has."""
        self._process.send_signal(how)
        await asyncio.to_thread(self._process.wait)  # with a time it would look only now and then

    async def _begin(self) -> None:
        begin = time.perf_counter()
        self._process = await asyncio.to_thread(self._start)
        while not await asyncio.to_thread(_answers, f"{self.url}/readyz"):
            if self._process.poll() is not None or time.perf_counter() - begin > READY_S:
                said = self.log.read_text()[-2000:]
                await self.stop()
                raise RuntimeError(f"{self._command[2]} did not get ready: {said}")
            await asyncio.sleep(0.02)
        self.ready_s = time.perf_counter() - begin
        self._seen = psutil.Process(self._process.pid)

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(self._command, env=self._env, cwd=self._folder.name, stdout=log, stderr=log)

    async def stop(self) -> None:
        self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def cpu(self) -> float:
        """Seconds of user and system time so far, children included."""
        total = 0.0
        for one in [self._seen, *self._seen.children(recursive=True)]:
            times = one.cpu_times()
            total += times.user + times.system
        return total

    def memory(self) -> float:
        """Resident bytes, children included."""
        total, command = self._seen.memory_info().rss, self._seen.cmdline()
        for child in self._seen.children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it has ended since
                if child.cmdline() != command:  # else it was forked just now, and what it has is still the server's
                    total += child.memory_info().rss
        return float(total)


def free_port() -> int:
    """Of those that the kernel gives to nobody who connects: else it may be taken before its server begins, or anew."""
    for port in sample(PORTS, len(PORTS)):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port is free")


async def get(url: str) -> Any:
    return await asyncio.to_thread(_json, urllib.request.Request(url))


async def post(url: str, **body: Any) -> Any:
    data = json.dumps(body).encode()
    return await asyncio.to_thread(_json, urllib.request.Request(url, data, {"Content-Type": "application/json"}))


async def upload(url: str, data: bytes, name: str, patience_s: float = 120.0, **fields: str) -> Any:
    """POST a file as the multipart field `file`, and other fields."""
    edge = b"sotto-bench-edge"
    part = b'--%b\r\nContent-Disposition: form-data; name="%b"'
    body = b"".join(part % (edge, k.encode()) + b"\r\n\r\n%b\r\n" % v.encode() for k, v in fields.items())
    body += part % (edge, b"file") + b'; filename="%b"\r\n\r\n%b\r\n--%b--\r\n' % (name.encode(), data, edge)
    kind = {"Content-Type": f"multipart/form-data; boundary={edge.decode()}"}
    return await asyncio.to_thread(_json, urllib.request.Request(url, body, kind), patience_s)


def _json(request: urllib.request.Request, patience_s: float = 120.0) -> Any:
    with urllib.request.urlopen(request, timeout=patience_s) as answer:
        return json.load(answer)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=READY_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False

"""How many sessions at once, how much memory each takes, and how large everything is."""

import asyncio
import re
from contextlib import AsyncExitStack
from importlib.metadata import PackageNotFoundError, distribution
from statistics import median

from websockets.asyncio.client import connect

from .process import ROOT, Process
from .rig import Bench, embedded, remote, settle, summary
from .stream import play_many

REMOTE = (1, 16, 50)
EMBEDDED = 30
IDLE = 200  # sockets that are open and silent


async def run(it: Bench) -> None:
    """Sessions at once with the engine behind HTTP and with the embedded one, then memory and size."""
    if it.url:
        print("  capacity measures processes of its own: not measured with --url")
        return
    await _start(it)
    await _remote(it)
    await _embedded(it)
    it.note("size", installed() / 1e6)


async def _start(it: Bench) -> None:
    times = []
    for _ in range(it.runs):
        async with embedded() as server:
            times.append(server.ready_s)
    it.note("start.embedded", median(times))


async def _remote(it: Bench) -> None:
    counts = REMOTE[:2] if it.quick else REMOTE
    async with remote(it.packets, "--delay-ms", "700") as rig:
        await settle()
        it.note("memory.start", rig.server.memory() / 1e6)
        it.note("memory.idle", await _idle(rig.server) / 1000)  # first: later it would use what sessions gave back
        one = None
        for count in counts:
            found, memory = await _together(it, rig.server, f"many{count}", count)
            one = one or found
            if count > 1:
                it.note(f"many{count}.shown_ratio", found[0] / one[0])
                it.note(f"many{count}.settled_ratio", found[1] / one[1])
                it.note("memory.session", memory / count / 1e6)


async def _embedded(it: Bench) -> None:
    async with embedded() as server:
        await _together(it, server, f"embedded{EMBEDDED}", EMBEDDED)


async def _together(it: Bench, server: Process, name: str, count: int) -> tuple[tuple[float, float], float]:
    """Median seconds until words are shown and settled, and how much memory grew meanwhile."""
    before, cpu = server.memory(), server.cpu()
    playing = asyncio.create_task(play_many(server.url, it.chunks, count))
    await asyncio.sleep(it.speech.seconds * 0.7)
    grown = server.memory() - before
    sessions = await playing
    sampled = sessions[:: max(1, count // 10)]
    found = summary(sampled, it)
    it.note(f"{name}.dead", sum(s.done is None for s in sessions))
    it.note(f"{name}.shown_p50", found.shown[0])
    it.note(f"{name}.settled_p50", found.settled[0])
    it.note(f"{name}.cpu", (server.cpu() - cpu) / it.speech.seconds / count * 1000)
    it.note(f"{name}.sent_late", median(s.late for s in sessions))
    return (found.shown[0], found.settled[0]), grown


async def _idle(server: Process) -> float:
    """Bytes for a socket that has said nothing."""
    await settle()
    before = server.memory()
    async with AsyncExitStack() as sockets:
        for _ in range(IDLE):
            socket = connect(f"{server.url.replace('http', 'ws', 1)}/api/captions", compression=None)
            await sockets.enter_async_context(socket)
        await settle()
        return (server.memory() - before) / IDLE


def installed() -> float:
    """Bytes of the packages that running the server needs, as requirements.lock names them."""
    names = re.findall(r"^([A-Za-z0-9_.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    total = 0.0
    for name in names:
        try:
            files = distribution(name).files or []
        except PackageNotFoundError:  # for another platform
            continue
        paths = (file.locate() for file in files)
        total += sum(path.stat().st_size for path in paths if path.is_file())
    return total

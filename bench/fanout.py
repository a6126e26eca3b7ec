"""`python -m bench.fanout [--viewers 5000]`: how soon the last of many viewers has a final.

One speaker, half the viewers by WebSocket and half by server-sent events: on one server with its file, then spread
over two with a Redis between them. Counted from when the first of all, speaker or viewer, has a final. Server, viewers,
speaker and engine share the machine's cores, so that a server with cores of its own is faster.
"""

import argparse
import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

from websockets.asyncio.client import connect

from . import report, rig
from .chaos import SECRET
from .process import ROOT, Process, free_port
from .rig import Bench, node, percentile, remote
from .speaker import Speaker

VIEWERS = 5000
ROOM = "keynote"
READY_S = 120.0  # for all to be told of the room
LINE = 2**28  # bytes of the longest line: a time for each viewer and final


async def run(it: Bench, viewers: int = VIEWERS) -> None:
    """One server, then two."""
    if it.url:
        print("  fanout measures servers of its own: not measured with --url")
        return
    limits = {"SOTTO_MAX_VIEWERS": str(viewers), **SECRET}
    async with remote(it.packets, **limits) as found:
        await _measure(it, "fanout1", viewers, found.server)
    if not shutil.which("redis-server"):
        print("  no redis-server here: two servers are not measured")
        return
    async with redis() as url:
        shared = limits | {"SOTTO_REDIS_URL": url}
        async with remote(it.packets, **shared) as found, node(found.upstream, **shared) as other:
            await _measure(it, "fanout2", viewers, found.server, other)


async def _measure(it: Bench, name: str, viewers: int, *servers: Process) -> None:
    """The speaker is at the first server, the viewers at all of them."""
    finals: list[tuple[int, float]] = []
    async with opened(servers[0]), crowd(viewers, *servers) as watching:
        begin, before = monotonic(), [server.cpu() for server in servers]
        for _ in range(it.runs):
            speaker = Speaker(servers[0].url, it.chunks, room=ROOM)
            await speaker.speak()
            finals += zip((final["offset"] for final in speaker.finals), speaker.times, strict=True)
        seconds = monotonic() - begin
        cpu = [server.cpu() - was for server, was in zip(servers, before, strict=True)]
        said = await end(watching, finals[-1][0])
    came = [(min(told, *said["times"][str(offset)]), said["times"][str(offset)]) for offset, told in finals]
    last = [1000 * (times[-1] - first) for first, times in came]
    each = [1000 * (time - first) for first, times in came for time in times]
    it.note(f"{name}.viewers", viewers)
    it.note(f"{name}.finals", len(finals))
    it.note(f"{name}.last_p50", percentile(last, 50))
    it.note(f"{name}.last_p99", percentile(last, 99))
    it.note(f"{name}.each_p50", percentile(each, 50))
    it.note(f"{name}.each_p99", percentile(each, 99))
    for what in ("missing", "disordered", "gone"):
        it.note(f"{name}.{what}", said[what])
    it.note(f"{name}.cpu", sum(cpu) / seconds)
    it.note(f"{name}.viewers_cpu", said["cpu_s"] / seconds)


@asynccontextmanager
async def opened(server: Process) -> AsyncIterator[None]:
    """The room is there once somebody has begun to speak."""
    async with connect(f"{server.url.replace('http', 'ws', 1)}/api/captions?room={ROOM}") as socket:
        await socket.recv()
        yield


@asynccontextmanager
async def crowd(count: int, *servers: Process) -> AsyncIterator[asyncio.subprocess.Process]:
    """The viewers, once all are there."""
    command = [sys.executable, "-m", "bench.viewers", ROOM, *(server.url for server in servers), "--count", str(count)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe, limit=LINE)
    try:
        async with asyncio.timeout(READY_S):
            if not await _line(process):
                raise RuntimeError("the viewers could not follow")
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def end(watching: asyncio.subprocess.Process, last: int) -> dict[str, Any]:
    """What came to the viewers, once all have the last final, or it has not come for long."""
    assert watching.stdin
    watching.stdin.write(b"%d\n" % last)
    said: dict[str, Any] = json.loads(await _line(watching))
    return said


async def _line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout
    return await process.stdout.readline()


@asynccontextmanager
async def redis() -> AsyncIterator[str]:
    """The address of a server of our own that keeps nothing on disk."""
    port = str(free_port())
    command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet)
    try:
        yield f"redis://127.0.0.1:{port}"  # a server is ready when it has found it
    finally:
        process.terminate()
        await process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.fanout", description="How soon the last of many viewers has a final.")
    parser.add_argument("--viewers", type=int, default=VIEWERS)
    parser.add_argument("--runs", type=int, default=2, help="times that the speech is said")
    args = parser.parse_args()
    with rig.bench(runs=args.runs, quick=False, url=None) as it:
        asyncio.run(run(it, args.viewers))
        report.write(it, "fanout")
        print(f"\n{report.machine()}\n\n{report.table(it)}")


if __name__ == "__main__":
    main()

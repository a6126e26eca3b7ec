"""`python -m bench.chaos [--kills 20] [--sessions 4] [--seed …]`: whether every word comes once, whatever breaks.

Sessions of real speech run through a fault proxy. The server is killed and stopped at random moments and started anew
at once, alone and as one of two; lines are cut, swallowed and sliced. A gap lasts from when a speaker noticed
that the line was down until the session went on.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Coroutine
from signal import SIGKILL, SIGTERM
from statistics import median
from typing import Any

from . import report, rig
from .process import Process
from .proxy import Proxy
from .rig import Bench, node, percentile, remote
from .speaker import SILENT_S, Lost, Speaker
from .words import errors

KILLS = 20
SESSIONS = 4
APART_S = (0.0, 6.0)  # between a server's being ready and its next end
SPREAD_S = 0.7  # between the beginnings of two sessions
BEHIND = ("--delay-ms", "300")  # of the engine
SECRET = {"SOTTO_SECRET": "a secret of the benchmark"}


class Chaos:
    """Speakers who begin again as long as something is to come, and what became of their words."""

    def __init__(self, it: Bench, sessions: int, rng: random.Random) -> None:
        self.it, self.sessions, self.rng = it, sessions, rng
        self.speakers: list[Speaker] = []
        self.lost: list[str] = []  # sessions that could not go on, and why

    async def during(self, proxy: Proxy, trouble: Coroutine[Any, Any, None]) -> None:
        """Sessions one after the other, several at once, until the trouble is over; the last ones to their end."""
        making = asyncio.create_task(trouble)
        await asyncio.gather(making, *(self._speak(proxy, making, i * SPREAD_S) for i in range(self.sessions)))

    async def _speak(self, proxy: Proxy, making: asyncio.Task[None], after: float) -> None:
        await asyncio.sleep(after)
        while not making.done():
            speaker = Speaker(proxy.url, self.it.chunks)
            self.speakers.append(speaker)
            try:
                await speaker.speak()
            except Lost as why:
                self.lost.append(str(why))

    def moment(self) -> float:
        return self.rng.uniform(*APART_S)

    def note(self, name: str) -> None:
        found = [errors(self.it.speech.text, speaker.text) for speaker in self.speakers]
        gaps = [gap.seconds for speaker in self.speakers for gap in speaker.gaps]
        orders = ([final["offset"] for final in speaker.finals] for speaker in self.speakers)
        self.it.note(f"{name}.sessions", len(self.speakers))
        self.it.note(f"{name}.dead", len(self.lost))
        self.it.note(f"{name}.disordered", sum(order != [*range(1, len(order) + 1)] for order in orders))
        self.it.note(f"{name}.lost", sum(e.lost for e in found))
        self.it.note(f"{name}.doubled", sum(e.doubled for e in found))
        self.it.note(f"{name}.wrong", sum(e.wrong for e in found))
        self.it.note(f"{name}.gaps", len(gaps))
        self.it.note(f"{name}.gap_p50", percentile(gaps, 50))
        self.it.note(f"{name}.gap_p95", percentile(gaps, 95))
        for why in self.lost:
            print(f"  {name}: a session could not go on: {why}")
        for speaker, e in zip(self.speakers, found, strict=True):
            if e.all:
                print(f"  {name}: {e.lost} lost, {e.doubled} doubled, {e.wrong} wrong in the finals", *said(speaker))


def said(speaker: Speaker) -> list[str]:
    return [f"\n    {final['start']:6.2f} to {final['end']:6.2f} s: {final['text']}" for final in speaker.finals]


async def run(it: Bench, kills: int = KILLS, sessions: int = SESSIONS, seed: int | None = None) -> None:
    """One server that is killed, one of two, and lines that break."""
    if it.url:
        print("  chaos kills servers of its own: not measured with --url")
        return
    seed = random.randrange(1000) if seed is None else seed
    print(f"  seed {seed}")
    kills = kills // 4 if it.quick else kills
    await _one(it, Chaos(it, sessions, random.Random(seed)), kills)
    await asyncio.gather(
        _two(it, Chaos(it, sessions, random.Random(seed)), kills),
        _line(it, Chaos(it, sessions, random.Random(seed))),
    )


async def _one(it: Bench, chaos: Chaos, kills: int) -> None:
    """One server, started anew at once: the gap has its start in it."""
    starts = []

    async def trouble(server: Process) -> None:
        for _ in range(kills):
            await asyncio.sleep(chaos.moment())
            await server.restart(chaos.rng.choice((SIGKILL, SIGTERM)))
            starts.append(server.ready_s)

    async with remote(it.packets, *BEHIND, **SECRET) as found, Proxy(found.server.port) as proxy:
        await chaos.during(proxy, trouble(found.server))
    chaos.note("killed")
    it.note("killed.start_p50", median(starts))


async def _two(it: Bench, chaos: Chaos, kills: int) -> None:
    """Two servers with one secret: the other goes on, while the one that ended is started anew.

    Their engine gives no word times, as most do not.
    """

    async def trouble(proxy: Proxy, *servers: Process) -> None:
        for number in range(kills):
            await asyncio.sleep(chaos.moment())
            proxy.target = servers[(number + 1) % 2].port
            await servers[number % 2].restart(chaos.rng.choice((SIGKILL, SIGTERM)))

    async with (
        remote(it.packets, *BEHIND, "--word-style", "none", **SECRET) as found,
        node(found.upstream, **SECRET) as other,
    ):
        async with Proxy(found.server.port) as proxy:
            await chaos.during(proxy, trouble(proxy, found.server, other))
    chaos.note("handed")


async def _line(it: Bench, chaos: Chaos) -> None:
    """Nothing happens to the two servers; single bytes travel, lines are cut, and swallowed until it is noticed."""

    async def trouble(proxy: Proxy, *ports: int) -> None:
        for _ in range(2):
            for port in ports:
                await asyncio.sleep(chaos.moment())
                proxy.target = port
                proxy.cut()
            await asyncio.sleep(chaos.moment())
            proxy.swallow()
            await asyncio.sleep(SILENT_S)

    async with remote(it.packets, *BEHIND, **SECRET) as found, node(found.upstream, **SECRET) as other:
        async with Proxy(found.server.port) as proxy:
            proxy.sliced = True
            await chaos.during(proxy, trouble(proxy, other.port, found.server.port))
    chaos.note("broken")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.chaos", description="Break servers and lines; count the words.")
    parser.add_argument("--kills", type=int, default=KILLS, help="of the one server, and of the two")
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="at once")
    parser.add_argument("--seed", type=int, help="of the random moments")
    args = parser.parse_args()
    begin = time.monotonic()
    with rig.bench(runs=1, quick=False, url=None) as it:
        asyncio.run(run(it, args.kills, args.sessions, args.seed))
        report.write(it, "chaos")
        print(f"\n{report.machine()}\n{time.monotonic() - begin:.0f} s in all\n\n{report.table(it)}")


if __name__ == "__main__":
    main()

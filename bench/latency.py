"""How long after a word its caption comes; one session at a time against one server, several servers side by side."""

import asyncio

from .rig import Bench, Summary, curve, embedded, remote, repeat, summary
from .stream import Session
from .words import latency


async def run(it: Bench) -> None:
    """The engine behind HTTP at 700 and 1500 ms, in its default and fastest setting, and the embedded engine."""
    if it.url:
        sessions = await repeat(it.url, it)
        note(it, "given", sessions)
        it.note("given.cost", summary(sessions, it).cost)
        return
    await asyncio.gather(_remote(it), _fast(it), _slow(it), _embedded(it))


def note(it: Bench, name: str, sessions: list[Session]) -> Summary:
    """Put a configuration's numbers and its curves into the results."""
    found = summary(sessions, it)
    for word, pair in (("shown", found.shown), ("settled", found.settled), ("final", found.final)):
        it.note(f"{name}.{word}_p50", pair[0])
        it.note(f"{name}.{word}_p95", pair[1])
    it.note(f"{name}.share", found.share)
    it.note(f"{name}.sent_late", max(s.late for s in sessions))
    for pick in ("shown", "settled"):
        it.curves[f"{name} {pick}"] = curve(sessions, it, pick)
    return found


async def _remote(it: Bench) -> None:
    async with remote(it.folder, "--delay-ms", "700") as rig:
        sessions = await repeat(rig.server.url, it)
        it.note("remote.cost", note(it, "remote", sessions).cost)
        third = it.speech.seconds / 3
        it.note("bytes.first", sessions[0].bytes_per_s(0, third) / 1000)
        it.note("bytes.last", sessions[0].bytes_per_s(2 * third, 3 * third) / 1000)


async def _fast(it: Bench) -> None:
    settings = {"SOTTO_PARTIAL_INTERVAL": "0.4", "SOTTO_PARTIALS_IN_AIR": "2", "SOTTO_MAX_COST_RATIO": "5"}
    async with remote(it.folder, "--delay-ms", "700", **settings) as rig:
        it.note("fast.cost", note(it, "fast", await repeat(rig.server.url, it)).cost)


async def _slow(it: Bench) -> None:
    async with remote(it.folder, "--delay-ms", "1500") as rig:
        sessions = await repeat(rig.server.url, it)
        found = note(it, "slow", sessions)
        it.note("slow.cost", found.cost)
        parts = [latency(s, it.speech.words) for s in sessions if s.done]
        it.note("slow.lag_end", max(p.final_lag[-1] for p in parts))
        it.note("slow.growth", max(p.growth() for p in parts))


async def _embedded(it: Bench) -> None:
    async with embedded() as server:
        note(it, "embedded", await repeat(server.url, it))

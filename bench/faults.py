"""What happens when the engine misbehaves: who dies, which words are lost, when the reader is told."""

import asyncio
from collections.abc import Awaitable

from .accuracy import note_words
from .process import post
from .rig import Bench, remote, upstream
from .stream import Session, play
from .words import latency

AWAY_FROM_S = 6.0  # of the stream
AWAY_S = 20.0
BUSY_S = 60.0  # how long there is nothing but 429


async def run(it: Bench) -> None:
    """Every fault against a server and an upstream of its own, side by side."""
    if it.url:
        print("  faults need an upstream of our own: not measured with --url")
        return
    jobs: list[Awaitable[None]] = [_failing(it, "fail30", "500", 0.3, 4), _gone(it), _busy(it)]
    jobs += [_failing(it, mode, mode, 0.3, 1) for mode in ("html", "badjson", "empty")]
    jobs += [_failing(it, mode, mode, 0.05, 1) for mode in ("drip", "hang")]
    await asyncio.gather(*jobs)


async def _failing(it: Bench, name: str, mode: str, rate: float, count: int) -> None:
    async with remote(it.folder, "--delay-ms", "700", "--fail-mode", mode, "--fail-rate", str(rate)) as rig:
        plays = (play(rig.server.url, it.chunks, after=0.4 * i) for i in range(count))
        note_words(it, name, list(await asyncio.gather(*plays)))


async def _gone(it: Bench) -> None:
    """The upstream is killed in mid-speech, and started again 20 s later."""
    async with remote(it.folder, "--delay-ms", "700") as rig:
        playing = asyncio.create_task(play(rig.server.url, it.chunks))
        await asyncio.sleep(AWAY_FROM_S)
        await rig.upstream.stop()
        await asyncio.sleep(AWAY_S)
        async with upstream(it.folder, rig.upstream.port, "--delay-ms", "700"):
            session = await playing
        note_words(it, "gone", [session])
        it.note("gone.warned", _warned(session) - AWAY_FROM_S)
        it.note("gone.lag_end", _lag_end(it, session))


async def _busy(it: Bench) -> None:
    """429 to everything, for a minute."""
    async with remote(it.folder, "--delay-ms", "700") as rig:
        playing = asyncio.create_task(play(rig.server.url, it.chunks))
        await asyncio.sleep(AWAY_FROM_S)
        await post(f"{rig.upstream.url}/control", fail_rate=1.0, fail_mode="429")
        await asyncio.sleep(BUSY_S / 4 if it.quick else BUSY_S)
        await post(f"{rig.upstream.url}/control", fail_rate=0.0)
        session = await playing
        note_words(it, "busy", [session])
        it.note("busy.warned", _warned(session) - AWAY_FROM_S)


def _warned(session: Session) -> float:
    """When the first warning that the engine is late came."""
    late = (h.at for h in session.of("warning") if h.message["code"] == "engine.delayed" and h.message.get("lag_s"))
    return min(late, default=float("inf"))


def _lag_end(it: Bench, session: Session) -> float:
    return latency(session, it.speech.words).final_lag[-1] if session.done else float("inf")

"""What is sent to an engine, and what the server itself costs: seconds of audio, and of CPU."""

import asyncio

from .process import Process, get
from .rig import Bench, embedded, remote, repeat, settle, summary

DELAYS_MS = (0, 300, 700, 1500, 3000)


async def run(it: Bench) -> None:
    """Cost against the upstream's delay; CPU of the server alone, and with the embedded engine in it."""
    if it.url:
        it.note("given.cost", summary(await repeat(it.url, it, 1), it).cost)
        return
    delays = (0, 700, 1500) if it.quick else DELAYS_MS
    points = await asyncio.gather(*(_audio(it, delay) for delay in delays))
    it.curves["cost"] = points
    it.note("instant.cost", points[0][1])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_cpu_remote(it))
        tasks.create_task(_cpu_embedded(it, "cpu.embedded", SOTTO_PARTIAL_INTERVAL="1.0"))
        tasks.create_task(_cpu_embedded(it, "cpu.embedded_default"))
        tasks.create_task(_cpu_embedded(it, "cpu.finals", "?interim=0"))


async def _audio(it: Bench, delay_ms: float) -> tuple[float, float]:
    """The upstream's delay in seconds, and seconds sent to it for each second streamed, by its own count."""
    async with remote(it.folder, "--delay-ms", str(delay_ms)) as rig:
        sessions = await repeat(rig.server.url, it, 1)
        received = (await get(f"{rig.upstream.url}/stats"))["audio_s"] / it.speech.seconds
        it.note(f"cost.{delay_ms:g}ms_said", sessions[0].cost)
        it.note(f"cost.{delay_ms:g}ms_received", received)
        return delay_ms / 1000, received


async def _cpu_remote(it: Bench) -> None:
    async with remote(it.packets, "--delay-ms", "700") as rig:
        it.note("cpu.server", await _cpu(it, rig.server))


async def _cpu_embedded(it: Bench, key: str, query: str = "", **settings: str) -> None:
    async with embedded(**settings) as server:
        it.note(key, await _cpu(it, server, query))


async def _cpu(it: Bench, server: Process, query: str = "") -> float:
    """Milliseconds of CPU for a second of audio."""
    await settle()
    begin = server.cpu()
    await repeat(server.url, it, 1, query)
    return (server.cpu() - begin) / it.speech.seconds * 1000

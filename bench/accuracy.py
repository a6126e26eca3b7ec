"""Which words come: none lost, none doubled, whatever the answers look like; and not worse than the whole file."""

import asyncio
from statistics import median

from .process import upload
from .rig import Bench, embedded, remote, repeat
from .stream import Session, play
from .words import errors, normalise

STYLES = ("bare", "spaced", "none")


async def run(it: Bench) -> None:
    """A perfect engine in every shape of answer, then the embedded one against itself on the whole file."""
    if it.url:
        session = await play(it.url, it.chunks)
        it.note("given.wer", 100 * errors(it.speech.text, session.text).rate)
        return
    *styles, _ = await asyncio.gather(*(_oracle(it, style) for style in STYLES), _embedded(it))
    it.note("shapes.differ", len({tuple(normalise(text)) for text in styles}) - 1)


async def _oracle(it: Bench, style: str) -> str:
    async with remote(it.folder, "--delay-ms", "300", "--word-style", style) as rig:
        session = await play(rig.server.url, it.chunks)
        whole = await upload(f"{rig.server.url}/api/transcribe", _file(it), "speech.webm")
        note_words(it, f"oracle_{style}", [session])
        it.note(f"oracle_{style}.file_errors", errors(it.speech.text, whole["transcript"]).all)
        return session.text


def note_words(it: Bench, name: str, sessions: list[Session]) -> None:
    """Sessions that died, and the most words one of them lost, doubled, got wrong."""
    found = [errors(it.speech.text, s.text) for s in sessions]
    it.note(f"{name}.dead", sum(s.done is None for s in sessions))
    it.note(f"{name}.lost", max(e.lost for e in found))
    it.note(f"{name}.doubled", max(e.doubled for e in found))
    it.note(f"{name}.wrong", max(e.wrong for e in found))
    it.note(f"{name}.degraded", sum(bool(h.message.get("degraded")) for s in sessions for h in s.of("final")))


async def _embedded(it: Bench) -> None:
    async with embedded() as server:
        whole = await upload(f"{server.url}/api/transcribe", _file(it), "speech.webm")
        sessions = await repeat(server.url, it, 2)
        streamed = median(errors(it.speech.text, s.text).rate for s in sessions)
        file = errors(it.speech.text, whole["transcript"]).rate
        it.note("wer.streamed", 100 * streamed)
        it.note("wer.file", 100 * file)
        it.note("wer.delta", 100 * (streamed - file))


def _file(it: Bench) -> bytes:
    return b"".join(chunk.data for chunk in it.chunks)

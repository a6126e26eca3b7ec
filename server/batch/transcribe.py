"""A whole file → its transcript: read and cut in a thread, asked in parallel, joined in order with true times."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from typing import BinaryIO

from anyio import CapacityLimiter, create_task_group, from_thread, to_thread

from ..engines.base import Speech
from ..speech.types import RATE, Hypothesis, Samples, Word
from .decode import decode
from .split import Hear, Piece, split

IN_AIR = 4  # pieces of one file with the engine at once: enough to hide its latency, and others get their turn
LONGEST_PIECE_S = 300.0  # also where an engine takes more: it bounds memory (10 MB a piece) and wins by parallelism


@dataclass(frozen=True, slots=True)
class Segment:
    """What was said in one piece, in seconds of the file; `words` is empty where the engine gives no word times."""

    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """A file's text. `duration` is the file's, with its silences; `language` is the first that was recognised."""

    text: str
    language: str | None
    duration: float
    segments: tuple[Segment, ...] = ()

    @property
    def words(self) -> tuple[Word, ...]:
        return tuple(word for segment in self.segments for word in segment.words)


async def transcribe(
    file: BinaryIO,
    ask: Callable[[Speech], Awaitable[Hypothesis]],
    hear: Hear,
    *,
    limiter: CapacityLimiter,
    longest: float,
    longest_s: float,
    language: str | None = None,
    prompt: str = "",
    publish: Callable[[Segment], None] = lambda segment: None,
) -> Transcript:
    """Transcribe a seekable binary file; `publish` gets every segment as soon as it and all before it are there.

    `longest` (seconds) is what the engine takes at once, `longest_s` how long the file may be. `limiter` bounds the
    files that are decoded at once; `hear` is a fresh voice activity detector. Raises what `decode` and `ask` raise.
    """
    reading = _Reading(file, longest_s)
    answers: dict[int, Segment] = {}
    segments: list[Segment] = []
    slots = CapacityLimiter(IN_AIR)

    async def request(number: int, piece: Piece) -> None:
        try:
            answer = await ask(Speech(piece.start, piece.end, piece, language=language, prompt=prompt))
        finally:
            slots.release_on_behalf_of(number)
        answers[number] = Segment(piece.start, piece.end, answer.text.strip(), answer.words, answer.language)
        while len(segments) in answers:
            segments.append(answers.pop(len(segments)))
            publish(segments[-1])

    try:
        with closing(split(reading.blocks(), hear, min(longest, LONGEST_PIECE_S))) as pieces:
            async with create_task_group() as tasks:
                for number in count():
                    # A slot before the next piece is read: no more than IN_AIR + 1 pieces are ever in memory.
                    await slots.acquire_on_behalf_of(number)
                    piece = await to_thread.run_sync(next, pieces, None, limiter=limiter)
                    if piece is None:
                        break
                    tasks.start_soon(request, number, piece)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None  # one fault is enough to tell; the others are its like

    return Transcript(
        text=" ".join(segment.text for segment in segments if segment.text),
        language=next((segment.language for segment in segments if segment.language), language),
        duration=reading.seconds,
        segments=tuple(segments),
    )


class _Reading:
    """The decoded file, and how much of it was read."""

    def __init__(self, file: BinaryIO, longest_s: float) -> None:
        self._count = 0  # samples
        self._blocks = decode(file, longest_s=longest_s)

    @property
    def seconds(self) -> float:
        return self._count / RATE

    def blocks(self) -> Iterator[Samples]:
        for block in self._blocks:
            from_thread.check_cancelled()  # a long silence gives no piece, and must not outlive its request
            self._count += len(block)
            yield block

"""A whole file → its transcript: read and cut in a thread, asked in parallel, joined in order with true times."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import BinaryIO

from anyio import CapacityLimiter, create_task_group, to_thread

from ..engines.base import Speech
from ..speech.agreement import join
from ..speech.filters import suspicion, unlooped
from ..speech.types import RATE, Hypothesis, Samples, Word
from .decode import decode
from .split import Hear, Piece, split

IN_AIR = 4  # pieces of one file with the engine at once: enough to hide its latency, and others get their turn
TURN = 16  # blocks (seconds) a file is read before another gets the thread: 60 ms of one core
SHORT_S = 30.0  # a piece whose text is not to be believed is left out if it is no longer, else asked for in halves
LONGEST_PIECE_S = 300.0  # also where an engine takes more: it bounds memory (10 MB a piece) and wins by parallelism


@dataclass(frozen=True, slots=True)
class Segment:
    """What was said in one piece, in seconds of the file; what the engine does not tell is empty or None."""

    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()
    language: str | None = None
    logprob: float | None = None  # as in Hypothesis
    no_speech: float | None = None


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
    progress: Callable[[float, float | None], None] = lambda done_s, duration_s: None,
) -> Transcript:
    """Transcribe a seekable binary file; `publish` gets every segment as soon as it and all before it are there.

    `progress` gets the seconds up to which all is transcribed, and the file's length once it is known.

    `longest` (seconds) is what the engine takes at once, `longest_s` how long the file may be. `limiter` bounds the
    files that are decoded at once, in turns of TURN seconds; `hear` is a fresh voice activity detector. Raises what
    `decode` and `ask` raise.
    """
    reading = _Reading(file, hear, min(longest, LONGEST_PIECE_S), longest_s)
    answers: dict[int, list[Segment]] = {}
    segments: list[Segment] = []
    told = 0  # pieces whose segments are published
    slots = CapacityLimiter(IN_AIR)

    async def request(number: int, piece: Piece) -> None:
        nonlocal told
        try:
            answers[number] = await read(piece)
        finally:
            slots.release_on_behalf_of(number)
        while told in answers:
            for segment in answers.pop(told):
                segments.append(segment)
                publish(segment)
            told += 1
            progress(piece.end, None)

    async def read(piece: Piece) -> list[Segment]:
        for hint in dict.fromkeys((prompt, "")):  # once more without the words that may have led it astray
            answer = await ask(Speech(piece.start, piece.end, piece, language=language, prompt=hint))
            # In a thread: looking for loops in five minutes of words takes a tenth of a second.
            if not await to_thread.run_sync(suspicion, answer, piece.voiced, limiter=limiter):
                text, scores = answer.text.strip(), (answer.logprob, answer.no_speech)
                return [Segment(piece.start, piece.end, text, answer.words, answer.language, *scores)]
        if piece.end - piece.start <= SHORT_S:
            before = unlooped(answer)  # what was said before an engine fell into a loop
            return [Segment(piece.start, piece.end, before.text, language=before.language)] if before else []
        first, second = piece.halves()
        return await read(first) + await read(second)

    try:
        async with create_task_group() as tasks:
            for number in count():
                # A slot before the next piece is read: no more than IN_AIR + 1 pieces are ever in memory.
                await slots.acquire_on_behalf_of(number)
                piece = await reading.piece(limiter)
                if piece is None:
                    break
                if not number:
                    progress(0.0, None)
                tasks.start_soon(request, number, piece)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None  # one fault is enough to tell; the others are its like
    finally:
        reading.close()

    return Transcript(
        text=join([segment.text for segment in segments]),
        language=next((segment.language for segment in segments if segment.language), language),
        duration=reading.seconds,
        segments=tuple(segments),
    )


class _Reading:
    """A file that is read a turn at a time, and how much of it was."""

    def __init__(self, file: BinaryIO, hear: Hear, longest: float, longest_s: float) -> None:
        self._count = 0  # samples
        self._pieces = split(self._counted(decode(file, longest_s=longest_s)), hear, longest)
        self._ended = False

    @property
    def seconds(self) -> float:
        return self._count / RATE

    async def piece(self, limiter: CapacityLimiter) -> Piece | None:
        """The next piece; None at the end. After each turn other files get the thread, and who has gone is noticed."""
        piece = None
        while piece is None and not self._ended:
            piece = await to_thread.run_sync(self._turn, limiter=limiter)
        return piece

    def _turn(self) -> Piece | None:
        for _ in range(TURN):
            try:
                if piece := next(self._pieces):
                    return piece
            except StopIteration:
                self._ended = True
                break
        return None

    def close(self) -> None:
        self._pieces.close()

    def _counted(self, blocks: Iterator[Samples]) -> Iterator[Samples]:
        for block in blocks:
            self._count += len(block)
            yield block

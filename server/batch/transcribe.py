"""The sound of a file → its transcript: cut in a thread, asked in parallel, joined in order with true times."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count

from anyio import CapacityLimiter, create_task_group, to_thread

from ..engines.base import Speech
from ..speech.agreement import join
from ..speech.filters import suspicion, unlooped
from ..speech.types import RATE, Hypothesis, Samples, Word
from .split import Hear, Piece, Splitter

IN_AIR = 4  # pieces of one file with the engine at once: enough to hide its latency, and others get their turn
SHORT_S = 30.0  # a piece whose text is not to be believed is left out if it is no longer, else asked for in halves
LONGEST_PIECE_S = 120.0  # also where an engine takes more: it bounds memory, and a call is answered in its 30 s


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
    sound: Callable[[], Awaitable[Samples | None]],
    ask: Callable[[Speech], Awaitable[Hypothesis]],
    hear: Hear,
    *,
    limiter: CapacityLimiter,
    longest: float,
    language: str | None = None,
    prompt: str = "",
    publish: Callable[[Segment], None] = lambda segment: None,
    progress: Callable[[float], None] = lambda done_s: None,
) -> Transcript:
    """Transcribe what `sound` gives, seconds at a time, up to its None: float32, mono, 16 kHz.

    `publish` gets every segment as soon as it and all before it are there, `progress` the seconds up to which all is
    transcribed. `longest` (seconds) is what the engine takes at once; `hear` is a fresh voice activity detector, and
    `limiter` bounds the threads in which it works. Raises what `sound` and `ask` raise.
    """
    splitter = Splitter(hear, min(longest, LONGEST_PIECE_S))
    answers: dict[int, list[Segment]] = {}
    begun: dict[int, float] = {}  # pieces whose segments are not published: number → start, in order
    segments: list[Segment] = []
    numbers = count()
    slots = CapacityLimiter(IN_AIR)

    async def request(number: int, piece: Piece) -> None:
        try:
            answers[number] = await read(piece)
        finally:
            slots.release_on_behalf_of(number)
        while begun and (first := next(iter(begun))) in answers:
            del begun[first]
            for segment in answers.pop(first):
                segments.append(segment)
                publish(segment)
        progress(done())

    async def read(piece: Piece) -> list[Segment]:
        for hint in dict.fromkeys((prompt, "")):  # once more without the words that may have led it astray
            answer = await ask(Speech(piece.start, piece.end, piece, language=language, prompt=hint))
            # In a thread: looking for loops in minutes of words takes a while.
            if not await to_thread.run_sync(suspicion, answer, piece.voiced, limiter=limiter):
                text, scores = answer.text.strip(), (answer.logprob, answer.no_speech)
                said = Segment(piece.start, piece.end, text, answer.words, answer.language, *scores)
                return [said] if text else []
        if piece.end - piece.start <= SHORT_S:
            before = unlooped(answer, piece.voiced)  # what was said before an engine fell into a loop
            return [Segment(piece.start, piece.end, before.text, language=before.language)] if before else []
        first, second = piece.halves()
        return await read(first) + await read(second)

    def done() -> float:
        return next(iter(begun.values()), splitter.start)

    async def send(pieces: list[Piece]) -> None:
        for piece in pieces:
            number = next(numbers)
            begun[number] = piece.start
            await slots.acquire_on_behalf_of(number)  # no more sound is read than the engine keeps up with
            tasks.start_soon(request, number, piece)
        progress(done())

    length = 0  # samples
    try:
        async with create_task_group() as tasks:
            while (samples := await sound()) is not None:
                length += len(samples)
                await send(await to_thread.run_sync(splitter.push, samples, limiter=limiter))
            await send(await to_thread.run_sync(splitter.finish, limiter=limiter))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None  # one fault is enough to tell; the others are its like

    return Transcript(
        text=join([segment.text for segment in segments]),
        language=next((segment.language for segment in segments if segment.language), language),
        duration=length / RATE,
        segments=tuple(segments),
    )

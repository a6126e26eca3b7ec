"""What every engine is: speech in, a hypothesis out, from a thread."""

from dataclasses import dataclass
from typing import Protocol

from ..audio.clip import Clip
from ..speech.types import Hypothesis, Kind, Samples


class Stretch(Protocol):
    """A stretch of audio in the form an engine wants; both may be called from any thread."""

    def samples(self) -> Samples:
        """All of it as float32, mono, 16 kHz."""

    def clip(self) -> Clip:
        """All of it as a small standalone file; it may begin a little early, at `Clip.start`."""


@dataclass(frozen=True, slots=True)
class Speech:
    """One request: read what is said from `start` to `end` (session seconds)."""

    start: float
    end: float
    audio: Stretch
    kind: Kind = Kind.FINAL
    timeout: float = 60.0  # seconds of wall-clock time after which the engine itself must give up
    language: str | None = None
    prompt: str = ""
    known: tuple[int, ...] = ()  # the engine's tokens of what is said first in this audio, and not wanted again
    previous: Hypothesis | None = None  # the last answer for about the same speech: a good first guess …
    expected: str = ""  # … from where this text begins in it

    @property
    def final(self) -> bool:
        """Whether the answer may be the last word on this stretch, and so deserves care."""
        return self.kind is not Kind.PARTIAL


class Engine(Protocol):
    """Blocking and thread-safe: several sessions call `transcribe` at once."""

    name: str  # for people: "moonshine tiny-en", "openai gpt-transcribe"
    wants_samples: bool  # else it asks for a clip
    languages: frozenset[str] | None  # codes it knows; None: any
    paid: bool  # each audio second costs money
    partial_interval: float  # seconds; how often it likes to be asked while someone speaks
    longest: float  # seconds of audio it takes at once
    context: float  # seconds it likes to hear again before what is new, told what was `known`; 0: it cannot be told

    def transcribe(self, speech: Speech) -> Hypothesis:
        """Word times are session seconds. Raises EngineError."""

    def close(self) -> None:
        """Give back threads, sockets and memory."""


class EngineError(Exception):
    """The engine could not answer: `retryable` says whether asking again may help, `retry_after` when (seconds)."""

    def __init__(self, message: str, *, retryable: bool = True, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after = retry_after

"""The nouns of speech: what flows from PCM to captions. All times are seconds on the session's time line."""

from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

RATE = 16_000  # samples per second everywhere behind the decoder
FRAME = 512  # samples in a frame: 32 ms, the window of the voice activity detector
FRAME_S = FRAME / RATE

Samples = NDArray[np.float32]  # mono, 16 kHz, -1 … 1


@dataclass(frozen=True, slots=True)
class Frame:
    """32 ms of mono PCM (512 float32) and the probability (0 … 1) that someone speaks in it."""

    time: float
    samples: Samples
    speech: float


@dataclass(frozen=True, slots=True)
class Word:
    """One written word, punctuation included, without surrounding space."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """An engine's answer for one stretch of audio; a later one may revise it.

    `words` is empty where the engine gives no word times. `tokens` is the engine's own shorthand of the
    answer, handed back to it with the next request. The scores are None where the engine gives none.
    """

    text: str
    words: tuple[Word, ...] = ()
    language: str | None = None
    tokens: tuple[int, ...] = ()
    no_speech: float | None = None  # probability that there is no speech at all
    logprob: float | None = None  # average log-probability of a token
    compression: float | None = None  # gzip ratio of the text; loops compress well


class Kind(Enum):
    """What an answer is for."""

    PARTIAL = auto()  # shown if it comes soon; nobody misses it
    EARLY = auto()  # all of an utterance so far, asked at a pause: becomes its final if the pause lasts
    FINAL = auto()  # must come


@dataclass(frozen=True, slots=True)
class Caption:
    """What is shown for one utterance: a state, not a delta. It replaces the former one of its utterance.

    `text[:stable]` is agreed and does not change between partials; a final may still correct it.
    """

    utterance: int
    start: float
    end: float
    text: str
    stable: int
    final: bool
    words: tuple[Word, ...] = ()
    language: str | None = None
    degraded: bool = False  # a final that is the last partial, because the engine gave up


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a session stands once all that was said before `time` is settled: another one can go on from here."""

    time: float = 0.0
    cut: bool = False  # through speech, rather than in a silence
    utterance: int = 1  # the number of the next one
    finals: int = 0  # so far
    language: str | None = None  # the client's wish, or what was recognised for long enough
    said: str = ""  # the end of it, for the next prompt
    spoken: float = 0.0  # voiced seconds
    sent: float = 0.0  # seconds given to engines
    timed: bool = False  # the engine gives word times

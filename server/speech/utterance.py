"""An utterance while it is spoken: its pieces, what was asked about it, and what was answered."""

from dataclasses import dataclass, field

from .agreement import Draft
from .types import Caption, Hypothesis, Kind


@dataclass(frozen=True, slots=True)
class Transcribe:
    """Ask an engine for what is said from `start` to `end`; `known` was said first and is not to be said again."""

    utterance: int
    start: float
    end: float
    kind: Kind
    language: str | None = None  # None: the engine finds out
    prompt: str = ""
    known: tuple[int, ...] = ()
    previous: Hypothesis | None = None
    expected: str = ""  # what the answer will probably begin with
    base: int = 0  # what is not known begins with this agreed word of the utterance
    over_cut: bool = False  # it holds some speech from beyond a cut, which the word times of the answer tell


@dataclass(frozen=True, slots=True)
class Piece:
    """Speech up to a pause, read with care: it is not read again."""

    start: float
    end: float
    answer: Hypothesis


@dataclass(slots=True)
class Utterance:
    """Speech between two endpoints: growing, or waiting for its last words.

    At its pauses it falls into pieces. `start`, `base`, `previous` and `voiced` are those of the piece that is open;
    the draft and the caption are of all.
    """

    number: int
    onset: float
    began: float  # where its audio begins
    start: float  # where the open piece's audio begins
    before: float = 0.0  # voiced seconds of the session before it
    pieces: list[Piece] = field(default_factory=list)
    base: int = 0  # words of the draft before the open piece
    cut_in: bool = False  # it began at a cut through speech, not at a silence
    cut_out: bool = False  # it ended at one
    voice_end: float = 0.0
    end: float = 0.0  # where its audio ends, once it has ended
    voiced: float = 0.0
    draft: Draft = field(default_factory=Draft)
    previous: Hypothesis | None = None  # the newest answer about the open piece
    newest: float = 0.0  # end of the newest window that was answered
    asked: float = 0.0  # end of the newest window that was asked for
    shown: Caption | None = None
    paused: float = 0.0  # end of the voice at the latest pause that was asked about
    early: Transcribe | None = None  # the latest request at a pause, …
    early_voiced: float = 0.0  # … what was voiced by then, …
    early_answer: Hypothesis | None = None  # … and its answer
    awaited: Transcribe | None = None  # the request whose answer will complete the final
    final: Caption | None = None  # decided; its turn to be published may come later
    missing: bool = False  # somebody spoke, and there is no text for it

    def covers(self, request: Transcribe | None) -> bool:
        """Whether the request holds everything that was said in the open piece."""
        return request is not None and request.end >= self.voice_end

    @property
    def is_read(self) -> bool:
        """Whether everything that was said was read with care."""
        if self.pieces and self.pieces[-1].end >= min(self.voice_end, self.end or self.voice_end):
            return True
        return self.early_answer is not None and self.covers(self.early)

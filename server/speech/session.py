"""One live stream, as a state machine: frames and hypotheses in, actions out.

No I/O, no clock, no tasks, no samples. Every method returns the actions the caller is to perform, in order, before it
calls the next one. Time is media time, so a test of an hour of speech takes no time at all.
"""

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np

from .agreement import Draft
from .endpointer import Edge, Endpointer, State
from .filters import suspicion
from .types import FRAME_S, Caption, Frame, Hypothesis, Kind, Word

SENTENCE_END = tuple(".?!。？！…")
FIRST_PARTIAL = 0.5  # seconds after the onset
GROWTH = 0.25  # a partial waits at least this part of its own length, so that long windows are sent less often
SHORTEST_WINDOW = 1.0  # seconds; engines read shorter ones badly
PROMPT = 200  # characters
MARGIN = 0.5  # seconds on both sides of a cut through speech, where the engine gives word times
CUT_WITHIN = 1.0  # seconds before a forced cut in which the quietest moment is looked for
COST_START = 10.0  # seconds of credit, so that the first utterance of a session has its partials


@dataclass(frozen=True, slots=True)
class Transcribe:
    """Ask an engine for what is said from `start` to `end`."""

    utterance: int
    start: float
    end: float
    kind: Kind
    prompt: str = ""
    previous: Hypothesis | None = None
    agreed: str = ""
    base: int = 0  # the window begins with this agreed word of the utterance


@dataclass(frozen=True, slots=True)
class Publish:
    """Show this caption."""

    caption: Caption


Action = Transcribe | Publish


@dataclass(frozen=True, slots=True)
class Policy:
    """When to ask and when to end; seconds."""

    partials: bool = True
    partial_interval: float = 1.0
    partials_in_air: int = 1
    max_cost_ratio: float = float("inf")
    endpoint: float = 0.6
    endpoint_settled: float = 0.3
    preroll: float = 0.3
    postroll: float = 0.2
    cut_after: float = 12.0
    cut_at: float = 20.0


@dataclass(slots=True)
class Utterance:
    """Speech between two endpoints: growing, or waiting for its last words."""

    number: int
    onset: float
    start: float  # where its audio begins: the onset, less the pre-roll
    cut_in: bool = False  # it began at a cut through speech, not at a silence
    cut_out: bool = False  # it ended at one
    voice_end: float = 0.0
    end: float = 0.0  # where its audio ends, once it has ended
    voiced: float = 0.0
    draft: Draft = field(default_factory=Draft)
    previous: Hypothesis | None = None  # the newest answer for all of it
    newest: float = 0.0  # end of the newest window that was answered
    asked: float = 0.0  # end of the newest window that was asked for
    shown: Caption | None = None
    early: Transcribe | None = None  # the latest request at a pause …
    early_answer: Hypothesis | None = None  # … and its answer
    awaited: Transcribe | None = None  # the request whose answer will be the final
    final: Caption | None = None  # decided; its turn to be published may come later

    def covers(self, request: Transcribe | None) -> bool:
        """Whether the request holds everything that was said."""
        return request is not None and request.end >= self.voice_end


class Session:
    """See the module; `language` and `prompt` are the client's wishes."""

    def __init__(self, policy: Policy, *, prompt: str = "", first_utterance: int = 1) -> None:
        self.policy = policy
        self.time = 0.0  # audio heard
        self.spoken = 0.0  # voiced seconds
        self.sent = 0.0  # seconds given to engines
        self.finals = 0
        self._endpointer = Endpointer()
        self._floor = 0.0  # audio before this belongs to an utterance that has ended
        self._loudness: deque[tuple[float, float]] = deque(maxlen=round(CUT_WITHIN / FRAME_S))
        self._current: Utterance | None = None
        self._ending: deque[Utterance] = deque()
        self._in_air = 0  # partials
        self._number = first_utterance
        self._wish = prompt
        self._said = ""
        self._timed = False  # the engine gives word times

    @property
    def needs(self) -> float:
        """The earliest time whose audio may still be asked for."""
        onset = self._endpointer.onset if self._endpointer.state is State.ONSET else self.time
        next_start = max(self._floor, onset - self.policy.preroll)
        open_starts = [u.start for u in (*self._ending, self._current) if u and not u.final]
        return min([next_start, *open_starts]) - MARGIN

    def hear(self, frame: Frame) -> list[Action]:
        """The next 32 ms."""
        self.time = frame.time + FRAME_S
        edge = self._endpointer.push(frame, self._hang)
        actions: list[Action] = []
        if edge is Edge.START:
            self._begin(self._endpointer.onset)
        utterance = self._current
        if utterance is None:
            return actions
        self._listen(utterance, frame)
        match edge:
            case Edge.PAUSE:
                actions = self._at_pause(utterance)
            case Edge.END:
                actions = self._end(utterance)
            case _:
                if self.time - utterance.start >= self.policy.cut_at:
                    actions = self._cut(utterance)
                elif self._due(utterance):
                    actions = [self._partial(utterance)]
        return actions

    def hypothesis(self, request: Transcribe, answer: Hypothesis) -> list[Action]:
        """The engine's answer to a request."""
        self._landed(request)
        self._timed = bool(answer.words) if answer.text else self._timed
        utterance = self._find(request.utterance)
        if utterance is None:
            return []
        answer = _within(answer, utterance)
        if suspicion(answer, utterance.voiced):
            return self._distrust(utterance, request)
        if utterance.awaited is request:
            return self._decide(utterance, answer)
        if utterance.early is request:
            utterance.early_answer = answer
        return self._show(utterance, request, answer)

    def failed(self, request: Transcribe) -> list[Action]:
        """The engine gave up. What was shown stays."""
        self._landed(request)
        utterance = self._find(request.utterance)
        if utterance is None:
            return []
        if utterance.early is request:
            utterance.early = None
        if utterance.awaited is not request:
            return []
        return self._decide(utterance, None) if request.kind is Kind.FINAL else [self._final(utterance)]

    def finalize(self) -> list[Action]:
        """What was said so far is to become final now."""
        edge = self._endpointer.force()
        if edge is Edge.START:
            self._begin(self._endpointer.onset)
        return self._end(self._current) if self._current else []

    stall = finalize  # audio stopped coming: for the reader that is a silence like any other
    finish = finalize  # and at the end of the stream

    # -- hearing -----------------------------------------------------------------------------------------------

    def _begin(self, onset: float) -> None:
        start = max(self._floor, onset - self.policy.preroll, 0.0)
        heard = self._endpointer
        asked = onset + FIRST_PARTIAL - self._interval(0)
        self._current = Utterance(
            self._number, onset, start, voice_end=heard.voice_end, voiced=heard.voiced, asked=asked
        )
        self._number += 1
        self.spoken += heard.voiced

    def _listen(self, utterance: Utterance, frame: Frame) -> None:
        voice_end = self._endpointer.voice_end
        if voice_end > utterance.voice_end:
            utterance.voice_end = voice_end
            utterance.voiced += FRAME_S
            self.spoken += FRAME_S
        self._loudness.append((frame.time, float(np.dot(frame.samples, frame.samples))))

    def _due(self, utterance: Utterance) -> bool:
        if not self.policy.partials or self._endpointer.state is not State.SPEECH:
            return False
        if self._in_air >= self.policy.partials_in_air:
            return False
        start, _ = self._window(utterance)
        return self.time - utterance.asked >= self._interval(self.time - start) and self._affords(utterance, start)

    def _interval(self, window: float) -> float:
        return max(self.policy.partial_interval, GROWTH * window)

    def _affords(self, utterance: Utterance, start: float) -> bool:
        """Whether this request still leaves room for the finals within the bound on cost."""
        final = self.time - utterance.start + self.policy.postroll
        spent = self.sent + (self.time - start) + final
        return spent <= self.policy.max_cost_ratio * max(self.time, COST_START)

    def _window(self, utterance: Utterance) -> tuple[float, int]:
        """Where a partial's audio begins, and with which agreed word."""
        base = utterance.draft.anchor(self.time - SHORTEST_WINDOW)
        anchor = utterance.draft.agreed[base].start if base else None
        return (utterance.start, 0) if anchor is None else (anchor, base)

    # -- asking ------------------------------------------------------------------------------------------------

    def _partial(self, utterance: Utterance) -> Transcribe:
        start, base = self._window(utterance)
        self._in_air += 1
        utterance.asked = self.time
        return self._ask(utterance, start, self.time, Kind.PARTIAL, base)

    def _at_pause(self, utterance: Utterance) -> list[Action]:
        if self.time - utterance.start >= self.policy.cut_after:
            return self._end(utterance)
        if not self._affords(utterance, utterance.start):
            return []
        utterance.early = self._ask(utterance, utterance.start, self.time, Kind.EARLY)
        utterance.early_answer = None
        utterance.asked = self.time
        return [utterance.early]

    def _final(self, utterance: Utterance) -> Transcribe:
        margin_in = MARGIN if utterance.cut_in and self._timed else 0.0
        margin_out = MARGIN if utterance.cut_out and self._timed else 0.0
        start = max(0.0, utterance.start - margin_in)
        utterance.awaited = self._ask(utterance, start, min(self.time, utterance.end + margin_out), Kind.FINAL)
        return utterance.awaited

    def _ask(self, utterance: Utterance, start: float, end: float, kind: Kind, base: int = 0) -> Transcribe:
        self.sent += end - start
        draft = utterance.draft
        agreed = draft.text[: draft.stable] if not base else ""
        previous = utterance.previous if not base else None
        prompt = f"{self._wish} {self._said}".strip()
        return Transcribe(utterance.number, start, end, kind, prompt, previous, agreed, base)

    def _hang(self) -> float:
        """How long a silence must be to end the utterance that is open."""
        utterance = self._current
        if utterance and utterance.early_answer and utterance.covers(utterance.early):
            # Everything is transcribed already, two passes agree on it, and it reads like a whole sentence.
            if not utterance.draft.tail and utterance.early_answer.text.endswith(SENTENCE_END):
                return self.policy.endpoint_settled
        return self.policy.endpoint

    # -- ending ------------------------------------------------------------------------------------------------

    def _end(self, utterance: Utterance) -> list[Action]:
        utterance.end = min(self.time, utterance.voice_end + self.policy.postroll)
        self._current, self._floor = None, utterance.end
        self._endpointer.state = State.SILENCE
        self._ending.append(utterance)
        if not utterance.covers(utterance.early):
            return [self._final(utterance)]
        if utterance.early_answer is None:
            utterance.awaited = utterance.early  # on its way
            return []
        return self._decide(utterance, utterance.early_answer)

    def _cut(self, utterance: Utterance) -> list[Action]:
        """Nobody paused: cut at the quietest moment of the last second, and go on in a new utterance."""
        moments = list(self._loudness)
        energy = np.convolve([e for _, e in moments], np.ones(3), "same")
        where = moments[1 + int(np.argmin(energy[1:-1]))][0] + FRAME_S / 2
        follower = Utterance(self._number, where, where, cut_in=True, voice_end=self.time, asked=self.time)
        self._number += 1
        utterance.cut_out, utterance.voice_end, utterance.end = True, where, where
        self._current, self._floor = follower, where
        self._ending.append(utterance)
        return [self._final(utterance)]

    def _decide(self, utterance: Utterance, answer: Hypothesis | None) -> list[Action]:
        """Settle what the utterance's final is, and publish every final whose turn has come."""
        text = answer.text.strip() if answer else ""
        caption = Caption(
            utterance.number, utterance.onset, max(utterance.voice_end, utterance.onset), text, len(text), True,
            answer.words if answer else (), answer.language if answer else None,
        )  # fmt: skip
        if not text and utterance.shown:
            shown = utterance.shown.text
            caption = replace(caption, text=shown, stable=len(shown), degraded=True)
        elif text:
            self._said = _tail(f"{self._said} {text}")
        utterance.final = caption
        actions: list[Action] = []
        while self._ending and (done := self._ending[0].final):
            self._ending.popleft()
            if done.text:
                self.finals += 1
                actions.append(Publish(done))
        return actions

    # -- answers -----------------------------------------------------------------------------------------------

    def _landed(self, request: Transcribe) -> None:
        if request.kind is Kind.PARTIAL:
            self._in_air -= 1

    def _find(self, number: int) -> Utterance | None:
        if self._current and self._current.number == number:
            return self._current
        return next((u for u in self._ending if u.number == number and not u.final), None)

    def _show(self, utterance: Utterance, request: Transcribe, answer: Hypothesis) -> list[Action]:
        if request.end <= utterance.newest or utterance.end:
            return []  # older than what is shown, or about to be replaced by the final
        utterance.newest = request.end
        if not request.base:
            utterance.previous = answer
        draft = utterance.draft
        draft.update(answer, request.base)
        caption = Caption(utterance.number, utterance.onset, request.end, draft.text, draft.stable, False)
        former, utterance.shown = utterance.shown, caption
        if not caption.text or (former and (former.text, former.stable) == (caption.text, caption.stable)):
            return []
        return [Publish(caption)]

    def _distrust(self, utterance: Utterance, request: Transcribe) -> list[Action]:
        """A loop or a phantom: never shown, never a prompt. A final is asked for once more, without the prompt."""
        self._said = ""
        if utterance.early is request:
            utterance.early = None
        if utterance.awaited is not request:
            return []
        if not request.prompt:
            return self._decide(utterance, None)
        utterance.awaited = replace(self._final(utterance), prompt="")
        return [utterance.awaited]


def _within(answer: Hypothesis, utterance: Utterance) -> Hypothesis:
    """Only the words of this utterance, where its window reached over a cut through speech on purpose."""
    if not answer.words or not (utterance.cut_in or utterance.cut_out):
        return answer
    first = utterance.start if utterance.cut_in else 0.0
    last = utterance.end if utterance.cut_out else float("inf")

    def inside(word: Word) -> bool:
        return first <= (word.start + word.end) / 2 < last

    words = tuple(w for w in answer.words if inside(w))
    return replace(answer, words=words, text=_text(answer, words))


def _text(answer: Hypothesis, words: tuple[Word, ...]) -> str:
    """The part of the answer's text that these neighbouring words make up."""
    spans, at = [], 0
    for word in answer.words:
        found = answer.text.find(word.text, at)
        if found < 0:
            return " ".join(w.text for w in words)
        spans.append((found, found + len(word.text)))
        at = found + len(word.text)
    if not words:
        return ""
    first = answer.words.index(words[0])
    return answer.text[spans[first][0] : spans[first + len(words) - 1][1]]


def _tail(text: str) -> str:
    """The last characters, beginning with a whole word."""
    if len(text) <= PROMPT:
        return text.strip()
    return text[-PROMPT:].split(" ", 1)[-1].strip()

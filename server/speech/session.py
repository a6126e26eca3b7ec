"""One live stream, as a state machine: frames and hypotheses in, actions out.

No I/O, no clock, no tasks, no samples. Every method returns the actions the caller is to perform, in order, before it
calls the next one. Time is media time, so a test of an hour of speech takes no time at all.
"""

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from .agreement import Draft, join, tokenise
from .endpointer import Edge, Endpointer, State
from .filters import suspicion, unlooped
from .types import FRAME_S, Caption, Frame, Hypothesis, Kind, Mark, Word
from .utterance import Piece, Transcribe, Utterance

SENTENCE_END = tuple(".?!。？！…")
FIRST_PARTIAL = 0.5  # seconds after the onset
EAGERNESS = 0.15  # seconds a partial may come before its time rather than a browser's chunk (300 ms) after it
SHORTEST_WINDOW = 1.0  # seconds; engines read shorter ones badly
PROMPT = 200  # characters
MARGIN = 0.5  # seconds on both sides of a cut through speech, where the engine gives word times
CUT_WITHIN = 1.0  # seconds before a forced cut in which the quietest moment is looked for
CUT_FROM = 2.0  # seconds; what is shorter is better heard again as a whole
CONTEXT_GAP = 2.0  # seconds of silence after which what was said before helps no more
CONTEXT_WINDOW = 10.0  # seconds; a longer window says enough by itself
PARTIAL_WINDOW = 4.5  # seconds; a partial hears again what was said before only within this
CERTAIN = 8.0  # seconds of speech in one language, without another between, after which it stays that
TOLD = 0.5  # voiced seconds without a text that are worth a word to the reader
KEPT = 0.7  # part of the agreed words that an answer must have; engines revise some, and drop few
AFTER_VOICE = 0.05  # seconds of a pause that belong to what was said before it
JOINT = 0.1  # seconds that two pieces of an utterance share; it is silence
FINALS_SHARE = 1.0  # of the cost: every second of speech is in a final
COMFORT = 15.0  # seconds of credit with which partials need not be spared
COST_START = 10.0  # seconds of credit, so that the first utterance of a session has its partials


@dataclass(frozen=True, slots=True)
class Publish:
    """Show this caption. With a final comes the mark behind it."""

    caption: Caption
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """Somebody spoke from `start` to `end`, and there is no text for it."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Started:
    """Somebody speaks: an utterance began at `time`."""

    utterance: int
    time: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The utterance is over, its voice ended at `time`; its final is awaited. Comes before the next one starts."""

    utterance: int
    time: float
    cut: bool = False  # through speech, which goes on in the next one


@dataclass(frozen=True, slots=True)
class Unheard:
    """The utterance has no final: the engine has no text for it. Comes in the order of finals."""

    utterance: int
    missing: bool = False  # though somebody spoke: the engine gave up, or said what cannot be


Action = Transcribe | Publish | Missing | Started | Ended | Unheard


@dataclass(frozen=True, slots=True)
class Policy:
    """When to ask and when to end; seconds."""

    threshold: float = 0.5  # probability from which on a frame is speech
    partials: bool = True
    partial_interval: float = 1.0
    partials_in_air: int = 1
    growth: float = 0.25  # a partial waits at least this part of its window, so that long ones are sent less often
    max_cost_ratio: float = float("inf")
    context: float = 0.0  # heard again before what is new, for engines that can be told what was said in it
    endpoint: float = 0.6
    endpoint_settled: float = 0.3
    preroll: float = 0.5
    postroll: float = 0.3
    piece: float = 3.0
    cut_after: float = 12.0
    cut_at: float = 20.0


class Session:
    """See the module; `language` and `prompt` are the client's wishes.

    One that begins at a mark of another goes on where that stood: what lies before it is not heard again.
    """

    def __init__(
        self, policy: Policy, *, language: str | None = None, prompt: str = "", mark: Mark | None = None
    ) -> None:
        mark = mark or Mark()
        self.policy = policy
        self.time = mark.time  # audio heard
        self.spoken = mark.spoken  # voiced seconds
        self.sent = mark.sent  # seconds given to engines
        self.finals = mark.finals
        self._endpointer = Endpointer()
        self._endpointer.listen(policy.threshold)
        self._floor = mark.time  # audio before this belongs to an utterance that has ended …
        self._cut_floor = mark.time if mark.cut else None  # … by a cut that another session made
        self._loudness: deque[tuple[float, float]] = deque(maxlen=round(CUT_WITHIN / FRAME_S))
        self._current: Utterance | None = None
        self._ending: deque[Utterance] = deque()
        self._in_air = 0  # partials
        self._number = mark.utterance
        self.language = language or mark.language  # the client's wish, or what the engine recognised for long enough
        self._recognised: tuple[str, float] = ("", 0.0)  # a language and the voiced seconds in a row that were in it
        self._wish = prompt
        self._said = mark.said
        self._cleared = mark.utterance  # what was said in utterances before this one is nobody's context
        self._read: list[Piece] = []  # the latest pieces of the utterances that are final
        self._timed = mark.timed  # the engine gives word times

    @property
    def needs(self) -> float:
        """The earliest time whose audio may still be asked for."""
        onset = self._endpointer.onset if self._endpointer.state is State.ONSET else self.time
        next_start = max(self._floor, onset - self.policy.preroll)
        unread = [u for u in (*self._ending, self._current) if u and not u.final]
        earliest = min([next_start, *(u.start for u in unread)])
        pieces = [*self._read, *(piece for u in unread for piece in u.pieces)]
        context = [p.start for p in pieces if p.start >= earliest - self.policy.context - CONTEXT_GAP]
        return min([earliest, *context]) - MARGIN

    def hear(self, frame: Frame) -> list[Action]:
        """The next 32 ms."""
        if frame.time + FRAME_S / 4 < self._floor:  # settled before this session began
            return []
        self.time = frame.time + FRAME_S
        edge = self._endpointer.push(frame, self._hang)
        began = self._begin(self._endpointer.onset) if edge is Edge.START else []
        utterance = self._current
        if utterance is None:
            return []
        self._listen(utterance, frame)
        length = self.time - utterance.began
        if edge is Edge.END or (edge is Edge.PAUSE and length >= self.policy.cut_after):
            return self._end(utterance)
        return self._cut(utterance) if length >= self.policy.cut_at else began

    def pulse(self) -> list[Action]:
        """All frames that are there were heard: what is worth asking now, with the newest audio."""
        utterance = self._current
        if utterance is None:
            return []
        if self._endpointer.state is State.PAUSE:
            return self._at_pause(utterance) if utterance.voice_end > utterance.paused else []
        return [self._partial(utterance)] if self._due(utterance) else []

    def hypothesis(self, request: Transcribe, answer: Hypothesis) -> list[Action]:
        """The engine's answer to a request."""
        self._landed(request)
        self._timed = bool(answer.words) if answer.text else self._timed
        utterance = self._find(request.utterance)
        if utterance is None:
            return []
        if request.over_cut and answer.text and not answer.words:
            return self._ask_within(utterance, request)
        read, answer = bool(answer.text), _within(answer, utterance)  # it may all be on the other side of a cut
        if suspicion(answer, utterance.voiced) or (request.known and _skips(answer, utterance)):
            return self._distrust(utterance, request, answer)
        if utterance.awaited is request:
            return self._decide(utterance, answer, read=read)
        newest = request.end > utterance.newest
        actions = self._show(utterance, request, answer)
        if utterance.early is request and utterance is self._current:
            utterance.early_answer = answer
            if newest and request.end - utterance.start >= self.policy.piece:
                self._close_piece(utterance, request.end, answer)
            if self._endpointer.state is State.PAUSE and self.time - utterance.voice_end >= self._hang():
                actions += self._end(utterance)
        return actions

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
        began = self._begin(self._endpointer.onset) if edge is Edge.START else []
        return began + (self._end(self._current) if self._current else [])

    stall = finalize  # audio stopped coming: for the reader that is a silence like any other
    finish = finalize  # and at the end of the stream

    def clear(self) -> None:
        """Forget what is being said, as if it had not been heard. What has ended keeps its final, but is no context."""
        self._current, self._floor = None, self.time
        self._endpointer.state = State.SILENCE
        self._said, self._cleared = "", self._number
        self._read.clear()

    def wish(self, policy: Policy, language: str | None, prompt: str) -> None:
        """From now on the client wishes this."""
        self.policy, self.language, self._wish = policy, language, prompt
        self._endpointer.listen(policy.threshold)
        self._recognised = ("", 0.0)

    def leave(self) -> list[Action]:
        """Somebody else goes on with this stream: what can be settled without breaking a word is to become final."""
        utterance = self._current
        if utterance is None or self._endpointer.state is not State.SPEECH:
            return self._end(utterance) if utterance else []
        # What is not heard of a word behind the margin is less than the word's half. What was read is not cut any more.
        if self._timed and self.time - utterance.start >= CUT_FROM:
            return self._cut(utterance, MARGIN)
        return self._cut_at_pause(utterance) if utterance.paused > utterance.began else []

    @property
    def number(self) -> int:
        """Of the utterance that is open, or of the next one."""
        return self._current.number if self._current else self._number

    @property
    def settled(self) -> Mark | None:
        """In a silence: the mark of it; None while anybody speaks or waits for an answer."""
        if self._current or self._ending or self._endpointer.state is not State.SILENCE:
            return None
        return self._mark(max(self._floor, self.time - self.policy.preroll), self._number)

    # -- hearing -----------------------------------------------------------------------------------------------

    def _begin(self, onset: float) -> list[Action]:
        start = max(self._floor, onset - self.policy.preroll, 0.0)
        heard = self._endpointer
        asked = onset + FIRST_PARTIAL - self._interval(0) + EAGERNESS
        self._current = self._open(onset, start, self.spoken)
        self._current.cut_in = start == self._cut_floor
        self._current.voice_end, self._current.voiced = heard.voice_end, heard.voiced
        self._current.asked = asked
        self.spoken += heard.voiced
        return [Started(self._current.number, onset)]

    def _open(self, onset: float, start: float, before: float) -> Utterance:
        number, self._number = self._number, self._number + 1
        return Utterance(number, onset, start, start, before, draft=Draft(start))

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
        window = self.time - start
        interval, credit = self._interval(window), self._credit(utterance)
        sustainable = window / max(0.1, self.policy.max_cost_ratio - FINALS_SHARE)
        if sustainable > interval:
            # From eager to sustainable as the credit goes down: a monologue must not use it up in its first seconds.
            interval += (sustainable - interval) * min(1.0, max(0.0, 1 - credit / COMFORT))
        return self.time - utterance.asked + EAGERNESS >= interval and window <= credit

    def _interval(self, window: float) -> float:
        return max(self.policy.partial_interval, self.policy.growth * window)

    def _credit(self, utterance: Utterance) -> float:
        """Seconds of audio that may still be sent within the bound on cost, those of the coming final kept aside."""
        final = self.time - utterance.start + self.policy.postroll
        return self.policy.max_cost_ratio * max(self.time, COST_START) - self.sent - final

    def _window(self, utterance: Utterance) -> tuple[float, int]:
        """Where a partial's audio begins, and with which agreed word."""
        base = utterance.draft.anchor(self.time - SHORTEST_WINDOW)
        anchor = utterance.draft.agreed[base].start if base > utterance.base else None
        return (utterance.start, utterance.base) if anchor is None or anchor <= utterance.start else (anchor, base)

    # -- asking ------------------------------------------------------------------------------------------------

    def _partial(self, utterance: Utterance) -> Transcribe:
        start, base = self._window(utterance)
        self._in_air += 1
        utterance.asked = self.time
        return self._ask(utterance, start, self.time, Kind.PARTIAL, base)

    def _at_pause(self, utterance: Utterance) -> list[Action]:
        if self.time - utterance.start > self._credit(utterance):
            return []
        start = utterance.start - self._margin_in(utterance)
        utterance.early = self._ask(utterance, start, self.time, Kind.EARLY, utterance.base)
        utterance.early_voiced, utterance.early_answer = utterance.voiced, None
        utterance.paused = utterance.voice_end
        utterance.asked = self.time
        return [utterance.early]

    def _final(self, utterance: Utterance, *, alone: bool = False) -> Transcribe:
        """The request for the open piece; `alone`: without what was said before it."""
        margin_out = MARGIN if utterance.cut_out and self._timed else 0.0
        start, end = utterance.start - self._margin_in(utterance), min(self.time, utterance.end + margin_out)
        if alone:
            self.sent += end - start
            utterance.awaited = Transcribe(utterance.number, start, end, Kind.FINAL, self.language, base=utterance.base)
        else:
            utterance.awaited = self._ask(utterance, start, end, Kind.FINAL, utterance.base)
        return utterance.awaited

    def _margin_in(self, utterance: Utterance) -> float:
        return min(MARGIN, utterance.start) if utterance.cut_in and not utterance.pieces and self._timed else 0.0

    def _ask(self, utterance: Utterance, start: float, end: float, kind: Kind, base: int) -> Transcribe:
        whole = base == utterance.base  # of the open piece
        before = self._context(utterance, end, kind) if whole else []
        if before:
            start = before[0].start
        self.sent += end - start
        return Transcribe(
            utterance.number,
            start,
            end,
            kind,
            self.language,
            prompt=f"{self._wish} {self._said}".strip(),
            known=tuple(token for piece in before for token in piece.answer.tokens),
            previous=utterance.previous,
            expected=utterance.draft.since(base),
            base=base,
            over_cut=not before and (start < utterance.start or bool(utterance.end and end > utterance.end)),
        )

    def _context(self, utterance: Utterance, end: float, kind: Kind) -> list[Piece]:
        """The pieces right before the open one, as far as the engine wants to hear them again.

        What is known must be all that is said in them, so none may be missing in between.
        """
        gapless = all(u.final for u in self._ending if u.number < utterance.number)
        read = [piece for piece in self._read if piece.start < utterance.start]  # a later utterance may be final sooner
        pieces: list[Piece] = []
        most = PARTIAL_WINDOW if kind is Kind.PARTIAL else CONTEXT_WINDOW
        follower = utterance.start
        for piece in reversed((read if gapless else []) + utterance.pieces):
            near = follower - piece.end <= CONTEXT_GAP and utterance.start - piece.start <= self.policy.context
            if not near or end - piece.start > most or not piece.answer.tokens:
                break
            pieces.insert(0, piece)
            follower = piece.start
        return pieces

    def _hang(self) -> float:
        """How long a silence must be to end the utterance that is open."""
        utterance = self._current
        if utterance and utterance.is_read and utterance.draft.text.endswith(SENTENCE_END):
            return self.policy.endpoint_settled
        return self.policy.endpoint

    # -- ending ------------------------------------------------------------------------------------------------

    def _end(self, utterance: Utterance) -> list[Action]:
        utterance.end = min(self.time, utterance.voice_end + self.policy.postroll)
        self._current, self._floor = None, utterance.end
        self._endpointer.state = State.SILENCE
        self._ending.append(utterance)
        return [Ended(utterance.number, utterance.voice_end), *self._read_rest(utterance)]

    def _read_rest(self, utterance: Utterance) -> list[Action]:
        """Of an utterance that ended in a silence."""
        if utterance.is_read:
            return self._decide(utterance, utterance.early_answer)
        if utterance.covers(utterance.early):
            utterance.awaited = utterance.early  # its answer is on its way
            return []
        return [self._final(utterance)]

    def _cut(self, utterance: Utterance, before: float = 0.0) -> list[Action]:
        """Nobody paused: cut at the quietest moment of the last second, and go on in a new utterance.

        The moment is at least `before` seconds ago.
        """
        moments = [moment for moment in self._loudness if moment[0] < self.time - before]
        energy = np.convolve([e for _, e in moments], np.ones(3), "same")
        where = moments[1 + int(np.argmin(energy[1:-1]))][0] + FRAME_S / 2
        follower = self._follow(utterance, where)
        follower.cut_in = utterance.cut_out = True
        return [Ended(utterance.number, where, cut=True), Started(follower.number, where), self._final(utterance)]

    def _cut_at_pause(self, utterance: Utterance) -> list[Action]:
        """Cut at the latest pause, too short for an end, and go on in a new utterance."""
        where = utterance.paused + AFTER_VOICE
        follower = self._follow(utterance, where)
        follower.asked = where
        ended = Ended(utterance.number, where, cut=True)
        return [ended, Started(follower.number, where), *self._read_rest(utterance)]

    def _follow(self, utterance: Utterance, where: float) -> Utterance:
        """The utterance ends there, and another one goes on."""
        follower = self._open(where, where, self.spoken - (self.time - where))
        follower.voice_end, follower.voiced, follower.asked = self.time, self.time - where, self.time
        utterance.voice_end = utterance.end = where
        if utterance.shown:
            utterance.shown = replace(utterance.shown, text=utterance.draft.until(where))
        self._current, self._floor = follower, where
        self._ending.append(utterance)
        return follower

    def _close_piece(self, utterance: Utterance, end: float, answer: Hypothesis) -> None:
        """Speech that goes on after this pause is read by itself."""
        utterance.pieces.append(Piece(utterance.start, end, answer))
        utterance.start, utterance.base = end - JOINT, len(utterance.draft.agreed)
        utterance.voiced -= utterance.early_voiced
        utterance.previous = utterance.early = utterance.early_answer = None

    def _decide(self, utterance: Utterance, answer: Hypothesis | None, *, read: bool = False) -> list[Action]:
        """Settle what the utterance's final is, and publish every final whose turn has come.

        An answer without a text is none, unless it was `read` that nothing was said.
        """
        if answer and (answer.text or read):
            utterance.pieces.append(Piece(utterance.start, utterance.end, answer))
        utterance.final = self._caption(utterance)
        self._remember(utterance)
        actions: list[Action] = []
        # An engine may well hear nothing in a noise; but that it failed, or said what cannot be, must be told.
        if not utterance.final.text and (answer is None or answer.text) and utterance.voiced >= TOLD:
            utterance.missing = True
            actions.append(Missing(utterance.onset, utterance.voice_end))
        while self._ending and (done := self._ending[0].final):
            ended = self._ending.popleft()
            if done.text:
                self.finals += 1
                actions.append(Publish(done, self._mark(ended.end, ended.number + 1, ended.cut_out)))
            else:
                actions.append(Unheard(ended.number, ended.missing))
        return actions

    def _mark(self, time: float, utterance: int, cut: bool = False) -> Mark:
        follower = self._ending[0] if self._ending else self._current
        spoken = follower.before if follower else self.spoken
        return Mark(time, cut, utterance, self.finals, self.language, self._said, spoken, self.sent, self._timed)

    def _remember(self, utterance: Utterance) -> None:
        """What was said helps with what comes next, if it is certain."""
        if utterance.number < self._cleared:
            return
        if not utterance.is_read:
            self._read.clear()
            return
        self._recognise(utterance)
        self._said = _tail(join([self._said, *(p.answer.text for p in utterance.pieces)]))
        if self.policy.context:
            recent = sorted([*self._read, *utterance.pieces], key=lambda p: p.start)
            self._read = [p for p in recent if recent[-1].end - p.start <= CONTEXT_WINDOW]

    def _recognise(self, utterance: Utterance) -> None:
        """An engine that finds out the language by itself errs on short utterances: soon it is told."""
        language = utterance.final.language if utterance.final else None
        if self.language or not language:
            return
        former, seconds = self._recognised
        seconds = utterance.voice_end - utterance.onset + (seconds if language == former else 0.0)
        self._recognised = (language, seconds)
        if seconds >= CERTAIN:
            self.language = language

    def _caption(self, utterance: Utterance) -> Caption:
        """The final: what was read of all pieces; where the last was not, what was shown at last."""
        answers = [piece.answer for piece in utterance.pieces]
        text = join([a.text for a in answers])
        unread = not utterance.is_read and utterance.shown is not None
        if unread and utterance.shown:
            text = utterance.shown.text
        return Caption(
            utterance.number,
            utterance.onset,
            max(utterance.voice_end, utterance.onset),
            text,
            len(text),
            True,
            () if unread else tuple(word for a in answers for word in a.words),
            next((a.language for a in answers if a.language), None),
            degraded=unread,
        )

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
        utterance.previous = answer
        draft = utterance.draft
        draft.update(answer, request.base, request.end, exact=self._timed or request.base == utterance.base)
        if request.kind is Kind.EARLY:
            draft.settle()
        caption = Caption(utterance.number, utterance.onset, request.end, draft.text, draft.stable, False)
        former, utterance.shown = utterance.shown, caption
        if not caption.text or (former and (former.text, former.stable) == (caption.text, caption.stable)):
            return []
        return [Publish(caption)]

    def _ask_within(self, utterance: Utterance, request: Transcribe) -> list[Action]:
        """Without word times nobody can tell what was said on the other side of a cut: only this side is asked for."""
        if utterance.early is request:
            utterance.early = None
        return [self._final(utterance)] if utterance.awaited is request else []

    def _distrust(self, utterance: Utterance, request: Transcribe, answer: Hypothesis) -> list[Action]:
        """A loop or a phantom: never shown, never a prompt. A final is asked for once more, by itself.

        Where that is no better, there is what was said before the loop, or what was shown if that is more.
        """
        if request.kind is Kind.PARTIAL:
            return []
        self._said = ""
        self._read.clear()
        if utterance.early is request:
            utterance.early = None
        if utterance.awaited is not request:
            return []
        if not (request.prompt or request.known):
            before = unlooped(answer, utterance.voiced)
            text = join([*(piece.answer.text for piece in utterance.pieces), before.text if before else ""])
            more = not utterance.shown or len(text) > len(utterance.shown.text)
            return self._decide(utterance, before if more else None)
        return [self._final(utterance, alone=True)]


def _skips(answer: Hypothesis, utterance: Utterance) -> bool:
    """Whether an answer after known words went on in the wrong place: where a sentence repeats, an engine may skip."""
    agreed = len(utterance.draft.agreed) - utterance.base
    return len(tokenise(answer)) < max(KEPT * agreed, 1)


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

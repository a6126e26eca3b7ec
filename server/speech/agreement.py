"""Which words of a changing hypothesis can be trusted.

LocalAgreement-2 of Macháček, Dabre, Bojar, "Turning Whisper into Real-Time Transcription System" (2023): what two
successive hypotheses begin with is agreed. Compared are normalised words, so that a comma or a capital that comes
and goes hinders nothing; in scripts without spaces every character is a word.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from .types import Hypothesis, Word

# Scripts written without spaces: Thai, Lao, Myanmar, Khmer, kana, Han. (Hangul is written with spaces.)
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# One character of such a script with the marks and the punctuation behind it, or a run of anything else.
PIECE = re.compile(rf"[{UNSPACED}][^\w\s]*|[^\s{UNSPACED}]+")
PIECE_UNSPACED = re.compile(f"[{UNSPACED}]")
LAST_UNSPACED = re.compile(rf"[{UNSPACED}][^\w\s]*$")
MISSED = 1.0  # seconds at the end of a window whose words an engine may leave out
LOOK_BACK = 30  # words; more than the longest window that starts in mid-speech holds
OVERLAP = 3  # agreed words that a window has to repeat, where their times are not certain
TRAIL = re.compile(r"[^\w]*$")


@dataclass(frozen=True, slots=True)
class Token:
    """A word as it is compared (`key`) and as it is written.

    Where the engine gives no times, `end` is None and `start` at least not too late.
    """

    text: str
    key: str
    glued: bool = False  # no space before it
    start: float | None = None
    end: float | None = None

    @property
    def stem(self) -> str:
        return TRAIL.sub("", self.text)


def tokenise(hypothesis: Hypothesis) -> list[Token]:
    """The hypothesis as tokens; word times are carried over where its words are those of its text."""
    tokens: list[Token] = []
    for match in PIECE.finditer(hypothesis.text):
        key = normalise(match[0])
        glued = match.start() > 0 and not hypothesis.text[match.start() - 1].isspace()
        if key or not tokens:
            tokens.append(Token(match[0], key, glued))
        else:  # a lone dash or quotation mark belongs to the word before it
            last = tokens[-1]
            tokens[-1] = replace(last, text=last.text + ("" if glued else " ") + match[0])
    if tokens and not tokens[0].key:  # … or, at the beginning, to the one after it
        first = tokens.pop(0)
        if tokens:
            joint = "" if tokens[0].glued else " "
            tokens[0] = replace(tokens[0], text=first.text + joint + tokens[0].text, glued=first.glued)
    return _with_times(tokens, hypothesis.words)


def normalise(word: str) -> str:
    """What two spellings of the same word have in common."""
    return "".join(c for c in unicodedata.normalize("NFKC", word).casefold() if c.isalnum())


def write(tokens: Sequence[Token]) -> str:
    """Tokens as text: the one place that joins words."""
    return "".join(t.text if t.glued or not i else f" {t.text}" for i, t in enumerate(tokens))


def join(texts: Iterable[str]) -> str:
    """Texts one after the other, with a space where the script has one."""
    return "".join(map(appending(), texts))


def appending() -> Callable[[str], str]:
    """Gives back each text as it goes behind those before: with a space first, where the script has one."""
    last = ""

    def append(text: str) -> str:
        nonlocal last
        before, text = last, text.strip()
        last = text or before
        glued = not text or not before or (LAST_UNSPACED.search(before) and PIECE_UNSPACED.match(text))
        return text if glued else f" {text}"

    return append


def beyond(told: str, text: str) -> str | None:
    """What a text goes on to say after the words that were told; None where it says others. Punctuation may differ."""
    keys = [key for match in PIECE.finditer(told) if (key := normalise(match[0]))]
    words = [match for match in PIECE.finditer(text) if normalise(match[0])]
    if [normalise(match[0]) for match in words[: len(keys)]] != keys:
        return None
    if not keys:
        return text
    last = words[len(keys) - 1]
    ends_bare = told[-1].isalnum()  # then what follows the word in the text is new
    return text[last.start() + len(TRAIL.sub("", last[0])) if ends_bare else last.end() :]


def _with_times(tokens: list[Token], words: Sequence[Word]) -> list[Token]:
    pieces: list[tuple[str, float, float]] = []
    for word in words:
        keys = [k for k in (normalise(m[0]) for m in PIECE.finditer(word.text)) if k]
        step = (word.end - word.start) / max(1, len(keys))
        pieces += [(k, word.start + i * step, word.start + (i + 1) * step) for i, k in enumerate(keys)]
    if [t.key for t in tokens] != [k for k, _, _ in pieces]:
        return tokens
    return [replace(t, start=start, end=end) for t, (_, start, end) in zip(tokens, pieces, strict=True)]


class Draft:
    """The text of an utterance that is still growing: an agreed part, which stays as it is, and a tail."""

    def __init__(self, start: float = 0.0) -> None:
        self.agreed: list[Token] = []
        self.tail: list[Token] = []
        self._start = self._reached = start  # of its audio; end of the latest window (session seconds)

    @property
    def text(self) -> str:
        return write(self.agreed + self.tail)

    @property
    def stable(self) -> int:
        """How many leading characters of `text` stay; punctuation behind the last agreed word may change."""
        if not self.agreed:
            return 0
        last = self.agreed[-1]
        return len(write(self.agreed)) - len(last.text) + len(last.stem)

    def update(self, hypothesis: Hypothesis, base: int = 0, end: float = 0.0, *, exact: bool = True) -> None:
        """Take in a newer hypothesis of the same speech: of the audio from word `base` on, or about there, to `end`."""
        tokens = tokenise(hypothesis)
        if not tokens:
            return  # an engine that hears nothing takes nothing away
        known = self.agreed[base:]
        passed = self._passed([t.key for t in tokens], base if exact else None)
        if known and passed and tokens[passed - 1].key == known[-1].key:
            self._punctuate(tokens[passed - 1])
        fresh = [self._dated(i, token) for i, token in enumerate(tokens[passed:])]
        count = _common([t.key for t in self.tail], [t.key for t in fresh])
        self.agreed += fresh[:count]
        self.tail = fresh[count:]
        self._reached = end

    def settle(self) -> None:
        """All of it is agreed: somebody paused, and it was read with care."""
        self.agreed += self.tail
        self.tail = []

    def since(self, base: int) -> str:
        """The text from word `base` on."""
        return write((self.agreed + self.tail)[base:])

    def until(self, time: float) -> str:
        """The text up to a time, as far as it is known when its words were said."""
        words = (t for t in self.agreed + self.tail if t.start is None or (t.start + (t.end or t.start)) / 2 < time)
        return write([*words])

    def anchor(self, latest: float) -> int:
        """The last agreed word, starting before `latest`, from which a window may begin; 0 if there is none."""
        for i in range(len(self.agreed) - 1, 0, -1):
            word = self.agreed[i]
            certain = word.end is not None or len(self.agreed) - i >= OVERLAP
            if certain and word.start is not None and word.start <= latest:
                return i
        return 0

    def _passed(self, new: Sequence[str], base: int | None) -> int:
        """How many of the new words say what is agreed already, even where they say it a little differently.

        They begin with the word number `base`, or (None) nobody knows where. So it is a local alignment (Smith and
        Waterman 1981) that has to reach the last agreed word; where nothing fits, the same number of words.
        """
        if base is not None and list(new[: len(self.agreed) - base]) == [t.key for t in self.agreed[base:]]:
            return len(self.agreed) - base
        row = [0] * (len(new) + 1)
        for word in self.agreed[-LOOK_BACK:]:
            diagonal, row[0] = row[0], 0
            for j, other in enumerate(new, 1):
                best = max(diagonal + (1 if word.key == other else -1), row[j] - 1, row[j - 1] - 1, 0)
                diagonal, row[j] = row[j], best
        length = len(self.agreed) - (base if base is not None else len(self.agreed))
        best = max(range(len(new) + 1), key=lambda j: (row[j], -abs(j - length)))
        return best if row[best] > 0 else min(length, len(new))

    def _dated(self, i: int, token: Token) -> Token:
        """Word `i` of the tail, not older than the last window that lacked it, but for what such a window may miss."""
        if token.start is not None:
            return token
        start = self.tail[i].start if i < len(self.tail) else max(self._start, self._reached - MISSED)
        return replace(token, start=start)

    def _punctuate(self, newest: Token) -> None:
        last = self.agreed[-1]
        self.agreed[-1] = replace(last, text=last.stem + newest.text[len(newest.stem) :])


def _common(old: Sequence[str], new: Sequence[str]) -> int:
    """Length of the longest common prefix."""
    count = 0
    for a, b in zip(old, new, strict=False):
        if a != b:
            break
        count += 1
    return count

"""Which words of a changing hypothesis can be trusted.

LocalAgreement-2 of Macháček, Dabre, Bojar, "Turning Whisper into Real-Time Transcription System" (2023): what two
successive hypotheses begin with is agreed. Compared are normalised words, so that a comma or a capital that comes
and goes hinders nothing; in scripts without spaces every character is a word.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .types import Hypothesis, Word

# Scripts written without spaces: Thai, Lao, Myanmar, Khmer, kana, Han. (Hangul is written with spaces.)
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# One character of such a script with the marks and the punctuation behind it, or a run of anything else.
PIECE = re.compile(rf"[{UNSPACED}][^\w\s]*|[^\s{UNSPACED}]+")
TRAIL = re.compile(r"[^\w]*$")


@dataclass(frozen=True, slots=True)
class Token:
    """A word as it is compared (`key`) and as it is written; times only where the engine gives them."""

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

    def __init__(self) -> None:
        self.agreed: list[Token] = []
        self.tail: list[Token] = []

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

    def update(self, hypothesis: Hypothesis, base: int = 0) -> None:
        """Take in a newer hypothesis of the same speech; its audio began with the agreed word number `base`."""
        tokens = tokenise(hypothesis)
        if not tokens:
            return  # an engine that hears nothing takes nothing away
        known = self.agreed[base:]
        passed = _passed([t.key for t in known], [t.key for t in tokens])
        if known and passed and tokens[passed - 1].key == known[-1].key:
            self._punctuate(tokens[passed - 1])
        fresh = tokens[passed:]
        count = _common([t.key for t in self.tail], [t.key for t in fresh])
        self.agreed += fresh[:count]
        self.tail = fresh[count:]

    def anchor(self, latest: float) -> int:
        """The last agreed word that begins before `latest` (session seconds); 0 where there are no times."""
        for i in range(len(self.agreed) - 1, 0, -1):
            start = self.agreed[i].start
            if start is not None and start <= latest:
                return i
        return 0

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


def _passed(known: Sequence[str], new: Sequence[str]) -> int:
    """How many of the new words say what is known already, even where they say it a little differently.

    The prefix of `new` with the least edit distance to `known`; the shortest of equals would double a word, the
    longest would lose one, so the one nearest to the known length wins.
    """
    if list(new[: len(known)]) == list(known):
        return len(known)
    row = list(range(len(new) + 1))
    for i, word in enumerate(known, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(new, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return min(range(len(new) + 1), key=lambda j: (row[j], abs(j - len(known))))

"""When each word of the reference was shown and settled, and which were lost or doubled."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from .clip import Spoken
from .stream import Session

AHEAD = 12  # words behind an utterance's own that its partials may have shown before it was cut


def normalise(text: str) -> list[str]:
    """Words as they are compared: letters and digits, in small letters."""
    plain = "".join(c if c.isalnum() or c.isspace() or c in "-'" else " " for c in unicodedata.normalize("NFKC", text))
    words = ("".join(c for c in word if c.isalnum()) for word in plain.casefold().replace("-", " ").split())
    return [word for word in words if word]


def align(said: Sequence[str], heard: Sequence[str], *, prefix: bool = False) -> list[tuple[int | None, int | None]]:
    """The cheapest edit (Levenshtein) of the words said into those heard, as pairs of indices; None where one lacks.

    With `prefix`, `heard` is what came so far: it is laid on a beginning of `said`, the shortest that fits best.
    """
    rows = [list(range(len(heard) + 1))]
    for i, word in enumerate(said, 1):
        above, row = rows[-1], [i]
        for j, other in enumerate(heard, 1):
            row.append(min(above[j - 1] + (word != other), above[j] + 1, row[j - 1] + 1))
        rows.append(row)
    j = len(heard)
    i = min(range(len(said) + 1), key=lambda k: rows[k][j]) if prefix else len(said)
    pairs: list[tuple[int | None, int | None]] = []
    while i or j:
        if i and j and rows[i][j] == rows[i - 1][j - 1] + (said[i - 1] != heard[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif j and rows[i][j] == rows[i][j - 1] + 1:
            j -= 1
            pairs.append((None, j))
        else:
            i -= 1
            pairs.append((i, None))
    return pairs[::-1]


@dataclass(frozen=True, slots=True)
class Errors:
    """Word errors of a text against the reference."""

    lost: int
    doubled: int
    wrong: int
    words: int

    @property
    def all(self) -> int:
        return self.lost + self.doubled + self.wrong

    @property
    def rate(self) -> float:
        return self.all / self.words


def errors(reference: str, text: str) -> Errors:
    """Counted as the word error rate is: deletions, insertions, substitutions."""
    said, heard = normalise(reference), normalise(text)
    pairs = align(said, heard)
    lost = sum(j is None for _, j in pairs)
    doubled = sum(i is None for i, _ in pairs)
    wrong = sum(i is not None and j is not None and said[i] != heard[j] for i, j in pairs)
    return Errors(lost, doubled, wrong, len(said))


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the end of each word in the recording; by the word's number, only of words that were read right."""

    shown: dict[int, float]
    settled: dict[int, float]
    final_lag: list[float]  # one for each final, from the end of its last word
    share: float  # of the words said, those that were read right

    def growth(self) -> float:
        """How much later finals come in the second half than in the first; seconds."""
        half = len(self.final_lag) // 2
        return median(self.final_lag[half:]) - median(self.final_lag[:half]) if half else float("nan")


def latency(session: Session, reference: Sequence[Spoken]) -> Latency:
    """Lay every caption on the reference; `reference` is on the session's time line (0: the first chunk is sent)."""
    said, ends = _spread(reference)
    first = _first_words(session, said)
    shown: dict[int, float] = {}
    settled: dict[int, float] = {}
    lags = []
    for event in session.of("partial", "final"):
        message = event.message
        begin, end = first.get(message["utterance"], (0, 0))
        text, final = message["text"], message["type"] == "final"
        window = said[begin : end if final else end + AHEAD]
        stable = len(normalise(text if final else text[: message["stable"]]))
        heard = normalise(text)
        for i, j in align(window, heard, prefix=not final):
            if i is not None and j is not None and window[i] == heard[j]:
                shown.setdefault(begin + i, event.at - ends[begin + i])
                if j < stable:
                    settled.setdefault(begin + i, event.at - ends[begin + i])
        if final and end > begin:
            lags.append(event.at - ends[end - 1])
    return Latency(shown, settled, lags, len(settled) / len(said))


def _spread(reference: Sequence[Spoken]) -> tuple[list[str], list[float]]:
    """The reference as compared words, each with the time of its end."""
    said, ends = [], []
    for word in reference:
        for part in normalise(word.text):
            said.append(part)
            ends.append(word.end)
    return said, ends


def _first_words(session: Session, said: list[str]) -> dict[int, tuple[int, int]]:
    """Utterance → the range of reference words that is its own, from the alignment of all finals."""
    heard, owner = [], []
    for event in session.of("final"):
        words = normalise(event.message["text"])
        heard += words
        owner += [event.message["utterance"]] * len(words)
    begins: dict[int, int] = {}
    for i, j in align(said, heard):
        if i is not None and j is not None:
            begins.setdefault(owner[j], i)
    order = sorted(begins, key=begins.__getitem__)
    limits = [0, *(begins[u] for u in order[1:]), len(said)]
    return {u: (limits[k], limits[k + 1]) for k, u in enumerate(order)}

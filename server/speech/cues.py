"""Captions for reading: what was said, cut into cues that can be read in the time they are shown.

The limits are those of the field's style guides (Netflix's Timed Text Style Guide, General Requirements): two lines of
42 characters, 5/6 s to 7 s, 20 characters per second. Where to cut is found as Knuth and Plass ("Breaking Paragraphs
into Lines", 1981) break a paragraph: every way has a cost, and the cheapest is taken. Its twin for browsers is
static/captions/cues.js; both are held to the same cases (tests/cues.json), so all times here are whole milliseconds.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor
from typing import Protocol

from .agreement import UNSPACED
from .types import Word

LINE = 42  # characters
SHORTEST_MS = 833
LONGEST_MS = 7000
CHARACTER_MS = 50  # 20 characters per second

# The cost of a cut, and of what is between two cuts. Only their proportions matter.
CUE = 1000  # each cue: rather few than many
FILL = 3  # characters², divided by this: rather two halves than a long and a short one
CUTS = (0, 1000, 3000)  # behind a sentence, a clause, any word
ACROSS = 3000  # one utterance and the next in one cue: a pause is lost
LACK = 20  # a millisecond too short to be read; 0.15 s outweigh a lost pause
PAUSE = 4  # a millisecond of silence inside of a cue, beyond …
BREATH_MS = 200
WRAPS = (0, 300, 600)  # the same between the two lines of a cue, and …
RAGGED = 10  # a character by which they differ

OPENING = "「『（〈《【〔"
# One character of a script without spaces with what belongs to it, or a run of anything else.
PIECE = re.compile(rf"[{OPENING}]?[{UNSPACED}][^\w\s{OPENING}]*|[^\s{UNSPACED}]+?(?=[{OPENING}]?[{UNSPACED}]|\s|$)")
LETTER = re.compile(r"[^\W_]")
SENTENCE = re.compile(r"[.!?…。！？][\"'”’»)\]」』）]*$")
CLAUSE = re.compile(r"[,;:—–、，；：][\"'”’»)\]」』）]*$")
# Drawn as wide as two: Hangul, kana, Han, full forms, emoji (UAX #11).
WIDE = re.compile(
    "[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6"
    "\U0001f300-\U0001faff\U00020000-\U0003fffd]"
)


class Final(Protocol):
    """What was said in one go; seconds. `words` is empty where the engine gives no word times."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def text(self) -> str: ...
    @property
    def words(self) -> tuple[Word, ...]: ...


@dataclass(frozen=True, slots=True)
class Cue:
    """One or two lines, shown from `start` to `end` (milliseconds)."""

    start: int
    end: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """What is never cut: a word, at most as long as a line. Times are milliseconds."""

    text: str
    width: int
    space: bool  # before it
    first: bool  # of its final
    start: int
    end: int
    cut: int  # the cost of a cut behind it
    wrap: int  # the cost of a new line behind it


def cues(finals: Iterable[Final]) -> list[Cue]:
    """Every word once and in order, in cues that do not overlap.

    Where more is said than can be read, cues are as short as allowed, and may come later than the speech.
    """
    tokens = [token for final in finals for token in _tokens(final)]
    return list(_placed([tokens[a:b] for a, b in pairwise(_cuts(tokens))]))


def milliseconds(seconds: float) -> int:
    return floor(seconds * 1000 + 0.5)


def width(text: str) -> int:
    """In characters; those of East Asian scripts count twice."""
    return len(text) + len(WIDE.findall(text))


# -- words and when they were said ---------------------------------------------------------------------------------


def _tokens(final: Final) -> Iterator[Token]:
    """A text's words with their times: those of the engine, or spread evenly over its letters."""
    pieces = list(_pieces(final.text))
    needed = sum(_letters(text) for text, _ in pieces)
    spans = _spans(final)
    given = sum(letters for letters, _, _ in spans)
    span, before, at = 0, 0, 0  # letters of the spans before this one, letters of the text so far

    def time() -> int:
        # Text and words may be written differently (20, twenty): the letters of one are stretched over the other's.
        letters, start, end = spans[span]
        return floor(start + (end - start) * ((at * given - before * needed) / (letters * needed)))

    for i, (text, space) in enumerate(pieces):
        while (before + spans[span][0]) * needed <= at * given:
            before, span = before + spans[span][0], span + 1
        start = time()
        at += _letters(text)
        while (before + spans[span][0]) * needed < at * given:
            before, span = before + spans[span][0], span + 1
        last = i == len(pieces) - 1
        kind = 0 if last or SENTENCE.search(text) else 1 if CLAUSE.search(text) else 2
        yield Token(text, width(text), space, i == 0, start, time(), CUTS[kind], WRAPS[kind])


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """What a text is made of, and whether there is a space before it. What is longer than a line is cut."""
    for match in PIECE.finditer(text):
        space = match.start() == 0 or text[match.start() - 1].isspace()
        piece, size = "", 0
        for character in match[0]:
            if size + width(character) > LINE:
                yield piece, space
                piece, size, space = "", 0, False
            piece, size = piece + character, size + width(character)
        yield piece, space


def _spans(final: Final) -> list[tuple[int, int, int]]:
    """The engine's words, or the whole text as one: letters, start, end; in order, and inside of the final."""
    earliest = milliseconds(final.start)
    latest = max(earliest, milliseconds(final.end))
    spans = []
    for word in final.words:
        start = min(max(milliseconds(word.start), earliest), latest)
        earliest = min(max(milliseconds(word.end), start), latest)
        spans.append((_letters(word.text), start, earliest))
    return spans or [(1, earliest, latest)]


def _letters(text: str) -> int:
    return max(1, len(LETTER.findall(text)))


# -- where to cut --------------------------------------------------------------------------------------------------


def _cuts(tokens: Sequence[Token]) -> list[int]:
    """The cheapest way: the token each cue begins with, and the end."""
    costs: list[float] = [0, *[float("inf")] * len(tokens)]
    former = [0] * (len(tokens) + 1)
    for i in range(len(tokens)):
        for j, cost in _ways(tokens, i):
            if costs[i] + cost < costs[j]:
                costs[j], former[j] = costs[i] + cost, i
    cuts = [len(tokens)]
    while cuts[-1] > 0:
        cuts.append(former[cuts[-1]])
    return cuts[::-1]


def _ways(tokens: Sequence[Token], i: int) -> Iterator[tuple[int, int]]:
    """Where a cue that begins with token `i` may end, and at what cost."""
    start = tokens[i].start
    upper, lower = 0, 0  # characters in its lines, when the first is as full as can be
    lost = 0  # what it costs that some tokens are not cut apart
    for j in range(i, len(tokens)):
        token = tokens[j]
        size = token.width + (token.space and j > i)
        if j > i:
            lost += ACROSS * token.first + PAUSE * max(0, token.start - tokens[j - 1].end - BREATH_MS)
            if token.end - start > LONGEST_MS:
                return
        if lower == 0 and upper + size <= LINE:
            upper += size
        else:
            lower += size if lower else token.width
            if lower > LINE:
                return
        size = upper + lower
        cost = CUE + size * size // FILL + lost + token.cut
        if j + 1 < len(tokens):
            cost += LACK * max(0, _needed(size) - (tokens[j + 1].start - start))
        yield j + 1, cost


def _needed(size: int) -> int:
    """Milliseconds to read so many characters."""
    return max(SHORTEST_MS, size * CHARACTER_MS)


# -- lines and times -----------------------------------------------------------------------------------------------


def _placed(groups: Sequence[Sequence[Token]]) -> Iterator[Cue]:
    """As long as it takes to read, as far as the next one lets it, and no cue before the former one is gone."""
    free = 0
    for n, tokens in enumerate(groups):
        lines = _lines(tokens)
        start = max(free, tokens[0].start)
        end = max(tokens[-1].end, start + _needed(sum(map(width, lines))))
        if n + 1 < len(groups):
            end = min(end, groups[n + 1][0].start)
        free = min(max(end, start + SHORTEST_MS), start + LONGEST_MS)
        yield Cue(start, free, lines)


def _lines(tokens: Sequence[Token]) -> tuple[str, ...]:
    """One line where it fits; else two, broken at an end of sense, else in the middle."""
    whole = _written(tokens)
    if width(whole) <= LINE:
        return (whole,)
    best, lines = float("inf"), tuple[str, ...]()
    for k in range(1, len(tokens)):
        upper, lower = _written(tokens[:k]), _written(tokens[k:])
        cost = tokens[k - 1].wrap + RAGGED * abs(width(upper) - width(lower))
        if max(width(upper), width(lower)) <= LINE and cost < best:
            best, lines = cost, (upper, lower)
    return lines


def _written(tokens: Sequence[Token]) -> str:
    return "".join(f" {t.text}" if t.space and i else t.text for i, t in enumerate(tokens))

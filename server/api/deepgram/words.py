"""Words as Deepgram tells them: bare and as written, each with its times."""

import re
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from ...speech.agreement import tokenise
from ...speech.types import Hypothesis, Word

SURE = 1.0  # the confidence in every text: no engine here tells one, and clients leave out what has little
EDGES = re.compile(r"^\W+|\W+$")


def alternative(text: str, words: Sequence[Word], start: float, end: float, floor: float = 0.0) -> dict[str, Any]:
    """What was said from `start` to `end`; the times of words that the engine has not timed are estimated.

    No word begins before `floor`, where what was said before ends: engines err by some hundredths of a second.
    """
    told = [
        {
            "word": EDGES.sub("", word.text).lower() or word.text,
            "start": round(min(max(word.start, floor), end), 3),
            "end": round(min(max(word.end, floor), end), 3),
            "confidence": SURE,
            "punctuated_word": word.text,
        }
        for word in words or spread(text, start, end)
    ]
    return {"transcript": text, "confidence": SURE if text else 0.0, "words": told}


def spread(text: str, start: float, end: float) -> list[Word]:
    """The words of a text over its time, each as long as its letters are many."""
    texts = [token.text for token in tokenise(Hypothesis(text))]
    lengths = [0, *accumulate(map(len, texts))]
    a_letter = (end - start) / (lengths[-1] or 1)
    times = pairwise(start + length * a_letter for length in lengths)
    return [Word(word, begins, ends) for word, (begins, ends) in zip(texts, times, strict=True)]

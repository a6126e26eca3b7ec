"""Which answers of an engine are no speech: loops, phantoms, words that nobody can have said in the time.

Each check wants evidence beside the text: people do say "no, no, no" and "thank you".
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from .agreement import tokenise, write
from .types import Hypothesis

FASTEST = 7.0  # words per voiced second; the fastest speakers reach 5 to 6 for a moment
QUICK = 4.5  # words per voiced second that make a repetition suspicious
NO_SPEECH, LOGPROB, COMPRESSION = 0.6, -1.0, 2.4  # Whisper's own thresholds (Radford et al. 2022, section 4.5)

# What Whisper learned from the ends of subtitle files and says into silence.
PHANTOM = re.compile(
    r"(thanks?( you)?( so much| very much)?( for (watching|listening|your attention))?( and see you.*)?"
    r"|please subscribe.*|(don't forget to )?(like and )?subscribe.*|see you( in the)? next (time|video)"
    r"|subtitles? (by|created by|made by).*|transcri(bed|ption) by.*|amara\.?org.*|bye( bye)*|you|the end"
    r"|untertitel.*|sous-titr.*|subtitulos.*|продолжение следует.*"
    r"|ご視聴ありがとうございました|字幕.*|谢谢观看.*|請不吝點贊.*)",
    re.IGNORECASE,
)


def suspicion(hypothesis: Hypothesis, voiced: float) -> str | None:
    """Why this cannot be what was said in `voiced` seconds of voice, or None."""
    keys = [t.key for t in tokenise(hypothesis)]
    if not keys:
        return None
    rate = len(keys) / max(voiced, 0.3)
    weak = _weak(hypothesis)
    if len(keys) > 4 and rate > FASTEST * (3 if _unspaced(keys) else 1):
        return "more words than the time allows"
    times = loop(keys)
    if times >= 3 and (weak or rate > QUICK or times >= 6):
        return "a loop"
    if hypothesis.no_speech is not None and hypothesis.no_speech > NO_SPEECH and (hypothesis.logprob or 0) < LOGPROB:
        return "no speech, says the engine"
    if hypothesis.compression is not None and hypothesis.compression > COMPRESSION and times >= 2:
        return "a loop, says the compression"
    if (weak or voiced < 0.4) and PHANTOM.fullmatch(hypothesis.text.strip(" .!?,。！？…♪")):
        return "a phantom phrase"
    return None


def loop(keys: Sequence[str]) -> int:
    """How often the most repeated run of words stands behind itself (1: nothing is repeated)."""
    return _loop(keys)[0]


def unlooped(hypothesis: Hypothesis, voiced: float) -> Hypothesis | None:
    """What was said before an engine fell into a loop, with the loop's words once.

    None where there is no loop, or where that cannot be what was said either.
    """
    tokens = tokenise(hypothesis)
    times, end = _loop([t.key for t in tokens])
    before = replace(hypothesis, text=write(tokens[:end]), words=(), tokens=())
    return before if times >= 2 and not suspicion(before, voiced) else None


def _loop(keys: Sequence[str]) -> tuple[int, int]:
    """The most repeated run: how often, and where its first occurrence ends."""
    most, end = 1, len(keys)
    for size in range(1, len(keys) // 3 + 1):
        run = 0  # words in a row that equal the word `size` before them
        for i in range(size, len(keys)):
            run = run + 1 if keys[i] == keys[i - size] else 0
            if run // size + 1 > most:
                most, end = run // size + 1, i - run + 1
    return most, end


def _weak(hypothesis: Hypothesis) -> bool:
    no_speech, logprob = hypothesis.no_speech, hypothesis.logprob
    return (no_speech is not None and no_speech > 0.4) or (logprob is not None and logprob < -0.8)


def _unspaced(keys: Sequence[str]) -> bool:
    """Characters count as words there, and there are more of them in a second."""
    return sum(len(k) == 1 for k in keys) > len(keys) / 2

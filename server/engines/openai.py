"""OpenAI's transcription API, and every server that speaks it: vLLM, speaches, whisper.cpp, Groq, another Sotto."""

import gc
import json
import math
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeGuard

from ..audio.clip import Clip
from ..speech.types import Hypothesis, Word
from .base import EngineError, Speech
from .languages import LANGUAGES

if TYPE_CHECKING:
    from .openai_calls import Calls

MAX_UPLOAD = 25 * 2**20  # bytes; the hosted service's limit
UNSPACED = (  # first and last character of the scripts written without spaces between words
    ("\u0e00", "\u0eff"),  # Thai, Lao
    ("\u1000", "\u109f"),  # Myanmar
    ("\u1780", "\u17ff"),  # Khmer
    ("\u2e80", "\u9fff"),  # Han and kana
    ("\U00020000", "\U0003ffff"),  # rarer Han
)


class OpenAI:
    """Each call uploads a clip in a temporary file whose suffix fits its bytes, and has `Speech.timeout` in all.

    The pool above retries, so nothing is retried here. Word times come only from models that give them.
    """

    wants_samples = False
    languages: frozenset[str] | None = frozenset(LANGUAGES.values())
    paid = True
    partial_interval = 1.0
    longest = 1400.0  # seconds; the gpt-*-transcribe models take no more
    context = 0.0

    def __init__(
        self,
        api_key: str,
        base_url: str | None = None,
        model: str = "gpt-transcribe",
        *,
        folder: str | None = None,
    ) -> None:
        """`folder` takes the temporary files; by default the system's."""
        self.name = f"openai {model}"
        self._model = model
        self._words = "whisper" in model.lower()  # the others refuse verbose_json
        self._folder = folder
        # The SDK takes as long to import as all the rest; whoever comes back to a new server can speak meanwhile.
        loading = ThreadPoolExecutor(1, "sotto-sdk")
        self._calls = loading.submit(_load, api_key, base_url)
        loading.shutdown(wait=False)

    def transcribe(self, speech: Speech) -> Hypothesis:
        """One upload, one answer. Raises EngineError."""
        clip = speech.audio.clip()
        if len(clip.data) > MAX_UPLOAD:
            raise EngineError(f"expected at most {MAX_UPLOAD} bytes, got {len(clip.data)}", retryable=False)
        fields: dict[str, Any] = {"model": self._model, "response_format": "json"}
        if self._words:
            fields |= {"response_format": "verbose_json", "timestamp_granularities": ["word"]}
        if speech.language:
            fields["language"] = speech.language
        if speech.prompt:
            fields["prompt"] = speech.prompt
        with tempfile.NamedTemporaryFile(prefix="sotto-", suffix=clip.suffix, dir=self._folder) as file:
            file.write(clip.data)
            file.seek(0)
            fields["file"] = (os.path.basename(file.name), file)
            body = self._calls.result().post(fields, speech.timeout)
        return _read(body, clip, speech.language)

    def close(self) -> None:
        """Close the idle connections now, and the busy ones after their answer."""
        self._calls.result().close()


def _load(api_key: str, base_url: str | None) -> "Calls":
    from .openai_calls import Calls

    calls = Calls(api_key, base_url)
    if gc.get_freeze_count():  # as __main__ does with all that was loaded before
        gc.freeze()
    return calls


def _read(body: bytes, clip: Clip, language: str | None) -> Hypothesis:
    """The answer as a hypothesis; whatever is not JSON of the right shape is an error, never a caption."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise EngineError(f"expected JSON, got {len(body)} bytes of something else") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("text"), str):
        raise EngineError('expected a JSON object with a "text"')
    text = " ".join(_writable(answer["text"]).split())
    named = answer.get("language")
    if not language and isinstance(named, str) and named.isascii():
        language = LANGUAGES.get(named.lower(), named.lower() if len(named) <= 3 else None)
    segments = [s for s in _objects(answer.get("segments")) if _number(s.get("start")) and _number(s.get("end"))]
    compression = [float(s["compression_ratio"]) for s in segments if _number(s.get("compression_ratio"))]
    return Hypothesis(
        text,
        words=spell(text, _timed(answer.get("words"), clip.start)),
        language=language or None,
        no_speech=_mean(segments, "no_speech_prob"),
        logprob=_mean(segments, "avg_logprob"),
        compression=max(compression, default=None),
    )


def spell(text: str, words: Sequence[Word]) -> tuple[Word, ...]:
    """The words as `text` spells them, punctuation included; none where they do not follow it from end to end.

    Servers send "Hello", " Hello," or parts of a word; here every letter of `text` falls to exactly one word. Parts
    that `text` does not set apart by a space are one word, except in scripts without spaces.
    """
    found = _find(text, words)
    if not found:
        return ()
    spelled, begin, start = [], 0, found[0].start
    for here, after in pairwise(found):
        between = text[here.at + here.size : after.at]
        if any(map(str.isspace, between)):
            cut = after.at - len(between.split()[-1]) if not between[-1].isspace() else after.at
        elif _unspaced(text[here.at + here.size - 1]) or _unspaced(text[after.at]):
            cut = after.at
        else:
            continue
        spelled.append(Word(text[begin:cut].strip(), start, here.end))
        begin, start = cut, after.start
    return (*spelled, Word(text[begin:].strip(), start, found[-1].end))


@dataclass(frozen=True, slots=True)
class _Found:
    """The letters of a word, found in the text."""

    at: int
    size: int
    start: float
    end: float


def _find(text: str, words: Sequence[Word]) -> list[_Found]:
    lower = text.lower()
    if len(lower) != len(text):  # a few capitals have two small letters; then only the exact case is found
        lower = text
    found: list[_Found] = []
    done = 0
    for word in words:
        letters = _letters(word.text if lower is text else word.text.lower())
        if not letters:
            continue  # punctuation on its own
        at = lower.find(letters, done)
        if at < 0 or _letters(text[done:at]):
            return []
        found.append(_Found(at, len(letters), word.start, word.end))
        done = at + len(letters)
    return [] if _letters(text[done:]) else found


def _letters(text: str) -> str:
    """Without what is no letter or digit at its ends."""
    inside = [i for i, c in enumerate(text) if c.isalnum()]
    return text[inside[0] : inside[-1] + 1] if inside else ""


def _unspaced(character: str) -> bool:
    return any(first <= character <= last for first, last in UNSPACED)


def _timed(words: object, shift: float) -> tuple[Word, ...]:
    """The words of an answer on the session's time line; none if one of them has no time."""
    timed = []
    for word in _objects(words):
        text, start, end = word.get("word"), word.get("start"), word.get("end")
        if not (isinstance(text, str) and _number(start) and _number(end)):
            return ()
        timed.append(Word(_writable(text), shift + start, shift + max(start, end)))
    return tuple(timed)


def _writable(text: str) -> str:
    """Half of a surrogate pair, which JSON can hold, can be sent to nobody."""
    return text.encode(errors="replace").decode()


def _mean(segments: list[dict[str, Any]], score: str) -> float | None:
    """The average over the segments that have it, weighted by their length."""
    scored = [(max(1e-3, s["end"] - s["start"]), s[score]) for s in segments if _number(s.get(score))]
    return sum(length * value for length, value in scored) / sum(length for length, _ in scored) if scored else None


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

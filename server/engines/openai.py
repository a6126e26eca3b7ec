"""OpenAI's transcription API, and every server that speaks it: vLLM, speaches, whisper.cpp, Groq, another Sotto."""

import json
import math
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any, TypeGuard

import httpx2
import openai

from ..audio.clip import Clip
from ..speech.types import Hypothesis, Word
from .base import EngineError, Speech
from .languages import LANGUAGES

MAX_UPLOAD = 25 * 2**20  # bytes; the hosted service's limit
MAX_ANSWER = 10 * 2**20  # bytes; an hour of words with their times is 1 MB
CONNECT_S = 5.0
QUOTED = 200  # characters of a server's own words in an error
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
        self._account = {"api_key": api_key or "none", "base_url": base_url}  # servers without keys ignore it
        self._tls = httpx2.create_ssl_context()  # made once: it reads all certificates
        self._deadlines = _Deadlines()
        self._closed = False
        # append and pop are atomic; the first is made now: it makes the SDK import the half that it puts off
        self._idle: list[_Line] = [_Line(self._account, self._tls)]

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
            body = self._post(fields, speech.timeout)
        return _read(body, clip, speech.language)

    def close(self) -> None:
        """Close the idle connections now, and the busy ones after their answer."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _post(self, fields: dict[str, Any], seconds: float) -> bytes:
        with self._line() as line, self._deadlines.within(seconds, line):
            timeout = httpx2.Timeout(seconds, connect=min(CONNECT_S, seconds))
            try:
                body = bytearray()
                with line.create(**fields, timeout=timeout) as answer:
                    for chunk in answer.iter_bytes():
                        body += chunk
                        if len(body) > MAX_ANSWER:
                            raise EngineError(f"the answer is larger than {MAX_ANSWER} bytes", retryable=False)
                if not line.cut:  # a cut connection may look like the end of the answer
                    return bytes(body)
            except (openai.OpenAIError, httpx2.HTTPError) as error:
                if not line.cut:
                    raise _engine_error(error) from error
            raise EngineError(f"no whole answer within {seconds:g} s")

    @contextmanager
    def _line(self) -> Iterator["_Line"]:
        """A connection that nobody else uses: an idle one, else a new one."""
        try:
            line = self._idle.pop()
        except IndexError:
            line = _Line(self._account, self._tls)
        try:
            yield line
        finally:
            if self._closed or line.cut:
                line.close()
            else:
                self._idle.append(line)


class _Line:
    """One connection and its client.

    The timeouts of the SDK begin anew with every byte, so a peer that drips would hold the thread for ever.
    Here a call out of time is ended from outside, by shutting down its socket; therefore one connection each.
    """

    def __init__(self, account: dict[str, Any], tls: Any) -> None:
        limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30)
        http = openai.DefaultHttpxClient(limits=limits, verify=tls, event_hooks={"request": [self._prepare]})
        client = openai.OpenAI(**account, max_retries=0, http_client=http)
        self.create = client.audio.transcriptions.with_streaming_response.create
        self.close = client.close
        self.cut = False  # the call had no time left; the line is of no use any more
        self._stream: Any = None

    def shut(self) -> None:
        """End the call that is under way, from any thread."""
        self.cut = True
        if self._stream:
            with suppress(OSError):  # closed meanwhile
                # Only the TCP part: SSLSocket.shutdown would take the TLS state away from under the reading thread.
                socket.socket.shutdown(self._stream.get_extra_info("socket"), socket.SHUT_RDWR)

    def _prepare(self, request: httpx2.Request) -> None:
        request.read()  # in one piece; else every line of the form leaves in a packet of its own, twenty in all
        request.extensions["trace"] = self._notice

    def _notice(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._stream = info["return_value"]


class _Deadlines:
    """Shuts lines whose calls have had their time. One thread for all of them, while there are calls."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[_Line, float] = {}  # by time.monotonic()
        self._next: float | None = None  # when the thread looks again; None: there is no thread

    @contextmanager
    def within(self, seconds: float, line: _Line) -> Iterator[None]:
        """Shut `line` when `seconds` are over; never after the block."""
        due = time.monotonic() + seconds
        with self._changed:
            if self._next is None:
                threading.Thread(target=self._watch, name="sotto-deadlines", daemon=True).start()
            elif due < self._next:
                self._changed.notify()
            self._next = due if self._next is None else min(due, self._next)
            self._due[line] = due
        try:
            yield
        finally:
            with self._changed:
                self._due.pop(line, None)

    def _watch(self) -> None:
        with self._changed:
            while self._due:
                self._next = min(self._due.values())
                self._changed.wait(max(0.0, self._next - time.monotonic()))
                now = time.monotonic()
                for line in [line for line, due in self._due.items() if due <= now]:
                    del self._due[line]
                    line.shut()
            self._next = None


def _engine_error(error: Exception) -> EngineError:
    """Whose fault it is, and whether it helps to come back. The SDK's own texts may quote the key: they stay out."""
    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
        return EngineError("the server did not answer in time")
    if not isinstance(error, openai.APIStatusError):
        return EngineError(f"the connection failed: {type(error.__cause__ or error).__name__}")
    status = error.status_code
    if status in (401, 403):
        return EngineError(f"the server refused the API key ({status}): check the key and its rights", retryable=False)
    if status == 429:
        empty = error.code == "insufficient_quota"  # comes as 429 too, but no waiting helps
        message = "the account's quota is used up (429)" if empty else "too many requests (429)"
        return EngineError(message, retryable=not empty, retry_after=_retry_after(error.response.headers))
    if status >= 500 or status in (408, 409):
        return EngineError(f"the server failed ({status})", retry_after=_retry_after(error.response.headers))
    said = error.body.get("message") if isinstance(error.body, dict) else None
    quoted = f": {' '.join(said.split())[:QUOTED]}" if isinstance(said, str) else ""
    return EngineError(f"the server refused the request ({status}){quoted}", retryable=False)


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds from Retry-After, a number or a date (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _read(body: bytes, clip: Clip, language: str | None) -> Hypothesis:
    """The answer as a hypothesis; whatever is not JSON of the right shape is an error, never a caption."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise EngineError(f"expected JSON, got {len(body)} bytes of something else") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("text"), str):
        raise EngineError('expected a JSON object with a "text"')
    text = " ".join(answer["text"].split())
    named = answer.get("language")
    if not language and isinstance(named, str):
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
        timed.append(Word(text, shift + start, shift + max(start, end)))
    return tuple(timed)


def _mean(segments: list[dict[str, Any]], score: str) -> float | None:
    """The average over the segments that have it, weighted by their length."""
    scored = [(max(1e-3, s["end"] - s["start"]), s[score]) for s in segments if _number(s.get(score))]
    return sum(length * value for length, value in scored) / sum(length for length, _ in scored) if scored else None


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

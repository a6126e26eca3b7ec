"""Calls to a server of OpenAI's API, over its SDK: each ends in time. Half a second of imports, and so by itself."""

import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import openai

from .base import EngineError

MAX_ANSWER = 10 * 2**20  # bytes; an hour of words with their times is 1 MB
CONNECT_S = 5.0
QUOTED = 200  # characters of a server's own words in an error


class Calls:
    """Transcriptions, each over a connection that no other call uses meanwhile."""

    def __init__(self, api_key: str, base_url: str | None) -> None:
        self._account = {"api_key": api_key or "none", "base_url": base_url}  # servers without keys ignore it
        self._tls = httpx2.create_ssl_context()  # made once: it reads all certificates
        self._deadlines = _Deadlines()
        self._closed = False
        # append and pop are atomic; the first is made now: it makes the SDK import the half that it puts off
        self._idle: list[_Line] = [_Line(self._account, self._tls)]

    def close(self) -> None:
        """Close the idle connections now, and the busy ones after their answer."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def post(self, fields: dict[str, Any], seconds: float) -> bytes:
        """The body of the answer to this form, within so many seconds in all. Raises EngineError."""
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

"""A small honest OpenAI-compatible server on loopback: it decodes what it is sent, and can be told to misbehave.

with Upstream() as upstream:
    upstream.script("500", "hello world")   # the next two answers; after them it reads the audio itself
    OpenAI("key", upstream.url, "whisper-1").transcribe(speech)
    upstream.requests[-1].seconds           # what arrived
"""

import contextlib
import email.parser
import email.policy
import io
import json
import re
import socket
import struct
import threading
import wave
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np
import soxr

from server.audio.clip import Clip
from server.engines.base import Speech
from server.engines.moonshine import Moonshine
from server.speech.types import RATE, Samples

MAGIC = {".webm": (0, b"\x1a\x45\xdf\xa3"), ".ogg": (0, b"OggS"), ".wav": (0, b"RIFF"), ".flac": (0, b"fLaC")}
MAGIC |= dict.fromkeys((".mp4", ".m4a"), (4, b"ftyp"))
MAX_UPLOAD = 25 * 2**20
SHORTEST_S = 0.1  # the hosted service refuses less

Reader = Callable[[Samples], str]


@dataclass(frozen=True, slots=True)
class Recording:
    """PCM as a stretch: what an engine asks of the audio of a request."""

    pcm: Samples
    start: float = 0.0

    def samples(self) -> Samples:
        return self.pcm

    def clip(self) -> Clip:
        """All of it as a WAV file."""
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(RATE)
            out.writeframes((np.clip(self.pcm, -1, 1) * 32767).astype("<i2").tobytes())
        return Clip(file.getvalue(), ".wav", self.start)

    def speech(self, **how: Any) -> Speech:
        return Speech(self.start, self.start + len(self.pcm) / RATE, self, **how)


@cache
def two_cities() -> Samples:
    """Its words: "It was the best of times …", 44 s, from the wheel that carries Moonshine."""
    found = find_spec("moonshine_voice")
    assert found and found.submodule_search_locations
    path = Path(found.submodule_search_locations[0]) / "assets" / "two_cities.wav"
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
        return np.asarray(soxr.resample(pcm, file.getframerate(), RATE), np.float32)


@dataclass(frozen=True, slots=True)
class Request:
    """One upload as it arrived."""

    fields: dict[str, list[str]]
    name: str  # of the file
    data: bytes
    seconds: float  # of audio; 0 where it could not be decoded
    authorization: str

    @property
    def suffix(self) -> str:
        return self.name[self.name.rfind(".") :] if "." in self.name else ""

    def field(self, name: str) -> str | None:
        return self.fields.get(name, [None])[0]


class Refused(Exception):
    """What the hosted service answers 400 to."""


class Upstream:
    """`url` is a base URL. Answers with what `read` hears (Moonshine), or with the scripted answers, one each.

    A script is a text to answer with, a dict to answer with as it is, or one of the misbehaviours:
    "401", "429" (Retry-After: 2), "500", "html", "truncated", "empty", "reset", "drip", "drip-headers".
    """

    def __init__(self, read: Reader | None = None, *, words: bool = True) -> None:
        self.read = read or _moonshine
        self.words = words  # whether verbose_json has word times
        self.requests: list[Request] = []
        self.scripted: deque[str | dict[str, Any]] = deque()
        self.stopping = threading.Event()

    def script(self, *answers: str | dict[str, Any]) -> None:
        self.scripted.extend(answers)

    def __enter__(self) -> "Upstream":
        upstream = self

        class Answering(_Answering):
            def do_POST(self) -> None:
                self.answer(upstream)

        self._server = _Server(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close waits for them and nothing is left behind

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End what clients keep open."""
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Tests look at `requests` instead."""

    def answer(self, upstream: Upstream) -> None:
        body = self._body()
        if self.path != "/v1/audio/transcriptions":
            return self._json(404, _error(f"no route {self.path}"))
        fields, name, data = _form(self.headers["Content-Type"] or "", body)
        samples: Samples = np.zeros(0, np.float32)
        refused = None
        try:
            samples = _decode(name, data)
        except Refused as error:
            refused = str(error)
        seconds = len(samples) / RATE
        upstream.requests.append(Request(fields, name, data, seconds, self.headers["Authorization"] or ""))
        scripted = upstream.scripted.popleft() if upstream.scripted else None
        misbehave = MISBEHAVIOURS.get(scripted) if isinstance(scripted, str) else None
        if misbehave:
            return misbehave(self, upstream)
        if refused:
            return self._json(400, _error(refused))
        if isinstance(scripted, dict):
            return self._json(200, scripted)
        text = upstream.read(samples) if scripted is None else scripted
        verbose = fields.get("response_format") == ["verbose_json"]
        words = upstream.words and "word" in fields.get("timestamp_granularities[]", [])
        self._json(200, _verbose(text, seconds, words) if verbose else {"text": text})

    def _body(self) -> bytes:
        if self.headers["Content-Length"]:
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _json(self, status: int, value: object, **headers: str) -> None:
        self._send(status, "application/json", json.dumps(value).encode(), **headers)

    def unauthorized(self, upstream: Upstream) -> None:
        self._json(401, _error("Incorrect API key provided: sk-sec*****ret", code="invalid_api_key"))

    def rate_limited(self, upstream: Upstream) -> None:
        self._json(429, _error("Rate limit reached", code="rate_limit_exceeded"), Retry_After="2")

    def broken(self, upstream: Upstream) -> None:
        self._json(500, _error("injected failure"))

    def html(self, upstream: Upstream) -> None:
        self._send(200, "text/html", b"<html><body>502 Bad Gateway</body></html>")

    def truncated(self, upstream: Upstream) -> None:
        self._send(200, "application/json", b'{"text": "it was the be')

    def empty(self, upstream: Upstream) -> None:
        self._json(200, {})

    def reset(self, upstream: Upstream) -> None:
        # Closing with a linger of 0 sends RST.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def drip(self, upstream: Upstream) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
        self._drip(upstream)

    def drip_headers(self, upstream: Upstream) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        self._drip(upstream)

    def _drip(self, upstream: Upstream) -> None:
        """A byte now and then until the client gives up or the server stops."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            while not upstream.stopping.wait(0.02):
                self.wfile.write(b" ")


MISBEHAVIOURS: dict[str, Callable[[_Answering, Upstream], None]] = {
    "401": _Answering.unauthorized,
    "429": _Answering.rate_limited,
    "500": _Answering.broken,
    "html": _Answering.html,
    "truncated": _Answering.truncated,
    "empty": _Answering.empty,
    "reset": _Answering.reset,
    "drip": _Answering.drip,
    "drip-headers": _Answering.drip_headers,
}


def _form(kind: str, body: bytes) -> tuple[dict[str, list[str]], str, bytes]:
    """multipart/form-data as (fields, file name, file)."""
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    fields: dict[str, list[str]] = {}
    name, data = "", b""
    for part in message.iter_parts():
        content = part.get_payload(decode=True)
        if part.get_filename():
            name, data = part.get_filename(), content
        else:
            field = part.get_param("name", header="content-disposition")
            fields.setdefault(field, []).append(content.decode())
    return fields, name, data


def _decode(name: str, data: bytes) -> Samples:
    """16 kHz mono. The hosted service decides by the suffix what a file is, so a wrong one is refused."""
    suffix = name[name.rfind(".") :].lower()
    at, magic = MAGIC.get(suffix, (0, None))
    if magic is None or data[at : at + len(magic)] != magic:
        raise Refused(f"Invalid file format: {suffix} does not fit the content")
    if len(data) > MAX_UPLOAD:
        raise Refused(f"Maximum content size limit ({MAX_UPLOAD}) exceeded")
    resampler, pieces = av.AudioResampler(format="flt", layout="mono", rate=RATE), []
    try:
        with av.open(io.BytesIO(data)) as container:
            for frame in (*container.decode(audio=0), None):
                pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    except (av.FFmpegError, IndexError) as error:
        raise Refused(f"the file cannot be decoded: {error}") from error
    samples = np.concatenate(pieces or [np.zeros(0)]).astype(np.float32)
    if len(samples) < SHORTEST_S * RATE:
        raise Refused(f"Audio file is too short: {len(samples) / RATE:.3f} s")
    return samples


@cache
def _engine() -> Moonshine:
    return Moonshine()


def _moonshine(samples: Samples) -> str:
    """What is really said; a long file in pieces of the engine's longest."""
    engine = _engine()
    step = int(engine.longest * RATE)
    pieces = [samples[at : at + step] for at in range(0, len(samples), step)]
    return " ".join(engine.transcribe(Recording(p).speech()).text for p in pieces).strip()


def _verbose(text: str, seconds: float, words: bool) -> dict[str, Any]:
    """As whisper-1 answers: bare words, the language's English name. The times are spread evenly, not heard."""
    answer: dict[str, Any] = {"task": "transcribe", "language": "english", "duration": seconds, "text": text}
    scores = {"avg_logprob": -0.2, "compression_ratio": 1.2, "no_speech_prob": 0.01, "temperature": 0.0, "tokens": []}
    answer["segments"] = [{"id": 0, "seek": 0, "start": 0.0, "end": seconds, "text": f" {text}", **scores}] * bool(text)
    if words:
        spoken = text.split()
        each = seconds / max(1, len(spoken))
        answer["words"] = [
            {"word": re.sub(r"^\W+|\W+$", "", word), "start": i * each, "end": (i + 1) * each}
            for i, word in enumerate(spoken)
        ]
    return answer


def _error(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}

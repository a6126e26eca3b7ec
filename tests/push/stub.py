"""A place for captions on loopback, as Zoom, YouTube and webhooks document theirs; it can be told to misbehave."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

ANSWER_S = 10.0


@dataclass(frozen=True)
class Told:
    """A POST that was taken, or refused."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    status: int


@dataclass
class Stub:
    """Counts as Zoom and YouTube do: a `seq` that is not one higher than the newest is refused with 400."""

    seq: int = 0  # the newest that was taken
    told: list[Told] = field(default_factory=list)
    script: deque[int] = field(default_factory=deque)  # the status of the next answers
    counts: bool = True
    url: str = ""

    @property
    def taken(self) -> list[Told]:
        return [one for one in self.told if one.status == 200]

    def take(self, told: dict[str, object], query: dict[str, str]) -> int:
        status = self.script.popleft() if self.script else 200
        if status == 200 and self.counts:
            status = 200 if query.get("seq") == str(self.seq + 1) else 400
        if status == 200:
            self.seq += 1
        self.told.append(Told(query=query, status=status, **told))
        return status


@contextmanager
def serving(**state: object) -> Iterator[Stub]:
    stub = Stub(**state)

    class Answer(BaseHTTPRequestHandler):
        timeout = ANSWER_S

        def do_GET(self) -> None:
            self.answer(200 if urlsplit(self.path).path == "/closedcaption/seq" else 404, str(stub.seq).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.answer(stub.take({"path": parts.path, "headers": headers, "body": body}, query), b"")

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "/closedcaption")  # where a redirect would lead
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        stub.url = f"http://127.0.0.1:{server.server_port}/closedcaption"
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()

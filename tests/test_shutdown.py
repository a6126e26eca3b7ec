"""The server ends when it is told to: soon, quietly, with nothing left behind, and with what was said."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from api.conftest import ROOT, chunks, environment
from openai_server import Upstream
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

DRAIN_S = 1.0
SIGNALS = [signal.SIGINT, signal.SIGTERM]
CHUNKS = chunks()


@dataclass
class Running:
    """A server, and how it ended."""

    port: int
    process: "subprocess.Popen[str]"
    folder: Path

    def end(self, sent: int = signal.SIGTERM) -> str:
        """Tells it to end, and checks that it does; what it logged."""
        self.process.send_signal(sent)
        began = time.monotonic()
        _, log = self.process.communicate(timeout=20)
        assert time.monotonic() - began < DRAIN_S + 4.0  # two seconds more for a busy machine
        assert self.process.returncode == 0 and "Traceback" not in log, log
        assert list(self.folder.iterdir()) == []
        return log

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 20)

    def open(self) -> ClientConnection:
        return connect(f"ws://127.0.0.1:{self.port}/api/captions")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    folder = tmp_path / "tmp"
    folder.mkdir()

    @contextmanager
    def run(**settings: str) -> Iterator[Running]:
        env = environment(
            SOTTO_PORT="0", PYTHONPATH=str(ROOT), SOTTO_TEMP_DIR=str(folder), SOTTO_DRAIN_S=str(DRAIN_S), **settings
        )
        command = [sys.executable, "-m", "server"]
        with subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                found = next(filter(None, (re.search(r"running on http://.*:(\d+)", line) for line in process.stderr)))
                yield Running(int(found[1]), process, folder)
            finally:
                process.kill()

    yield run


def told(socket: ClientConnection) -> list[dict[str, Any]]:
    messages = []
    with pytest.raises(ConnectionClosed):
        while True:
            messages.append(json.loads(socket.recv(timeout=20)))
    return messages


@pytest.mark.parametrize("sent", SIGNALS, ids=lambda sent: sent.name)
def test_idle_it_ends_at_once(run, sent):
    with run() as server:
        assert [folder.name.startswith("sotto-") for folder in server.folder.iterdir()] == [True]
        server.end(sent)


def test_in_mid_speech_it_tells_how_to_go_on(run):
    with run() as server, server.open() as client:
        for chunk in CHUNKS[: len(CHUNKS) // 2]:
            client.send(chunk)
        while json.loads(client.recv(timeout=20))["type"] != "partial":
            pass
        ended = threading.Thread(target=server.end)
        ended.start()
        messages = told(client)
        ended.join()
    assert server.process.returncode == 0
    assert [message["type"] for message in messages][-2:] == ["reconnect", "error"]
    assert (client.close_code, client.close_reason) == (1012, "server.draining")


def test_who_says_nothing_and_who_never_ends_do_not_hold_it_up(run):
    head = b"POST /api/transcribe HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n"
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + bytes(4_000_000)
    with run() as server, server.connect() as silent, server.connect() as half, server.connect() as upload:
        half.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        upload.sendall(head + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + part)
        httpx.get(f"http://127.0.0.1:{server.port}/healthz", timeout=20)  # by now all have been let in
        server.end()
        assert silent.recv(1) == b""
        assert upload.recv(65_536).startswith(b"HTTP/1.1 503 ")


def test_when_what_it_runs_on_has_failed_it_ends_by_itself_and_says_so(tmp_path):
    """Rather than to refuse every session from then on."""
    code = "from server import __main__; from server.rooms import rooms; rooms.SWEEP_S = None; __main__.start()"
    env = environment(SOTTO_PORT="0", PYTHONPATH=str(ROOT), SOTTO_TEMP_DIR=str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True, timeout=20)
    assert ended.returncode == 1 and "TypeError" in ended.stderr, ended.stderr
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_place_outside_that_never_answers_costs_no_word_that_was_held_back(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as webhook:
        hook = {
            "SOTTO_WEBHOOK_URL": f"http://127.0.0.1:{webhook.getsockname()[1]}/",
            "SOTTO_WEBHOOK_SECRET": "whsec_" + 32 * "a",
        }
        eager = {"SOTTO_ENDPOINT_S": "0.25", "SOTTO_ENDPOINT_SETTLED_S": "0.25"}
        kept = {"SOTTO_STATE_DIR": str(tmp_path), "SOTTO_RESUME_GRACE_S": "0.1", "SOTTO_STALL_S": "30"}
        with run(**hook, **eager, **kept) as server:
            with server.open() as client:
                for chunk in CHUNKS[:26]:  # in mid-speech
                    client.send(chunk)
                while json.loads(client.recv(timeout=20))["type"] != "final":
                    pass
                client.socket.shutdown(socket.SHUT_RDWR)
            assert server.process.stderr is not None
            next(line for line in server.process.stderr if ": done, " in line)  # all that it said was read
            server.end()
    with closing(sqlite3.connect(tmp_path / "rooms.db")) as file:
        said = [shown for (shown,) in file.execute("SELECT shown FROM finals ORDER BY offset")]
    assert len(said) > 1 and "foolish" in said[-1]


def test_an_engine_that_never_answers_does_not_hold_it_up(run):
    asked, answer = threading.Event(), threading.Event()

    def read(_samples: object) -> str:
        asked.set()
        answer.wait(20)
        return ""

    with Upstream(read) as upstream:
        with run(OPENAI_API_KEY="key", OPENAI_BASE_URL=upstream.url) as server, httpx.Client(timeout=20) as client:
            answers: list[httpx.Response] = []

            def post() -> None:
                url = f"http://127.0.0.1:{server.port}/api/transcribe"
                answers.append(client.post(url, files={"file": b"".join(CHUNKS)}))

            posting = threading.Thread(target=post)
            posting.start()
            assert asked.wait(20)
            server.end()
            answer.set()
            posting.join()
    assert answers[0].status_code == 503 and answers[0].json()["error"]["code"] == "server.draining"

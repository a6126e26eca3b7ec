"""The server starts: its address is its own from the first moment, and who comes too early is served."""

import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from api.conftest import environment
from process import ROOT, started, until

from bench.process import free_port
from server.__main__ import UNREAD_MS, bind

PATIENCE_S = 20.0  # a busy machine needs a tenth of it


def test_who_comes_while_the_server_starts_is_served(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    early: list[socket.socket] = []

    def open_before_it_is_ready() -> bool:
        assert "running on" not in log.read_text()
        with suppress(ConnectionRefusedError):
            early.append(socket.create_connection(("127.0.0.1", port), PATIENCE_S))
        return bool(early)

    env = environment(SOTTO_PORT=str(port), SOTTO_ENGINE="moonshine")
    with log.open("wb") as stderr, started(sys.executable, "-m", "server", log=stderr, env=env) as process:
        assert until(process, open_before_it_is_ready)
        with early[0] as knocking:
            knocking.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert knocking.recv(15) == b"HTTP/1.1 200 OK"
        assert f"running on http://127.0.0.1:{port} " in log.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets go of what nobody reads")
def test_a_connection_is_not_held_for_ever_for_who_does_not_read() -> None:
    (listening,) = bind("127.0.0.1", 0)
    with listening:
        listening.listen()
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == UNREAD_MS


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the threads of a process in a folder")
def test_no_library_starts_a_thread_for_each_core() -> None:
    load = "import os, server.app; from server.audio.vad import load_model; load_model()"
    count = "print(len(os.listdir('/proc/self/task')))"
    env = environment()
    env.pop("OPENBLAS_NUM_THREADS", None)  # this process has it too
    told = subprocess.run([sys.executable, "-c", f"{load}; {count}"], cwd=ROOT, env=env, stdout=subprocess.PIPE)
    assert told.stdout == b"1\n"

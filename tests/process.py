"""Programs beside the tests, the real server first of all: on free ports of loopback, and each ends with its block."""

import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import IO, Any

import pytest

from bench.process import free_port

ROOT = Path(__file__).parents[1]
READY_S = 20.0  # a busy machine loads the embedded engine in this time many times over
ENDED_S = 10.0

Process = subprocess.Popen[bytes]


@contextmanager
def running_server(**environment: str) -> Iterator[str]:
    """Yields the address of a server that is ready; settings are given as in the environment, and its state is new."""
    port = free_port()
    with tempfile.TemporaryDirectory() as state, server_at(port, **{"XDG_STATE_HOME": state, **environment}):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def server_at(port: int, **environment: str) -> Iterator[Process]:
    """The same as a process to be killed; after it another one may begin at the port."""
    env = {**os.environ, "SOTTO_HOST": "127.0.0.1", "SOTTO_PORT": str(port), **environment}
    with module("server", env=env, at=f"http://127.0.0.1:{port}/readyz") as process:
        yield process


@contextmanager
def module(name: str, *args: str, at: str, **how: Any) -> Iterator[Process]:
    """`python -m name`, once it answers at this address."""
    with tempfile.TemporaryFile("w+b") as log, started(sys.executable, "-m", name, *args, log=log, **how) as process:
        if not ready(process, at):
            log.seek(0)
            pytest.fail(f"{name} did not become ready:\n{log.read().decode(errors='replace')}")
        yield process


@contextmanager
def started(*command: str, log: IO[bytes] | int = subprocess.DEVNULL, **how: Any) -> Iterator[Process]:
    """A program, which ends with the block together with all that it started itself."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True, **how)
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(ENDED_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its own group: it is the leader of a session
        process.wait()


def ready(process: Process, url: str) -> bool:
    """Wait until this address is answered; False if the process ends or takes too long."""

    def answers() -> bool:
        with suppress(OSError), urllib.request.urlopen(url, timeout=READY_S):
            return True
        return False

    return until(process, answers)


def until(process: Process, holds: Callable[[], bool]) -> bool:
    """Wait until this holds; False if the process ends or it takes too long."""
    deadline = monotonic() + READY_S
    while monotonic() < deadline:
        if holds():
            return True
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            return False
    return False

"""The real server as a process of its own, on a free port of loopback; it ends with the block."""

import os
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import monotonic

import pytest

ROOT = Path(__file__).parents[1]
READY_S = 20.0  # a busy machine loads the embedded engine in this time many times over
ENDED_S = 10.0


@contextmanager
def running_server(**environment: str) -> Iterator[str]:
    """Yields the address of a server that is ready; settings are given as in the environment."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    env = {**os.environ, "SOTTO_HOST": "127.0.0.1", "SOTTO_PORT": str(port), **environment}
    with tempfile.TemporaryFile("w+b") as log:
        process = subprocess.Popen([sys.executable, "-m", "server"], cwd=ROOT, env=env, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            if not ready(process, f"{url}/readyz"):
                log.seek(0)
                pytest.fail(f"the server did not become ready:\n{log.read().decode(errors='replace')}")
            yield url
        finally:
            process.terminate()
            try:
                process.wait(ENDED_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def ready(process: "subprocess.Popen[bytes]", url: str) -> bool:
    """Wait until this address is answered; False if the process ends or takes too long."""
    deadline = monotonic() + READY_S
    while monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(url, timeout=1):
            return True
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
            return False
    return False

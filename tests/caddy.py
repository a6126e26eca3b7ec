"""A real Caddy on a free port of loopback, with the Caddyfile of compose.yaml; it ends with the block."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from process import ROOT, Process, started, until

from bench.process import free_port

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
ALONE = "{\n  admin off\n  auto_https off\n  default_bind 127.0.0.1\n}\n"  # nothing of this machine is touched


def caddyfile(*servers: str) -> str:
    """As it is in the container, but with these servers, as host:port, in the place of those that compose names."""
    text: str = COMPOSE["configs"]["caddyfile"]["content"].replace("$$", "$")  # compose reads $ itself
    assert text.count("one:8000 two:8000") == 1
    return ALONE + text.replace("one:8000 two:8000", " ".join(servers) or "one:8000 two:8000")


def caddy(verb: str, *servers: str, folder: str, port: int = 80) -> tuple[list[str], dict[str, str]]:
    """A command with this Caddyfile, and the environment for it; what Caddy keeps goes into the folder."""
    if not shutil.which("caddy"):
        pytest.skip("no caddy here")
    file = Path(folder, "Caddyfile")
    file.write_text(caddyfile(*servers))
    own = {"SOTTO_SITE": f":{port}", "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
    return ["caddy", verb, "--config", str(file), "--adapter", "caddyfile"], {**os.environ, **own}


@contextmanager
def running_caddy(*servers: str) -> Iterator[tuple[str, Process]]:
    """Its address, once it listens, and its process."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, open(Path(folder, "log"), "w+b") as log:
        command, env = caddy("run", *servers, folder=folder, port=port)
        with started(*command, log=log, env=env) as process:
            if not until(process, lambda: b"serving initial configuration" in Path(folder, "log").read_bytes()):
                pytest.fail(f"Caddy did not start:\n{Path(folder, 'log').read_text()}")
            yield f"http://127.0.0.1:{port}", process


def adapted(folder: str) -> str:
    """The Caddyfile as Caddy understood it: JSON."""
    for verb in ("validate", "adapt"):
        command, env = caddy(verb, folder=folder)
        told = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20)
        assert told.returncode == 0, told.stderr
    return told.stdout

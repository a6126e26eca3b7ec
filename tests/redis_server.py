"""A real redis-server on a free port of loopback, or a valkey-server where only that is; it ends with the block."""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import pytest
import redis

from bench.process import free_port

PROGRAM = next(filter(shutil.which, ("redis-server", "valkey-server")), "redis-server")
READY_S = 20.0


@dataclass
class RedisServer:
    port: int
    folder: str
    cluster: bool
    tls: bool = False
    durable: bool = False  # what it was told is on disk, and there again after a kill
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        scheme, query = ("rediss", "?ssl_cert_reqs=none") if self.tls else ("redis", "")
        return f"{scheme}://127.0.0.1:{self.port}{query}"

    @property
    def client(self) -> "redis.Redis[bytes]":
        return redis.Redis(port=self.port, ssl=self.tls, ssl_cert_reqs="none")

    def start(self) -> None:
        command = [PROGRAM, "--bind", "127.0.0.1", "--dir", self.folder, "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", "always"] if self.durable else ["--appendonly", "no"]
        command += ["--port", "0", "--tls-port", str(self.port)] if self.tls else ["--port", str(self.port)]
        if self.tls:
            certify(Path(self.folder))
            command += ["--tls-cert-file", "tls.crt", "--tls-key-file", "tls.key", "--tls-ca-cert-file", "tls.crt"]
            command += ["--tls-auth-clients", "no", "--tls-cluster", "yes"]
        if self.cluster:
            command += ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with closing(self.client) as client:
            wait_for(lambda: answers(client))
            if self.cluster and b"cluster_slots_assigned:0" in client.execute_command("CLUSTER", "INFO"):
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            if self.cluster:
                wait_for(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))

    def kill(self) -> None:
        """At once; unless it is durable with all it had."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """It is there, and does nothing any more."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def running_redis(cluster: bool = False, tls: bool = False, durable: bool = False) -> Iterator[RedisServer]:
    for program in (PROGRAM, "openssl")[: 2 if tls else 1]:
        if not shutil.which(program):
            pytest.skip(f"no {program} here")
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(free_port(), folder, cluster, tls, durable)
        try:
            server.start()
            yield server
        finally:
            server.kill()


def certify(folder: Path) -> None:
    """A key and a certificate of its own."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "1"]
    command += ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def answers(client: "redis.Redis[bytes]") -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def wait_for(there: object) -> None:
    deadline = monotonic() + READY_S
    while not there():  # type: ignore[operator]
        assert monotonic() < deadline, "redis-server did not become ready"
        sleep(0.01)  # it has no event to tell

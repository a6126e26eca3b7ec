"""compose.yaml: its settings, folders and times fit the rest, and its proxy does what it is there for."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM
from time import monotonic

import httpx
import pytest
from caddy import COMPOSE, adapted, running_caddy
from figures import figures
from process import ROOT, until
from process import Process as Started
from redis_server import running_redis
from websockets.asyncio.client import connect

pytest.importorskip("aiohttp", reason="the perfect engine of the benchmarks needs aiohttp")

from bench.chaos import SECRET
from bench.clip import FIRST_S, PAUSE_S, silence, two_cities
from bench.process import Process
from bench.rig import node, prepare, remote
from bench.speaker import Speaker
from bench.stream import record
from bench.words import errors
from server.rooms.rooms import BEAT_S
from server.settings import Settings, variable

pytestmark = pytest.mark.anyio

DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICES = COMPOSE["services"]
SERVERS = [SERVICES[name] for name in ("one", "two")]
SHIPPED = Settings(_env_file=None)
SPEECH = two_cities().until(FIRST_S) + silence(PAUSE_S)
CHUNKS = record(SPEECH)
HALF = len(CHUNKS) // 2
PATIENCE_S = 120.0  # a busy machine needs a tenth of it
EAGER = {"SOTTO_ENDPOINT_S": "0.25", "SOTTO_ENDPOINT_SETTLED_S": "0.25"}  # a final at every breath
HALF_A_FILE = (
    b"POST /api/transcribe HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# -- what is written -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", SERVERS)
def test_every_variable_is_a_setting_and_what_two_servers_share_is_set(server):
    told = server["environment"]
    assert set(told) <= {variable(name) for name in Settings.model_fields}
    assert told["SOTTO_REDIS_URL"] == "redis://redis:6379/0" and told["SOTTO_SECRET"].startswith("${SOTTO_SECRET:?")
    assert set(server["depends_on"]) == {"redis"} <= set(SERVICES)


@pytest.mark.parametrize("server", SERVERS)
def test_the_only_folder_that_can_be_written_is_the_users_home(server):
    (home,) = re.findall(r"useradd .*--uid 10001 --create-home --home-dir (\S+)", DOCKERFILE)
    assert f"USER 10001\nWORKDIR {home}\n" in DOCKERFILE and f"TMPDIR={home}/" in DOCKERFILE
    (volume,) = server["volumes"]
    assert volume.split(":")[1] == home and f"VOLUME {home}\n" in DOCKERFILE
    assert server["read_only"] is True


def test_each_server_has_a_volume_of_its_own_and_all_are_declared():
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"]]
    assert sorted(mounted) == sorted(COMPOSE["volumes"])


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_has_the_time_to_drain(server):
    assert float(server["stop_grace_period"].removesuffix("s")) > SHIPPED.drain_s + 2  # server/shutdown.py


def test_the_proxy_is_given_its_configuration_and_passes_to_the_port_that_is_exposed(tmp_path):
    (given,) = SERVICES["proxy"]["configs"]
    assert given == {"source": "caddyfile", "target": "/etc/caddy/Caddyfile"}
    understood = adapted(str(tmp_path))
    (port,) = re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)
    assert set(re.findall(r'"dial":"(.*?)"', understood)) == {f"one:{port}", f"two:{port}"}


def test_the_manual_names_no_variable_that_is_not_there():
    manual, file = ((ROOT / path).read_text() for path in ("docs/operations.md", "compose.yaml"))
    known = {variable(name) for name in Settings.model_fields} | set(re.findall(r"\$\{(SOTTO_\w+)", file))
    assert set(re.findall(r"SOTTO_[A-Z_]+", manual)) <= known


# -- what it does --------------------------------------------------------------------------------------------------


@dataclass
class Site:
    """Two servers with one Redis, and Caddy before them."""

    url: str
    servers: tuple[Process, Process]
    client: httpx.AsyncClient
    caddy: Started

    def open(self, query: str = "") -> connect:
        return connect(f"{self.url.replace('http', 'ws')}/api/captions{query}")

    async def figure(self, server: Process, name: str) -> float:
        return figures((await self.client.get(f"{server.url}/metrics")).text)[name]

    async def speaks_at(self) -> tuple[Process, Process]:
        """The server that has the only session, and the other one."""
        one, two = self.servers
        return (one, two) if await self.figure(one, "sotto_sessions") else (two, one)

    async def first_caption(self, room: str) -> str:
        """Of those who follow by events; the stream goes on."""
        async with self.client.stream("GET", f"{self.url}/api/rooms/{room}/events") as events:
            told = (json.loads(line[6:]) async for line in events.aiter_lines() if line.startswith("data: "))
            return str(await anext(message["text"] async for message in told if "text" in message))

    async def until(self, url: str, status: int) -> None:
        def answered() -> bool:
            with suppress(httpx.TransportError):  # it may be slow to answer
                return httpx.get(url).status_code == status
            return False

        assert await asyncio.to_thread(until, self.caddy, answered)


@asynccontextmanager
async def composed(folder: Path) -> AsyncIterator[Site]:
    it = prepare(SPEECH, CHUNKS, folder)
    with running_redis() as redis:
        shared = SECRET | EAGER | {"SOTTO_REDIS_URL": redis.url, "SOTTO_DRAIN_S": str(PATIENCE_S)}
        async with (
            asyncio.timeout(PATIENCE_S),
            remote(it.packets, **shared) as found,
            node(found.upstream, **shared) as other,
            httpx.AsyncClient(timeout=PATIENCE_S) as client,
        ):
            servers = (found.server, other)
            with running_caddy(*(f"127.0.0.1:{server.port}" for server in servers)) as (url, process):
                yield Site(url, servers, client, process)


async def test_captions_and_who_follows_pass_the_proxy_at_once_and_figures_do_not(tmp_path):
    async with composed(tmp_path) as site:
        async with site.open("?room=keynote") as speaker:
            for chunk in CHUNKS[:HALF]:
                await speaker.send(chunk.data)
            assert json.loads(await speaker.recv())["type"] == "ready"
            assert (await site.first_caption("keynote")).startswith("It was")
            for chunk in CHUNKS[HALF:]:
                await speaker.send(chunk.data)
            await speaker.send('{"type":"stop"}')
            told = [json.loads(message) async for message in speaker]
        assert errors(SPEECH.text, " ".join(m["text"] for m in told if m["type"] == "final")).all == 0
        assert (await site.client.get(f"{site.url}/metrics")).status_code == 404


async def test_when_a_server_is_killed_the_other_goes_on_and_no_word_is_missing_or_doubled(tmp_path):
    async with composed(tmp_path) as site, asyncio.TaskGroup() as tasks:
        speaker = Speaker(site.url, CHUNKS, pace=4.0)
        speaking = tasks.create_task(speaker.speak())
        while not speaker.finals:
            speaker.told.clear()
            await speaker.told.wait()
        here, there = await site.speaks_at()
        await here.end(SIGKILL)
        await speaking
        assert await site.figure(there, "sotto_resumes_total") >= 1
        assert errors(SPEECH.text, speaker.text).all == 0, speaker.text
        assert [final["offset"] for final in speaker.finals] == [*range(1, len(speaker.finals) + 1)]


async def test_a_server_that_drains_is_left_though_it_has_least_to_do(tmp_path):
    async with composed(tmp_path) as site, site.open() as speaker, asyncio.TaskGroup() as tasks:
        assert json.loads(await speaker.recv())["type"] == "ready"
        _, idle = await site.speaks_at()
        with socket.create_connection(("127.0.0.1", idle.port)) as upload:  # keeps it from coming to its end
            upload.sendall(HALF_A_FILE)
            while not await site.figure(idle, "sotto_uploads"):
                pass
            tasks.create_task(idle.end(SIGTERM))
            await site.until(f"{idle.url}/readyz", 503)
            await site.until(f"{site.url}/readyz", 200)
            assert (await site.client.get(f"{idle.url}/readyz")).status_code == 503


async def test_who_leaves_is_gone_behind_the_proxy_too(tmp_path):
    async with composed(tmp_path) as site, site.open("?room=keynote") as speaker:
        assert json.loads(await speaker.recv())["type"] == "ready"

        async def viewers() -> float:
            return sum([await site.figure(server, "sotto_viewers") for server in site.servers])

        async with site.client.stream("GET", f"{site.url}/api/rooms/keynote/events") as events:
            lines = events.aiter_lines()  # kept: when it is collected, httpx hangs up
            assert await anext(lines) == "retry: 1000"
            assert await viewers() == 1
        left = monotonic()
        while await viewers():
            pass
        assert monotonic() - left < BEAT_S / 2  # else it is found out when there is something to tell


def test_the_proxy_asks_whether_a_server_is_ready_without_its_store():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_S)
        with running_caddy(f"127.0.0.1:{server.getsockname()[1]}"), server.accept()[0] as asked:
            asked.settimeout(PATIENCE_S)
            assert asked.recv(65_536).startswith(b"GET /readyz?store=optional HTTP/1.1\r\n")

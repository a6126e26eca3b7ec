"""Alive, ready, the page, and what every answer carries."""

import re

import pytest
from figures import figures
from redis_server import running_redis

from .conftest import STOP, Until, chunks, read, send, serving
from .engines import Breaks

pytestmark = pytest.mark.anyio


async def test_alive_and_ready():
    async with serving() as site:
        assert (await site.client.get("/healthz")).json() == {"status": "ok"}
        ready = await site.client.get("/readyz")
        about = {"engine": "counts", "languages": ["de", "en"], "paid": False}
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", **about, "sessions": 0, "store": "ready"})
        async with site.open() as socket:
            await socket.receive_text()
            assert (await site.client.get("/readyz")).json()["sessions"] == 1


async def test_while_being_stopped_alive_but_not_ready():
    async with serving() as site:
        site.service.drain()
        assert (await site.client.get("/healthz")).status_code == 200
        assert (await site.client.get("/readyz")).status_code == 503
        assert (await site.client.get("/readyz?store=optional")).status_code == 503


async def test_cut_off_from_redis_it_is_not_ready_but_for_who_can_do_without():
    with running_redis() as redis:
        async with serving(redis_url=redis.url) as site, site.open() as speaker:
            await send(speaker, chunks()[0])
            await read(speaker, until="ack")
            redis.kill()
            told = await read(speaker, until="warning")
            alone = await site.client.get("/readyz")
            anyhow = await site.client.get("/readyz?store=optional")
    assert told.messages[-1]["code"] == "room.degraded"
    assert (alone.status_code, alone.json()) == (503, {"status": "degraded"})
    assert (anyhow.status_code, anyhow.json()["status"], anyhow.json()["store"]) == (200, "ready", "degraded")


@pytest.mark.parametrize("method, path, status", [("GET", "/nothing", 404), ("GET", "/api/transcribe", 405)])
async def test_a_wrong_address_is_answered_with_the_error_object(method, path, status):
    async with serving() as site:
        answer = await site.client.request(method, path)
    assert answer.status_code == status and answer.json()["error"]["code"] == "request.invalid"


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/healthz", "/nothing"])
async def test_every_answer_carries_a_strict_policy(path):
    async with serving() as site:
        headers = (await site.client.get(path)).headers
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"


async def test_the_engine_is_closed_with_the_server():
    async with serving() as site:
        engine = site.service.pool.engine
        assert not engine.closed
    assert engine.closed


async def test_nothing_outside_the_folder_is_served():
    async with serving() as site:
        for path in ("/static/../server/app.py", "/static/%2e%2e/server/app.py", "/static/..%2fserver/app.py"):
            assert (await site.client.get(path)).status_code == 404


async def test_what_a_session_came_to_is_counted():
    async with serving() as site:
        told = await site.say(*chunks()[:20], Until("partial"), *chunks()[20:], STOP)
        counted = figures((await site.client.get("/metrics")).text)
    done = told.messages[-1]
    assert counted['sotto_audio_seconds_total{source="live"}'] == pytest.approx(done["audio_s"], abs=0.01)
    assert counted['sotto_captions_total{kind="final"}'] == done["finals"] == len(told.of("final"))
    assert counted['sotto_sessions_ended_total{end="done",protocol="native"}'] == 1
    sent = sum(value for name, value in counted.items() if name.startswith("sotto_engine_audio_seconds_total"))
    assert sent == pytest.approx(done["billed_s"], abs=0.01)
    assert counted["sotto_session_cost_ratio_sum"] == pytest.approx(done["billed_s"] / done["audio_s"], abs=0.01)


async def test_how_calls_came_out_is_counted():
    async with serving(Breaks()) as site:
        await site.say(*chunks(), STOP)
        page = (await site.client.get("/metrics")).text
    assert re.search(r'sotto_engine_call_seconds_count\{engine="[^"]+",kind="partial",result="failed"\} [1-9]', page)


async def test_a_session_that_a_fault_ended_is_counted_by_its_code():
    async with serving() as site:
        await site.say(b"<html>not audio at all</html>")
        page = (await site.client.get("/metrics")).text
        assert 'sotto_sessions_ended_total{end="audio.unsupported_format",protocol="native"} 1.0' in page
        async with site.open() as socket:
            await socket.receive_text()
            assert "\nsotto_sessions 1.0" in (await site.client.get("/metrics")).text

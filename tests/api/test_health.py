"""Alive, ready, the page, and what every answer carries."""

import pytest

from .conftest import serving

pytestmark = pytest.mark.anyio


async def test_alive_and_ready():
    async with serving() as site:
        assert (await site.client.get("/healthz")).json() == {"status": "ok"}
        ready = await site.client.get("/readyz")
        about = {"engine": "counts", "languages": ["de", "en"], "paid": False}
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", **about, "sessions": 0})
        async with site.open() as socket:
            await socket.receive_text()
            assert (await site.client.get("/readyz")).json()["sessions"] == 1


async def test_while_being_stopped_alive_but_not_ready():
    async with serving() as site:
        site.service.drain()
        assert (await site.client.get("/healthz")).status_code == 200
        assert (await site.client.get("/readyz")).status_code == 503


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

"""Foreign pages are turned away by their Origin, programs pass."""

import http.client
import json
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from server.api.guard import is_loopback

from .conftest import process, serving

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("host", ["localhost", "app.localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_these_names_can_only_be_this_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1"])
def test_these_may_be_another(host):
    assert not is_loopback(host)


async def test_a_program_sends_no_origin_and_passes():
    async with serving() as site:
        assert (await site.client.get("/healthz", headers={"host": "anything.example"})).status_code == 200


@pytest.mark.parametrize("method, path", [("POST", "/api/transcribe"), ("GET", "/"), ("GET", "/nothing")])
async def test_a_foreign_page_is_turned_away_from_everything(method, path):
    async with serving() as site:
        answer = await site.client.request(method, path, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403 and answer.json()["error"]["code"] == "origin.forbidden"
    assert "access-control-allow-origin" not in answer.headers


async def test_a_page_of_an_allowed_site_may_read_every_answer():
    site_of = {"origin": "https://talks.example"}
    async with serving(allowed_origins="https://talks.example") as site:
        for method, path in [("GET", "/readyz"), ("GET", "/static/captions/client.js"), ("POST", "/api/transcribe")]:
            answer = await site.client.request(method, path, headers=site_of)
            assert answer.headers["access-control-allow-origin"] == "https://talks.example"
            assert answer.headers["vary"] == "Origin"


async def test_a_browser_that_asks_first_is_told_that_the_allowed_site_may():
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    async with serving(allowed_origins="https://talks.example") as site:
        yes = await site.client.options("/api/transcribe", headers={"origin": "https://talks.example", **asks})
        no = await site.client.options("/api/transcribe", headers={"origin": "https://evil.example", **asks})
    assert yes.status_code == 204 and no.status_code == 403
    told = {name: yes.headers[f"access-control-allow-{name}"] for name in ("origin", "methods", "headers")}
    assert told == {"origin": "https://talks.example", "methods": "POST", "headers": "authorization"}
    assert not [name for name in no.headers if name.startswith("access-control")]


async def test_a_star_allows_every_page():
    async with serving(allowed_origins="*") as site:
        answer = await site.client.get("/healthz", headers={"origin": "https://any.example"})
    assert answer.status_code == 200


@dataclass
class Refused:
    status: int
    told: dict[str, Any]


def refused(port: int, path: str, **headers: str) -> Refused:
    """The answer to who would open a WebSocket there."""
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", path, headers=upgrade | headers)
        answer = connection.getresponse()
        return Refused(answer.status, json.loads(answer.read()))


def test_a_refused_upgrade_is_answered_with_the_error_object(tmp_path):
    with process(tmp_path) as server:
        foreign = refused(server.port, "/api/captions", Origin="https://evil.example")
        nowhere = refused(server.port, "/api/caption")
        below_files = refused(server.port, "/static/page.js")
        deepgram = refused(server.port, "/v1/listen/live")
        log = server.log()
    assert (foreign.status, foreign.told["error"]["code"]) == (403, "origin.forbidden")
    assert "'/api/captions' refused: pages of https://evil.example may not use this server" in log
    assert "ERROR" not in log
    assert (nowhere.status, nowhere.told["error"]["code"]) == (404, "request.invalid")
    assert (below_files.status, below_files.told["error"]["code"]) == (404, "request.invalid")
    assert deepgram.status == 404 and "live captions are at /api/captions" in deepgram.told["err_msg"]

"""A fault over HTTP: each protocol has its own shape, whatever the fault is."""

import json

import pytest

from server.api.errors import response
from server.errors import AuthExpired, Draining, EngineUnavailable, Overloaded, RequestInvalid, TooManySessions

from .conftest import serving

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/v1/audio/nothing", 404),
        ("POST", "/v1/audio/translations", 404),
        ("GET", "/v1/models/nothing/here", 404),
    ],
)
async def test_also_what_is_no_route_below_openais_is_told_in_its_shape(method, path, status):
    async with serving() as site:
        answer = await site.client.request(method, path)
    assert answer.status_code == status and answer.headers["x-request-id"].startswith("r_")
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"


async def test_below_deepgrams_it_is_told_in_theirs():
    async with serving() as site:
        for path in ("/v1/listen/nothing", "/v1/auth/nothing"):
            assert set((await site.client.get(path)).json()) == {"err_code", "err_msg", "request_id"}


def test_a_header_has_no_character_that_breaks_it():
    answer = response(RequestInvalid("„a\r\nb“"), path="/v1/listen")
    assert answer.headers["dg-error"] == "?a??b?" and json.loads(answer.body)["err_msg"] == "„a\r\nb“"


async def test_elsewhere_it_is_our_own():
    async with serving() as site:
        for answer in (await site.client.get("/nothing"), await site.client.get("/api/transcribe")):
            assert set(answer.json()["error"]) >= {"code", "message", "retryable", "request_id"}
        assert answer.status_code == 405 and answer.headers["allow"] == "POST"


async def test_a_foreign_page_is_told_in_the_protocol_it_speaks():
    async with serving() as site:
        answer = await site.client.get("/v1/models", headers={"origin": "https://evil.example"})
    assert answer.status_code == 403 and answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "fault, kind, retry, after",
    [
        (RequestInvalid("expected …", param="file"), "invalid_request_error", "false", None),
        (AuthExpired("expired"), "invalid_request_error", "false", None),
        (TooManySessions("all taken", retry_after_s=5), "rate_limit_error", "true", "5"),
        (Overloaded("busy", retry_after_s=5), "server_error", "true", "5"),
        (Draining("going"), "server_error", "true", "1"),
        (EngineUnavailable("away"), "server_error", "true", "1"),
    ],
    ids=lambda fault: getattr(fault, "code", ""),
)
def test_openais_libraries_learn_whether_and_when_to_try_again(fault, kind, retry, after):
    answer = response(fault, path="/v1/audio/transcriptions")
    error = json.loads(answer.body)["error"]
    assert error == {"message": fault.message, "type": kind, "param": fault.param, "code": fault.code}
    assert (answer.headers["x-should-retry"], answer.headers.get("retry-after")) == (retry, after)

"""Keys and tokens: where there are any, who shows one may, and nobody else."""

from collections.abc import AsyncIterator

import pytest
from httpx_ws import aconnect_ws
from starlette.requests import HTTPConnection
from test_documented import routes

from server.api.auth import Auth, credential, subprotocol
from server.audio.packet import Place
from server.errors import AuthExpired, AuthInvalid, AuthMissing, RequestInvalid
from server.speech.types import Mark
from server.tickets import Ticket, open_ticket, seal

from .conftest import RECORDINGS, STOP, Site, chunks, read, send, serving

KEY, OTHER = "a-key-of-the-tests", "another-key-of-the-tests"
SECRET = b"a secret of the tests"
WEBM = (RECORDINGS / "chromium-webm-opus.webm").read_bytes()

pytestmark = pytest.mark.anyio


def at(moment: float, *keys: str, secret: bytes = SECRET) -> Auth:
    return Auth(keys or (KEY,), secret, lambda: moment)


# -- keys and tokens -----------------------------------------------------------------------------------------------


def test_without_keys_everybody_may():
    for shown in (None, "", "anything", KEY):
        Auth([], SECRET).check(shown)
        Auth([], SECRET).check_key(shown)


def test_each_key_opens_and_nothing_else_does():
    auth = at(0, KEY, OTHER)
    for key in (KEY, OTHER):
        auth.check(key)
    with pytest.raises(AuthMissing):
        auth.check(None)
    for wrong in ("", KEY[:-1], KEY + "x", KEY.upper(), f"{KEY},{OTHER}", "ключ", "token.", "token.9.x", "x" * 99_999):
        with pytest.raises(AuthInvalid):
            auth.check(wrong)


def test_a_token_opens_until_it_has_expired_on_every_server_with_the_secret():
    token = at(1000).mint(60)
    at(1059).check(token)
    at(1059, OTHER).check(token)
    with pytest.raises(AuthExpired):
        at(1060).check(token)
    with pytest.raises(AuthInvalid):
        at(1059, secret=b"another secret").check(token)


def test_a_token_cannot_be_prolonged():
    token = at(1000).mint(60)
    with pytest.raises(AuthInvalid):
        at(1000).check(token.replace("1060", "9060"))


def test_a_token_mints_none():
    auth = at(1000)
    with pytest.raises(AuthInvalid, match="expected an API key, for which no token will do"):
        auth.check_key(auth.mint(60))


def test_a_ticket_is_no_token_and_a_token_is_no_ticket():
    ticket = seal(Ticket("s_1", "s_1", 1, Place(), Mark(), 2000.0), SECRET)
    with pytest.raises(AuthInvalid):
        at(1000).check(ticket)
    with pytest.raises(RequestInvalid):
        open_ticket(at(1000).mint(60), SECRET, 1000)


# -- where it is shown ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", [f"Bearer {KEY}", f"bearer {KEY}", f"Token {KEY}", f"token {KEY}", f"TOKEN  {KEY} ", f"bEARER {KEY}"]
)
def test_the_header_in_every_spelling_of_the_clients(header):
    assert credential(connection(header)) == KEY


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", f"Basic {KEY}", KEY])
def test_what_is_in_the_header_for_others_is_none(header):
    assert credential(connection(header)) is None


@pytest.mark.parametrize(
    "offered, answered",
    [
        (["bearer", KEY], "bearer"),
        (["token", KEY], "token"),
        (["x-deepgram-session-id", "5c41", "token", KEY], "token"),
        (["bearer", KEY, "x-deepgram-session-id", "5c41"], "bearer"),
        (["realtime", f"openai-insecure-api-key.{KEY}", "openai-beta.realtime-v1"], "realtime"),
    ],
)
def test_a_browser_shows_it_in_the_subprotocols_and_is_never_answered_with_it(offered, answered):
    assert credential(connection(offered=offered)) == KEY
    assert subprotocol(connection(offered=offered)) == answered


@pytest.mark.parametrize("offered", [[], ["graphql-ws"], ["bearer"], ["realtime"]])
def test_subprotocols_without_a_key_show_none(offered):
    assert credential(connection(offered=offered)) is None


def connection(header: str = "", offered: list[str] | None = None) -> HTTPConnection:
    headers = [(b"authorization", header.encode())] if header else []
    return HTTPConnection({"type": "websocket", "headers": headers, "subprotocols": offered or []})


# -- over HTTP -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving(api_keys=f"{KEY}, {OTHER}") as site:
        yield site


async def post(site: Site, path: str, header: str | None = None, **request):
    headers = {"authorization": header} if header else {}
    return await site.client.post(path, headers=headers, **request)


async def test_a_file_is_transcribed_for_a_key_and_for_a_token(site):
    minted = (await post(site, "/api/tokens", f"Bearer {KEY}")).json()
    assert minted["expires_in"] == 600
    for shown in (KEY, OTHER, minted["token"]):
        answer = await post(site, "/api/transcribe", f"Bearer {shown}", files={"file": WEBM})
        assert answer.status_code == 200 and answer.json()["transcript"]


@pytest.mark.parametrize("path", ["/api/transcribe", "/api/tokens"])
@pytest.mark.parametrize("header, code", [(None, "auth.missing"), ("Bearer wrong", "auth.invalid")])
async def test_others_are_answered_401(site, path, header, code):
    answer = await post(site, path, header, files={"file": WEBM})
    assert answer.status_code == 401 and answer.json()["error"]["code"] == code
    assert answer.headers["www-authenticate"] == "Bearer" and not site.service.pool.engine.asked


async def test_a_token_that_has_expired_is_told_apart(site):
    token = site.service.auth.mint(-1)
    answer = await post(site, "/api/transcribe", f"Bearer {token}", files={"file": WEBM})
    assert answer.status_code == 401 and answer.json()["error"]["code"] == "auth.expired"


async def test_a_token_is_as_long_good_as_was_asked_for_within_a_day(site):
    answer = await post(site, "/api/tokens?expires_in=3600", f"Bearer {KEY}")
    assert answer.json()["expires_in"] == 3600
    for wrong in ("0", "86401", "soon"):
        answer = await post(site, f"/api/tokens?expires_in={wrong}", f"Bearer {KEY}")
        assert answer.status_code == 400 and answer.json()["error"]["param"] == "expires_in"


async def test_a_token_does_not_mint_the_next(site):
    token = site.service.auth.mint(60)
    assert (await post(site, "/api/tokens", f"Bearer {token}")).status_code == 401


async def test_every_route_of_the_other_protocols_wants_one(site):
    asked = [route.split(" ") for route in routes(site.app) if " /v1/" in route and not route.startswith("WS")]
    assert len(asked) > 3
    for method, path in asked:
        answer = await site.client.request(method, path)
        assert answer.status_code == 401, (method, path)


async def test_the_page_and_the_health_stay_open(site):
    for path in ("/", "/static/page.js", "/healthz", "/readyz"):
        assert (await site.client.get(path)).status_code == 200


async def test_without_keys_tokens_are_minted_too():
    async with serving() as site:
        assert (await post(site, "/api/tokens")).status_code == 200


# -- over WebSocket ------------------------------------------------------------------------------------------------

BROWSER = [["bearer", KEY], ["token", KEY], ["realtime", f"openai-insecure-api-key.{KEY}"]]


async def captions(site: Site, *said, query: str = "", offered: list[str] | None = None, **headers: str):
    """What a client is told that shows its key so, and the subprotocol it was answered."""
    options = {"subprotocols": offered} if offered else {}
    async with aconnect_ws(f"http://localhost/api/captions{query}", site.client, headers=headers, **options) as socket:
        for one in (*said, STOP):
            await send(socket, one)
        return await read(socket), socket.subprotocol


async def test_a_program_shows_it_in_the_header_or_the_address(site):
    token = site.service.auth.mint(60)
    for options in ({"authorization": f"Token {KEY}"}, {"query": f"?token={KEY}"}, {"query": f"?token={token}"}):
        told, answered = await captions(site, *chunks(), **options)
        assert told.code == 1000 and told.of("final") and answered is None


@pytest.mark.parametrize("offered", BROWSER, ids=lambda offered: offered[0])
async def test_a_browser_shows_it_in_the_subprotocols(site, offered):
    told, answered = await captions(site, *chunks(), offered=offered)
    assert told.code == 1000 and told.of("final") and answered == offered[0]


@pytest.mark.parametrize("offered", [None, *BROWSER], ids=str)
async def test_where_there_are_no_keys_any_will_do(offered):
    async with serving() as site:
        told, _ = await captions(site, *chunks(), offered=offered, authorization="Bearer anything")
        assert told.code == 1000 and told.of("final")


@pytest.mark.parametrize("query, code", [("", "auth.missing"), ("?token=wrong", "auth.invalid")])
async def test_others_are_told_why_since_browsers_cannot_read_a_refused_upgrade(site, query, code):
    told = await site.say(*chunks(), STOP, query=query)
    assert [message["type"] for message in told.messages] == ["error"]
    assert (told.error["code"], told.code, told.reason) == (code, 4501, code)
    assert not site.service.pool.engine.asked


@pytest.mark.parametrize("said", [b"sound", STOP, {"type": "start"}, {"type": "keepalive"}], ids=str)
async def test_a_token_that_has_expired_begins_no_session(site, said):
    told = await site.say(said, query=f"?token={site.service.auth.mint(-1)}")
    assert [message["type"] for message in told.messages] == ["error"]
    assert (told.error["code"], told.error["retryable"], told.code) == ("auth.expired", True, 4001)


async def test_a_token_may_expire_while_its_session_goes_on_and_comes_back():
    whole = b"".join(chunks())
    async with serving(api_keys=KEY, resume_grace_s=10) as site:
        async with site.open(f"?token={KEY}") as socket:
            await send(socket, whole[: len(whole) // 2])
            ticket = (await read(socket, "ack")).messages[-1]["ticket"]
        resume = {"type": "resume", "ticket": ticket}
        told = await site.say(resume, whole, STOP, query=f"?token={site.service.auth.mint(-1)}")
        assert told.code == 1000 and told.of("resumed") and told.of("final")
        refused = await site.say(resume, STOP)
        assert refused.error["code"] == "auth.missing"

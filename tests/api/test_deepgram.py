"""WS /v1/listen and POST /v1/auth/grant on the real app; test_deepgram_sdk.py has the real clients."""

import hashlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.lowlevel import checkpoint
from httpx_ws import AsyncWebSocketSession, aconnect_ws

from .conftest import PATIENCE_S, Clock, Site, Told, chunks, read, send, serving
from .engines import Counts, Refuses
from .test_live import pieces, speech

CHUNKS = chunks()
HALF = len(CHUNKS) // 2
KEEPALIVE, FINALIZE, CLOSE = ({"type": type} for type in ("KeepAlive", "Finalize", "CloseStream"))
KEY = "a-key-of-the-tests"

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def listening(site: Site, query: str = "", headers=(), **options) -> AsyncIterator[AsyncWebSocketSession]:
    options |= {"keepalive_ping_interval_seconds": None, "queue_size": 4096, "headers": dict(headers)}
    async with aconnect_ws(f"http://localhost/v1/listen?{query}", site.client, **options) as socket:
        yield socket


async def say(site: Site, *said, query: str = "", **options) -> Told:
    """Open a session, say all this, and read to the end."""
    async with listening(site, query, **options) as socket:
        for one in said:
            await send(socket, one)
        return await read(socket)


async def refused(site: Site, query: str = "", headers: dict[str, str] | None = None) -> tuple[int, dict, dict]:
    """Status, body and headers of an upgrade that is refused, as a server with that extension of ASGI tells them."""
    got: list[dict] = []

    async def receive() -> dict:
        return {"type": "websocket.connect"}

    async def send(message: dict) -> None:
        got.append(message)

    scope = {"type": "websocket", "path": "/v1/listen", "query_string": query.encode(), "app": site.app}
    shown = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    await site.app(scope | {"headers": shown, "extensions": {"websocket.http.response": {}}}, receive, send)
    start, *bodies = got
    told = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], json.loads(b"".join(body.get("body", b"") for body in bodies)), told


async def answered(socket: AsyncWebSocketSession) -> dict:
    """The answer to a Finalize."""
    while not (result := (await read(socket, until="Results")).messages[-1])["from_finalize"]:
        pass
    return result


def texts(told: Told, **flags: bool) -> list[str]:
    results = [result for result in told.of("Results") if all(result[flag] is value for flag, value in flags.items())]
    return [result["channel"]["alternatives"][0]["transcript"] for result in results]


# -- the story -----------------------------------------------------------------------------------------------------


async def test_blobs_of_a_recorder_become_results_and_at_the_end_metadata():
    async with serving() as site:
        told = await say(site, *CHUNKS, CLOSE)
    assert (told.code, told.reason) == (1000, "")
    assert [text for text in texts(told, is_final=True) if text][0].startswith("zero one two")
    assert told.messages[-1]["type"] == "Metadata" and 9 < told.messages[-1]["duration"] < 10
    assert told.messages[-1]["sha256"] == hashlib.sha256(b"".join(CHUNKS)).hexdigest()


async def test_interim_results_come_when_they_are_wished():
    async with serving() as site, listening(site, "interim_results=true") as socket:
        for chunk in CHUNKS[:HALF]:
            await send(socket, chunk)
        first = await read(socket, until="Results")
        await send(socket, CLOSE)
        rest = await read(socket)
    told = Told(first.messages + rest.messages, rest.code, rest.reason)
    assert texts(told, is_final=False)
    ends = [r["start"] + r["duration"] for r in told.of("Results") if r["is_final"]]
    assert [r["start"] for r in told.of("Results") if r["is_final"]] == pytest.approx([0.0, *ends[:-1]])


async def test_every_message_tells_which_request_it_answers():
    async with serving() as site, listening(site) as socket:
        for said in (*CHUNKS, CLOSE):
            await send(socket, said)
        told = await read(socket)
        (id,) = {message.get("metadata", message)["request_id"] for message in told.messages}
    assert len(id) == 36


@pytest.mark.parametrize("encoding", ["linear16", "linear32"])
async def test_raw_sound_is_announced_in_the_query(encoding):
    pcm = speech()
    data = (pcm * 32767).astype("<i2") if encoding == "linear16" else pcm.astype("<f4")
    async with serving() as site:
        told = await say(site, *pieces(data.tobytes(), 32_001), CLOSE, query=f"encoding={encoding}&sample_rate=16000")
    assert any(texts(told, is_final=True)) and told.code == 1000
    assert told.messages[-1]["duration"] == pytest.approx(len(pcm) / 16000, abs=0.2)


async def test_terms_and_the_language_are_told_to_the_engine():
    engine = Counts()
    async with serving(engine) as site:
        await say(site, *CHUNKS, CLOSE, query="language=de-AT&keyterm=Sotto&keyterm=Blob")
    assert engine.asked[0].prompt.startswith("Sotto, Blob") and engine.asked[0].language == "de"


async def test_without_interim_results_the_engine_is_asked_for_none():
    engine = Counts()
    async with serving(engine) as site:
        await say(site, *CHUNKS, CLOSE)
    assert len(engine.asked) <= 4


async def test_speech_is_told_when_it_starts_and_the_gap_after_it():
    pcm = (speech() * 32767).astype("<i2").tobytes()
    async with serving() as site:
        query = "encoding=linear16&sample_rate=16000&vad_events=true&utterance_end_ms=1000"
        told = await say(site, *pieces(pcm + bytes(64_000), 8000), FINALIZE, CLOSE, query=query)
    types = [message["type"] for message in told.messages]
    assert types[0] == "SpeechStarted" and types.index("UtteranceEnd") > types.index("Results")
    (end,) = told.of("UtteranceEnd")
    last = [r for r in told.of("Results") if r["channel"]["alternatives"][0]["words"]][-1]
    assert end["last_word_end"] == last["channel"]["alternatives"][0]["words"][-1]["end"]


@pytest.mark.parametrize(
    "query, pause_s, utterances",
    [("", 0.8, 2), ("endpointing=1000", 0.8, 1), ("endpointing=25", 0.8, 2), ("endpointing=25", 0.4, 1)],
)
async def test_the_pause_that_ends_an_utterance_is_the_clients_choice(query, pause_s, utterances):
    said = (speech()[20_800:51_200] * 32767).astype("<i2").tobytes()  # begins and ends with a voice, and has no pause
    async with serving() as site:
        sound = pieces(said + bytes(round(32_000 * pause_s)) + said, 1600)
        told = await say(site, *sound, CLOSE, query=f"{query}&encoding=linear16&sample_rate=16000")
    assert len([text for text in texts(told, is_final=True) if text]) == utterances


# -- control messages ----------------------------------------------------------------------------------------------


async def test_a_finalize_is_answered_also_when_nothing_was_said():
    async with serving() as site, listening(site) as socket:
        await send(socket, FINALIZE)
        first = await answered(socket)
        for chunk in CHUNKS[:HALF]:
            await send(socket, chunk)
        await send(socket, FINALIZE)
        second = await answered(socket)
        await send(socket, FINALIZE)
        third = await answered(socket)
    assert (first["start"], first["duration"], first["is_final"]) == (0.0, 0.0, True)
    said = [result["channel"]["alternatives"][0]["transcript"] for result in (first, second, third)]
    assert said[0] == said[2] == "" and said[1].startswith("zero one") and second["speech_final"]


async def test_keepalive_is_answered_by_nothing_and_keeps_alive(clock: Clock):
    async with serving() as site, listening(site) as socket:
        for _ in range(3):
            await clock.forward(40)
            await send(socket, KEEPALIVE)
        await send(socket, CLOSE)
        told = await read(socket)
    assert [message["type"] for message in told.messages] == ["Metadata"] and told.code == 1000


async def test_an_empty_message_is_nothing():
    async with serving() as site:
        told = await say(site, b"", *CHUNKS[:HALF], b"", *CHUNKS[HALF:], b"", CLOSE)
    assert told.code == 1000 and 9 < told.messages[-1]["duration"] < 10


@pytest.mark.parametrize("said", ["hello", "[1]", "{}", '{"type":"Begin"}', "[" * 9999], ids=lambda said: said[:9])
async def test_what_is_no_message_is_told_and_the_session_goes_on(said):
    async with serving() as site:
        told = await say(site, said, *CHUNKS, CLOSE)
    (error,) = told.of("Error")
    assert error["variant"] == "SchemaError" and error["message"] == said[:200]
    assert any(texts(told)) and told.code == 1000


async def test_options_cannot_change_in_mid_session_and_that_is_told():
    async with serving() as site:
        told = await say(site, {"type": "Configure", "keyterms": ["Sotto"]}, CLOSE)
    assert [message["type"] for message in told.messages] == ["ConfigureFailure", "Metadata"]


async def test_a_client_that_closes_at_once_is_no_error(caplog: pytest.LogCaptureFixture):
    async with serving() as site:
        async with listening(site) as socket:
            for said in (*CHUNKS[:HALF], CLOSE):
                await send(socket, said)
        with anyio.fail_after(PATIENCE_S):
            while site.service.sessions:
                await checkpoint()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# -- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["encoding=flac", "interim_results=perhaps", "language=xx", "callback=http://h/"])
async def test_a_query_that_cannot_be_is_refused_at_the_upgrade(query):
    async with serving() as site:
        status, body, headers = await refused(site, query)
    assert status == 400 and set(body) == {"err_code", "err_msg", "request_id"} and body["err_code"] == "Bad Request"
    assert headers["x-request-id"] == body["request_id"] and headers["dg-error"] == body["err_msg"]


async def test_a_browser_is_told_after_the_upgrade_what_it_could_not_read_before():
    async with serving() as site:
        told = await say(site, query="encoding=flac", headers={"origin": "http://localhost"})
    assert told.code == 1008 and told.reason.startswith("request.invalid: encoding: expected linear16")
    assert told.messages[0]["type"] == "Error" and "linear16" in told.messages[0]["description"]


async def test_when_all_sessions_are_taken_the_upgrade_is_refused():
    async with serving(max_sessions=1) as site, listening(site):
        status, body, headers = await refused(site)
    assert (status, body["err_code"], headers["retry-after"]) == (429, "TOO_MANY_REQUESTS", "5")


async def test_a_recording_that_goes_on_without_its_header_is_told_so():
    async with serving() as site:
        told = await say(site, *CHUNKS[HALF:])
    (error,) = told.messages
    assert told.code == 1008 and told.reason.startswith("DATA-0000: expected WebM")
    assert error["variant"] == "DATA-0000" and error["description"].endswith("begins with its header")


async def test_what_was_said_before_a_fault_is_read_before_it(clock: Clock):
    async with serving() as site, listening(site) as socket:
        for chunk in CHUNKS[:HALF]:
            await send(socket, chunk)
        await clock.forward(61)
        told = await read(socket)
    assert told.code == 1011 and told.reason.startswith("NET-0001: nothing came for 60 s")
    assert any(texts(told, is_final=True)) and told.messages[-1]["variant"] == "NET-0001"


async def test_when_the_server_is_stopped_all_that_was_said_is_final_first():
    async with serving() as site, listening(site, "interim_results=true") as socket:
        for chunk in CHUNKS[:HALF]:
            await send(socket, chunk)
        await read(socket, until="Results")
        site.service.drain()
        told = await read(socket)
    last = told.of("Results")[-1]
    assert last["is_final"] and told.code == 1012 and told.messages[-1]["type"] == "Error"


async def test_no_message_has_a_type_that_the_sdk_does_not_know():
    known = {"Results", "Metadata", "UtteranceEnd", "SpeechStarted", "Error", "ConfigureSuccess", "ConfigureFailure"}
    async with serving(Refuses()) as site:
        told = await say(site, *CHUNKS, FINALIZE, FINALIZE, "x", CLOSE, query="vad_events=1&interim_results=1")
    assert {message["type"] for message in told.messages} <= known
    assert texts(told, from_finalize=True) == ["", ""]


# -- who may -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", [f"Token {KEY}", f"token {KEY}", f"bearer {KEY}", f"Bearer {KEY}"])
async def test_a_key_is_shown_in_a_header(shown):
    async with serving(api_keys=[KEY]) as site:
        told = await say(site, CLOSE, headers={"Authorization": shown})
    assert told.code == 1000


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Token another"}])
async def test_without_a_key_the_upgrade_is_refused(headers):
    async with serving(api_keys=[KEY]) as site:
        status, body, _ = await refused(site, headers=headers)
    assert status == 401 and body["err_code"] == "INVALID_AUTH" and KEY not in str(body)


@pytest.mark.parametrize("scheme", ["token", "bearer"])
async def test_a_browser_shows_its_key_as_a_subprotocol_and_is_answered_the_scheme(scheme):
    async with serving(api_keys=[KEY]) as site:
        async with listening(site, subprotocols=[scheme, KEY, "x-deepgram-session-id", "a-b-c"]) as socket:
            assert socket.subprotocol == scheme
            await send(socket, CLOSE)
            assert (await read(socket)).code == 1000
        async with listening(site, subprotocols=[scheme, "another"]) as socket:
            assert socket.subprotocol == scheme
            told = await read(socket)
    assert told.code == 1008 and told.reason.startswith("auth.invalid")


async def test_a_token_is_granted_for_a_key_and_opens_a_session():
    async with serving(api_keys=[KEY]) as site:
        key = {"Authorization": f"Token {KEY}"}
        granted = (await site.client.post("/v1/auth/grant", headers=key)).json()
        assert granted["expires_in"] == 30
        longer = (await site.client.post("/v1/auth/grant", headers=key, json={"ttl_seconds": 600})).json()
        assert longer["expires_in"] == 600
        bearer = {"Authorization": f"Bearer {granted['access_token']}"}
        assert (await say(site, CLOSE, headers=bearer)).code == 1000
        assert (await site.client.post("/v1/auth/grant", headers=bearer)).status_code == 401


@pytest.mark.parametrize("body", ["[]", "{", '{"ttl_seconds": 3601}', '{"ttl_seconds": "soon"}', " " * 70_000])
async def test_a_grant_that_cannot_be_is_refused(body):
    async with serving() as site:
        answer = await site.client.post("/v1/auth/grant", content=body)
    assert answer.status_code == 400 and set(answer.json()) == {"err_code", "err_msg", "request_id"}

"""WS /v1/realtime and its client secrets on the real app; tests/e2e/test_openai_realtime.py has the real client."""

import json
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

import numpy as np
import pytest
import soxr
from av import AudioFrame
from av.audio.codeccontext import AudioCodecContext
from httpx_ws import AsyncWebSocketSession, aconnect_ws

from server.api.realtime.client_secrets import LONGEST, seal
from server.api.realtime.config import Config

from .conftest import SECRET, Clock, Site, Told, read, send, serving
from .engines import Counts, Refuses
from .test_live import pieces, speech

KEY = "a-key-of-the-tests"
RATE = 24_000
COMMIT, CLEAR = ({"type": f"input_audio_buffer.{what}"} for what in ("commit", "clear"))
COMMITTED = "input_audio_buffer.committed"
DELTA, COMPLETED, FAILED = (
    f"conversation.item.input_audio_transcription.{what}" for what in ("delta", "completed", "failed")
)

pytestmark = pytest.mark.anyio


@cache
def spoken(rate: int = RATE) -> bytes:
    """9 s of reading as pcm16."""
    return (soxr.resample(speech(), 16_000, rate) * 32767).astype("<i2").tobytes()


def law(codec: str) -> bytes:
    """The same as a telephone has it."""
    encoder = AudioCodecContext.create(codec, "w")
    encoder.sample_rate, encoder.layout, encoder.format = 8000, "mono", "s16"
    frame = AudioFrame.from_ndarray(np.frombuffer(spoken(8000), "<i2")[None], "s16", "mono")
    frame.sample_rate = 8000
    return b"".join(bytes(packet) for packet in encoder.encode(frame))


def append(audio: bytes) -> dict:
    return {"type": "input_audio_buffer.append", "audio": b64encode(audio).decode()}


def appended(audio: bytes, size: int = 9600) -> list[dict]:
    """In pieces of 200 ms of 24 kHz."""
    return [append(piece) for piece in pieces(audio, size)]


def update(**audio_input) -> dict:
    session = {"type": "transcription", "audio": {"input": audio_input}}
    return {"type": "session.update", "session": session}


MANUAL = update(turn_detection=None)
SILENCE = bytes(2 * RATE * 2)


@asynccontextmanager
async def speaking(site: Site, query: str = "?intent=transcription", **options) -> AsyncIterator[AsyncWebSocketSession]:
    options |= {"keepalive_ping_interval_seconds": None, "queue_size": 4096}
    async with aconnect_ws(f"http://localhost/v1/realtime{query}", site.client, **options) as socket:
        yield socket


async def say(site: Site, *said: dict | str | bytes, until: str | None, **options) -> Told:
    """Open a session, say all this, and read up to the first event of a type, or to the end."""
    async with speaking(site, **options) as socket:
        for one in said:
            await send(socket, one)
        return await read(socket, until)


async def refusal(site: Site, *said: dict | str | bytes, **options) -> dict:
    """The error that one is told of these."""
    return (await say(site, *said, until="error", **options)).error


# -- the story -----------------------------------------------------------------------------------------------------


async def test_the_first_event_tells_how_the_session_is():
    async with serving(session_s=3600) as site:
        for query in ("?intent=transcription", "?model=gpt-realtime", "", "?model=x&intent=transcription"):
            [created] = (await say(site, until="session.created", query=query)).messages
    session = created["session"]
    assert session["type"] == "transcription" and session["id"].startswith("sess_") and created["event_id"]
    assert session["expires_at"] == pytest.approx(time.time() + 3600, abs=60)
    assert session["audio"]["input"] == {
        "format": {"type": "audio/pcm", "rate": RATE},
        "noise_reduction": None,
        "transcription": {"model": "counts", "language": None, "prompt": ""},
        "turn_detection": {
            "type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 500, "silence_duration_ms": 600,
        },
    }  # fmt: skip


async def test_the_server_finds_the_turns():
    async with serving() as site:
        told = await say(site, *appended(spoken() + SILENCE), until=COMPLETED)
    types = [event["type"] for event in told.messages if event["type"] != DELTA]
    assert types == [
        "session.created",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        COMMITTED,
        "conversation.item.added",
        "conversation.item.done",
        COMPLETED,
    ]
    completed = told.messages[-1]
    assert completed["transcript"].startswith("zero one two") and completed["usage"]["type"] == "duration"
    assert completed["transcript"] == "".join(event["delta"] for event in told.of(DELTA))
    assert len({event["event_id"] for event in told.messages}) == len(told.messages)


async def test_the_client_commits_and_each_commit_is_an_item():
    half = len(spoken()) // 4 * 2
    async with serving() as site, speaking(site) as socket:
        told, transcripts, items = [], [], []
        for said in ([MANUAL, *appended(spoken()[:half])], [*appended(spoken()[half:])], [append(SILENCE)]):
            for one in [*said, COMMIT]:
                await send(socket, one)
            told = (await read(socket, COMPLETED)).messages
            transcripts.append(told[-1]["transcript"])
            [committed] = [event for event in told if event["type"] == COMMITTED]
            items.append((committed["previous_item_id"], committed["item_id"]))
            assert not [event for event in told if event["type"].startswith("input_audio_buffer.speech")]
    assert transcripts[0].startswith("zero") and transcripts[1].startswith("zero") and transcripts[2] == ""
    assert [previous for previous, _ in items] == [None, items[0][1], items[1][1]]


async def test_deltas_come_while_somebody_speaks_and_has_not_committed():
    async with serving() as site, speaking(site) as socket:
        for said in [MANUAL, *appended(spoken()[: 4 * RATE])]:
            await send(socket, said)
        [first] = (await read(socket, DELTA)).of(DELTA)
        await send(socket, COMMIT)
        told = await read(socket, COMPLETED)
    assert {event["item_id"] for event in told.messages if "item_id" in event} == {first["item_id"]}
    assert told.messages[-1]["transcript"] == first["delta"] + "".join(event["delta"] for event in told.of(DELTA))


async def test_a_commit_in_mid_speech_ends_the_turn_that_the_server_found():
    async with serving() as site:
        told = await say(site, *appended(spoken()[: 4 * RATE]), COMMIT, until=COMPLETED)
    assert len(told.of(COMMITTED)) == len(told.of("input_audio_buffer.speech_stopped")) == 1 and not told.of("error")


async def test_a_clear_drops_what_was_not_committed_and_nothing_else():
    async with serving() as site, speaking(site) as socket:
        for said in [MANUAL, *appended(spoken()[: 4 * RATE]), COMMIT, *appended(spoken()), CLEAR]:
            await send(socket, said)
        told = (await read(socket, "input_audio_buffer.cleared")).messages
        for said in [*appended(SILENCE), COMMIT]:
            await send(socket, said)
        while len(done := [event for event in told if event["type"] == COMPLETED]) < 2:
            told += (await read(socket, COMPLETED)).messages
    assert done[0]["transcript"].startswith("zero") and done[1]["transcript"] == ""


async def test_a_clear_or_a_commit_before_any_sound_is_answered():
    async with serving() as site, speaking(site) as socket:
        await send(socket, CLEAR)
        await read(socket, "input_audio_buffer.cleared")
        await send(socket, COMMIT | {"event_id": "mine"})
        error = (await read(socket, "error")).error
    assert error["code"] == "input_audio_buffer_commit_empty" and error["event_id"] == "mine"
    assert error["type"] == "invalid_request_error" and error["param"] is None


async def test_an_empty_commit_is_told_in_its_turn_and_the_session_goes_on():
    async with serving() as site, speaking(site) as socket:
        for said in [MANUAL, *appended(spoken()), COMMIT, append(bytes(2000)), COMMIT | {"event_id": "mine"}]:
            await send(socket, said)
        assert (await read(socket, "error")).error["event_id"] == "mine"
        for said in [append(SILENCE), COMMIT]:
            await send(socket, said)
        assert (await read(socket, COMMITTED)).of(COMMITTED)


async def test_a_turn_the_engine_gave_up_has_failed():
    async with serving(Refuses()) as site:
        told = await say(site, *appended(spoken() + SILENCE), until=FAILED)
    assert told.messages[-1]["error"]["type"] == "transcription_error" and not told.of(COMPLETED)


# -- how it is configured ------------------------------------------------------------------------------------------


async def updated(site: Site, *said: dict) -> dict:
    """`audio.input` as it is after these."""
    told = await say(site, *said, until="session.updated")
    return told.messages[-1]["session"]["audio"]["input"]


async def test_what_is_absent_stays_and_null_is_a_value():
    async with serving() as site, speaking(site) as socket:
        seen = []
        for said in (
            update(transcription={"language": "de", "prompt": "Sotto"}),
            update(transcription={"prompt": None}, turn_detection=None),
            update(
                transcription={"language": "en", "model": "gpt-4o-transcribe"}, noise_reduction={"type": "far_field"}
            ),
            update(turn_detection={"type": "server_vad", "threshold": 0.6}),
            update(turn_detection={"silence_duration_ms": 700, "prefix_padding_ms": None}),
        ):
            await send(socket, said)
            seen.append((await read(socket, "session.updated")).messages[-1]["session"]["audio"]["input"])
    assert [one["transcription"]["language"] for one in seen] == ["de", "de", "en", "en", "en"]
    assert [one["transcription"]["prompt"] for one in seen] == ["Sotto", "", "", "", ""]
    assert seen[2]["turn_detection"] is None and seen[2]["noise_reduction"] is None
    heard = {"type": "server_vad", "threshold": 0.6, "prefix_padding_ms": 500, "silence_duration_ms": 700}
    assert seen[2]["transcription"]["model"] == "counts" and seen[4]["turn_detection"] == heard


@pytest.mark.parametrize("model", ["gpt-live-transcribe", "gpt-realtime-whisper"])
async def test_clients_of_models_that_know_no_turns_commit_unless_they_say_otherwise(model):
    async with serving() as site:
        seen = await updated(site, update(transcription={"model": model}))
        assert seen["turn_detection"] is None
        seen = await updated(site, update(transcription={"model": model}, turn_detection={"type": "server_vad"}))
        assert seen["turn_detection"]["type"] == "server_vad"


async def test_language_prompt_and_keywords_reach_the_engine():
    engine = Counts()
    async with serving(engine) as site:
        words = {"languages": ["de"], "prompt": "A talk.", "keywords": ["Sotto", "MediaRecorder"]}
        await say(site, update(transcription=words), *appended(spoken() + SILENCE), until=COMPLETED)
    assert engine.asked[0].language == "de" and engine.asked[0].prompt == "A talk. Sotto, MediaRecorder"


async def test_wishes_in_mid_session_count_for_what_is_said_after_them():
    engine = Counts()
    async with serving(engine) as site, speaking(site) as socket:
        for said in [MANUAL, *appended(spoken()), COMMIT, update(transcription={"language": "de"})]:
            await send(socket, said)
        told = (await read(socket, COMMITTED)).messages + (await read(socket, "session.updated")).messages
        for said in [update(turn_detection={"type": "server_vad"}), *appended(spoken() + SILENCE)]:
            await send(socket, said)
        after = await read(socket, "input_audio_buffer.speech_stopped")
        told += after.messages
        while [event["type"] for event in told].count(COMPLETED) < 2:  # so the engine was asked for all of it
            told += (await read(socket, COMPLETED)).messages
    assert after.of("input_audio_buffer.speech_started")
    before = len(spoken()) / 2 / RATE
    assert {asked.language for asked in engine.asked if asked.start > before} == {"de"}


@pytest.mark.parametrize("type", ["audio/pcmu", "audio/pcma"])
async def test_sound_of_a_telephone(type):
    audio = law("pcm_mulaw" if type == "audio/pcmu" else "pcm_alaw")
    async with serving() as site:
        wish = update(format={"type": type}, turn_detection=None)
        told = await say(site, wish, *appended(audio, 1600), COMMIT, until=COMPLETED)
    assert told.of("session.updated")[0]["session"]["audio"]["input"]["format"] == {"type": type}
    assert told.messages[-1]["usage"]["seconds"] == pytest.approx(len(audio) / 8000, abs=0.1)


async def test_the_format_is_that_of_the_first_sound():
    async with serving() as site:
        pcmu = update(format={"type": "audio/pcmu"}) | {"event_id": "mine"}
        error = await refusal(site, append(bytes(100)), update(format={"type": "audio/pcm"}), pcmu)
    assert error["param"] == "session.audio.input.format" and error["event_id"] == "mine"


@pytest.mark.parametrize(
    "audio_input, param",
    [
        ({"format": {"type": "audio/opus"}}, "format.type"),
        ({"turn_detection": {"type": "server_vad", "threshold": 2}}, "turn_detection.threshold"),
        ({"turn_detection": {"type": "clairvoyance"}}, "turn_detection"),
        ({"transcription": {"prompt": "x" * 2001}}, "transcription.prompt"),
        ({"transcription": {"keywords": ["x" * 1001] * 2}}, "transcription.keywords"),
    ],
)
async def test_what_cannot_be_is_refused_and_all_stays_as_it_was(audio_input, param):
    async with serving() as site, speaking(site) as socket:
        await send(socket, update(**audio_input) | {"event_id": "mine"})
        error = (await read(socket, "error")).error
        assert (error["param"], error["event_id"]) == (f"session.audio.input.{param}", "mine")
        await send(socket, update())
        assert (await read(socket, "session.updated")).messages[-1]["session"]["audio"]["input"]["turn_detection"]


async def test_a_language_the_engine_does_not_know_is_refused():
    async with serving() as site:
        error = await refusal(site, update(transcription={"language": "tlh"}))
    assert error["param"] == "language" and "tlh" in error["message"]


async def test_semantic_detection_waits_for_a_whole_sentence():
    async with serving() as site, speaking(site) as socket:
        for said in [update(turn_detection={"type": "semantic_vad", "eagerness": "high"}), *appended(spoken())]:
            await send(socket, said)
        for said in appended(bytes(2 * RATE * 3)):  # Counts writes no full stop, so it takes 2 s
            await send(socket, said)
        told = await read(socket, "input_audio_buffer.speech_stopped")
    assert len(told.of("input_audio_buffer.speech_started")) == 1


async def test_clients_of_the_beta_are_understood():
    beta = {
        "type": "transcription_session.update",
        "session": {
            "input_audio_format": "g711_ulaw",
            "input_audio_transcription": {"model": "whisper-1", "language": "en", "prompt": ""},
            "turn_detection": {"type": "server_vad", "threshold": None, "silence_duration_ms": 350},
            "input_audio_noise_reduction": {"type": "near_field"},
        },
    }
    async with serving() as site:
        told = await say(site, beta, until="transcription_session.updated")
    session = told.messages[-1]["session"]["audio"]["input"]
    assert session["format"] == {"type": "audio/pcmu"} and session["transcription"]["language"] == "en"
    assert session["turn_detection"]["silence_duration_ms"] == 350


# -- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said, code, param",
    [
        ("no json", "invalid_json", None),
        (b"\x00\x01", "invalid_json", None),
        ("[" * 5000, "invalid_json", None),
        (r'{"type":"\ud800"}', "invalid_json", None),
        (r'{"type":"input_audio_buffer.commit","event_id":"\ud800"}', "invalid_json", None),
        ({"type": "input_audio_buffer.commit", "event_id": "long" * 1000}, "invalid_value", "event_id"),
        ("[]", "invalid_value", "type"),
        ('{"event_id":"mine"}', "invalid_value", "type"),
        ({"type": "response.create", "event_id": "mine"}, "invalid_value", "type"),
        ({"type": "input_audio_buffer.append", "event_id": "mine"}, "invalid_value", "audio"),
        ({"type": "input_audio_buffer.append", "event_id": "mine", "audio": "no base64!"}, "invalid_value", "audio"),
        ({"type": "session.update", "event_id": "mine", "session": 1}, "invalid_value", "session"),
        ({"type": "session.update", "event_id": "mine", "session": {"audio": 1}}, "invalid_value", "session.audio"),
    ],
)
async def test_an_event_at_fault_is_told_and_the_session_goes_on(said, code, param):
    async with serving() as site, speaking(site) as socket:
        await send(socket, said)
        error = (await read(socket, "error")).error
        assert set(error) == {"type", "code", "message", "param", "event_id"}
        assert (error["code"], error["param"]) == (code, param)
        assert error["event_id"] == ("mine" if "mine" in str(said) else None)
        await send(socket, CLEAR)
        assert (await read(socket, "input_audio_buffer.cleared")).messages


async def test_a_whole_recording_may_be_one_event():
    async with serving(max_message_bytes=100_000) as site:
        told = await say(site, MANUAL, append(spoken()), COMMIT, until=COMPLETED)
    assert len(json.dumps(append(spoken()))) > 400_000 and told.messages[-1]["transcript"]


async def test_sound_may_be_cut_within_a_sample():
    async with serving() as site:
        told = await say(site, MANUAL, *appended(spoken(), 9601), COMMIT, until=COMPLETED)
    assert told.messages[-1]["usage"]["seconds"] == pytest.approx(len(spoken()) / 2 / RATE, abs=0.1)


async def test_a_client_may_be_silent_for_long_and_the_session_ends_in_openais_way(clock: Clock):
    async with serving(session_s=600, idle_s=60) as site, speaking(site) as socket:
        await read(socket, "session.created")
        await clock.forward(500)
        await send(socket, CLEAR)
        await read(socket, "input_audio_buffer.cleared")
        await clock.forward(200)
        await send(socket, CLEAR)
        told = await read(socket)
    assert told.error["code"] == "session_expired"
    assert (told.code, told.reason) == (1001, "invalid_request_error.session_expired")


async def test_a_stop_of_the_server_completes_what_was_said():
    async with serving() as site, speaking(site) as socket:
        for said in appended(spoken()):
            await send(socket, said)
        await read(socket, "input_audio_buffer.speech_started")
        site.service.drain()
        told = await read(socket)
    assert told.of(COMPLETED) and told.code == 1012 and told.error["type"] == "server_error"


# -- who may -------------------------------------------------------------------------------------------------------


async def minted(site: Site, **wish) -> dict:
    answer = await site.client.post(
        "/v1/realtime/client_secrets", json=wish, headers={"authorization": f"Bearer {KEY}"}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def browser(shown: str) -> list[str]:
    return ["realtime", f"openai-insecure-api-key.{shown}"]


async def test_a_client_secret_opens_a_session_and_configures_it():
    async with serving(api_keys=KEY) as site:
        session = {"type": "transcription", "audio": {"input": {"transcription": {"language": "de"}}}}
        secret = await minted(site, expires_after={"anchor": "created_at", "seconds": 60}, session=session)
        assert secret["value"].startswith("ek_") and secret["expires_at"] == pytest.approx(time.time() + 60, abs=5)
        assert secret["session"]["type"] == "transcription"
        async with speaking(site, subprotocols=browser(secret["value"])) as socket:
            assert socket.subprotocol == "realtime"
            [created] = (await read(socket, "session.created")).messages
    assert created["session"]["audio"] == secret["session"]["audio"]
    assert created["session"]["audio"]["input"]["transcription"]["language"] == "de"


async def test_a_program_shows_a_key_a_token_or_a_secret_in_the_header():
    async with serving(api_keys=KEY) as site:
        for shown in (KEY, site.service.auth.mint(60), (await minted(site))["value"]):
            told = await say(site, until="session.created", headers={"authorization": f"Bearer {shown}"})
            assert told.messages


@pytest.mark.parametrize("keys", [[], [KEY]], ids=["no keys", "keys"])
async def test_an_expired_secret_is_refused_whether_there_are_keys_or_not(keys):
    old = seal(Config(), int(time.time()) - 1, SECRET.encode())
    async with serving(api_keys=keys) as site:
        told = await say(site, until=None, subprotocols=browser(old))
    assert told.error["type"] == "invalid_request_error" and told.error["code"] == "auth.expired"
    assert (told.code, told.reason) == (3000, "invalid_request_error.auth.expired")


async def test_a_secret_cannot_be_prolonged_and_mints_nothing():
    async with serving(api_keys=KEY) as site:
        expires, secret = (one := await minted(site))["expires_at"], one["value"]
        told = await say(site, until=None, subprotocols=browser(secret.replace(str(expires), str(expires + 9))))
        assert told.error["code"] == "auth.invalid"
        headers = {"authorization": f"Bearer {secret}"}
        assert (await site.client.post("/v1/realtime/client_secrets", headers=headers)).status_code == 401


async def test_without_keys_openais_own_secrets_are_as_good_as_anything():
    async with serving() as site:
        for shown in ("ek_68af296e8e408191a1120ab6383263c2", "sk-anything"):
            assert (await say(site, until="session.created", subprotocols=browser(shown))).messages


@pytest.mark.parametrize("wish", [{"expires_after": {"seconds": 9}}, {"session": {"audio": 1}}, {"session": []}])
async def test_a_secret_that_cannot_be_is_refused_in_openais_shape(wish):
    async with serving() as site:
        answer = await site.client.post("/v1/realtime/client_secrets", json=wish)
    assert answer.status_code == 400 and set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_a_secret_fits_into_a_header():
    async with serving() as site:
        prompts = [{"audio": {"input": {"transcription": {"prompt": letter * 2000}}}} for letter in "aж"]
        answers = [await site.client.post("/v1/realtime/client_secrets", json={"session": said}) for said in prompts]
    assert [answer.status_code for answer in answers] == [200, 400] and LONGEST < 8190
    assert len(answers[0].json()["value"]) < LONGEST + 64


async def test_nothing_said_is_in_the_log(caplog):
    caplog.set_level("INFO", "sotto")
    async with serving() as site:
        await say(site, update(transcription={"prompt": "hush"}), *appended(spoken() + SILENCE), until=COMPLETED)
    assert caplog.text and not {"hush", "zero"} & set(caplog.text.split())

"""OpenAI's REST API: the shapes of its answers, and its two libraries as they come."""

import io
import json
import shutil
import subprocess
import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from threading import Event

import anyio
import httpx
import pytest

from server.api.events import KEEPALIVE_S
from server.engines.base import Speech
from server.speech.types import Hypothesis, Word

from .conftest import RECORDINGS, Bare, Clock, Process, Site, process, serving
from .engines import Counts, Refuses, Waits

pytestmark = pytest.mark.anyio

PATH = "/v1/audio/transcriptions"
RECORDING = RECORDINGS / "chromium-webm-opus.webm"
WEBM = RECORDING.read_bytes()
KEY = "a-key-of-the-tests"
HERE = Path(__file__).parent


class Knows(Counts):
    """Two words for every piece of three seconds, with all that an engine may tell about them."""

    longest = 3.0

    def transcribe(self, speech: Speech) -> Hypothesis:
        self.asked.append(speech)
        words = tuple(
            Word(text, speech.start + i, speech.start + i + 0.5) for i, text in enumerate(("Hello", "world."))
        )
        return Hypothesis("Hello world.", words, "de", logprob=-0.25, no_speech=0.125)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving(Knows()) as site:
        yield site


async def post(site: Site, data: bytes = WEBM, **fields: str | list[str]) -> httpx.Response:
    return await site.client.post(PATH, files={"file": ("a.webm", data)}, data=fields)


# -- answers -------------------------------------------------------------------------------------------------------


async def test_json_is_the_text_and_what_it_cost(site):
    answer = (await post(site)).json()
    assert set(answer) == {"text", "usage"} and answer["text"].startswith("Hello world. Hello world.")
    assert answer["usage"] == {"type": "duration", "seconds": 10}


async def test_verbose_json_has_every_key_with_what_the_engine_told(site):
    answer = (await post(site, response_format="verbose_json")).json()
    assert set(answer) == {"task", "language", "duration", "text", "segments", "words", "usage"}
    assert (answer["task"], answer["language"], answer["duration"]) == (
        "transcribe",
        "german",
        pytest.approx(9.5, abs=0.5),
    )
    first, second, *_ = answer["segments"]
    told = {"avg_logprob": -0.25, "no_speech_prob": 0.125, "temperature": 0.0, "tokens": [], "id": 0}
    assert told.items() <= first.items() and first["seek"] == int(first["start"] * 100)
    assert 0 < first["compression_ratio"] < 1 and first["start"] < first["end"] <= second["start"]
    assert set(first) == {*told, "seek", "start", "end", "text", "compression_ratio"}
    assert "".join(segment["text"] for segment in answer["segments"]) == answer["text"]
    assert set(answer["words"][0]) == {"word", "start", "end"} and answer["words"][1]["word"] == "world."


async def test_what_an_engine_does_not_tell_is_empty_and_not_left_out():
    async with serving(Counts()) as site:
        answer = (await post(site, response_format="verbose_json")).json()
        silence = (await post(site, wav(bytes(64_000)), response_format="verbose_json")).json()
    (segment,) = answer["segments"]
    assert (segment["avg_logprob"], segment["no_speech_prob"], answer["words"]) == (0.0, 0.0, [])
    assert (silence["text"], silence["segments"], silence["language"], silence["duration"]) == ("", [], "", 2.0)


@pytest.mark.parametrize("format", ["text", "srt", "vtt"])
async def test_texts_are_those_of_sottos_own_route(site, format):
    answer = await post(site, response_format=format)
    own = await site.client.post("/api/transcribe", files={"file": WEBM}, data={"format": format})
    assert answer.text == own.text and answer.headers["content-type"] == own.headers["content-type"]


async def test_a_stream_is_what_is_added_and_at_last_the_whole(site):
    whole = (await post(site)).json()
    answer = await post(site, stream="true", response_format="text")
    assert answer.headers["content-type"].startswith("text/event-stream")
    *deltas, done = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line]
    assert {delta["type"] for delta in deltas} == {"transcript.text.delta"} and len(deltas) > 2
    assert "".join(delta["delta"] for delta in deltas) == whole["text"]
    assert done == {"type": "transcript.text.done", **whole}


# -- what is asked -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields, language, prompt",
    [
        ({"language": "de-AT", "prompt": "A meeting."}, "de", "A meeting."),
        ({"languages[]": ["de"], "keywords[]": ["Sotto", "Opus"], "prompt": "Hm."}, "de", "Sotto, Opus. Hm."),
        ({"languages": ["de", "en"], "keywords": ["Sotto"]}, None, "Sotto"),
    ],
)  # fmt: skip
async def test_what_the_engine_can_be_told_it_is_told(site, fields, language, prompt):
    await post(site, **fields)
    asked = site.service.pool.engine.asked[0]
    assert (asked.language, asked.prompt) == (language, prompt)


async def test_other_fields_are_passed_over(site):
    fields = {
        "model": "whisper-1",
        "temperature": "0.4",
        "include[]": "logprobs",
        "chunking_strategy[type]": "server_vad",
    }
    assert (await post(site, **fields, **{"timestamp_granularities[]": "word"})).status_code == 200


async def test_voices_to_know_again_are_passed_over(site):
    voice = f"data:audio/wav;base64,{'A' * 430_000}"  # ten seconds
    fields = {"known_speaker_names[]": ["Ann"] * 4, "known_speaker_references[]": [voice] * 4}
    assert (await post(site, **fields)).status_code == 200


async def test_the_models_are_the_engine(site):
    listed = (await site.client.get("/v1/models")).json()
    (model,) = listed["data"]
    assert listed["object"] == "list" and set(model) == {"id", "object", "created", "owned_by"}
    assert (await site.client.get(f"/v1/models/{model['id']}")).json() == model


# -- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields, param",
    [
        ({"response_format": "diarized_json"}, "response_format"),
        ({"response_format": "srt", "stream": "True"}, "response_format"),
        ({"language": "xx"}, "language"),
        ({"prompt": "a" * 1500, "keywords[]": "b" * 500}, "prompt"),
    ],
)
async def test_what_cannot_be_done_is_said(site, fields, param):
    answer = await post(site, **fields)
    assert answer.status_code == 400 and error(answer)["param"] == param


async def test_every_fault_has_openais_shape(site):
    told = {
        400: await site.client.post(PATH, json={"model": "whisper-1"}),
        404: await site.client.get("/v1/models/gpt-9"),
        405: await site.client.get(PATH),
        415: await post(site, b"<html></html>"),
        422: await post(site, b""),
    }
    for status, answer in told.items():
        assert answer.status_code == status and error(answer)["type"] == "invalid_request_error"
    assert error(told[400])["param"] == "file" and told[405].headers["allow"] == "POST"


async def test_an_engine_that_fails_for_good_is_not_asked_again():
    async with serving(Refuses()) as site:
        answer = await post(site)
        stream = await post(site, stream="true")
    assert answer.status_code == stream.status_code == 503 and answer.headers["x-should-retry"] == "false"
    assert (error(answer)["type"], error(answer)["code"]) == ("server_error", "engine.unavailable")


async def test_a_stream_that_is_slow_to_have_a_text_shows_that_it_is_there(clock: Clock):
    engine = Waits()
    async with serving(engine) as site, anyio.create_task_group() as tasks:
        upload = Bare(site, WEBM, path=PATH, stream="true")
        tasks.start_soon(upload.post)
        await anyio.to_thread.run_sync(engine.begun.wait, 20)
        assert not upload.got  # the engine may still fail, and that would have a status
        await clock.forward(KEEPALIVE_S + 1)
        start, comment = upload.got
        assert (start["status"], comment["body"]) == (200, b":\n\n")
        engine.go.set()
    assert b'"type":"transcript.text.done"' in upload.got[-2]["body"]


async def test_a_fault_in_mid_stream_is_an_event_that_the_libraries_raise():
    first_is_told = Event()

    class Fails(Knows):
        def transcribe(self, speech: Speech) -> Hypothesis:
            if speech.start < 3:
                return super().transcribe(speech)
            first_is_told.wait(20)
            return Refuses().transcribe(speech)

    async with serving(Fails()) as site, anyio.create_task_group() as tasks:
        upload = Bare(site, WEBM, path=PATH, stream="true")
        tasks.start_soon(upload.post)
        await upload.news.wait()
        first_is_told.set()
    text = b"".join(one.get("body", b"") for one in upload.got).decode()
    last = json.loads(text.strip().splitlines()[-1].removeprefix("data: "))
    assert upload.got[0]["status"] == 200 and set(last) == {"error"}
    assert last["error"]["code"] == "engine.unavailable"


async def test_all_of_it_wants_a_key_where_keys_are_set():
    async with serving(Knows(), api_keys=KEY) as site:
        for answer in (await post(site), await site.client.get("/v1/models"), await site.client.get("/v1/models/a")):
            assert answer.status_code == 401 and error(answer)["code"] == "auth.missing"
        site.client.headers["authorization"] = f"Bearer {KEY}"
        assert (await post(site)).status_code == 200
        assert (await site.client.get("/v1/models")).status_code == 200


def error(answer: httpx.Response) -> dict:
    told = answer.json()["error"]
    assert set(told) == {"message", "type", "param", "code"}
    return told


# -- the real libraries --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Process]:
    with process(tmp_path_factory.mktemp("server"), SOTTO_API_KEYS=KEY) as server:
        yield server


def test_the_library_for_python(server):
    openai = pytest.importorskip("openai", reason="the openai package is not installed")
    with openai.OpenAI(api_key=KEY, base_url=f"{server.url}/v1", timeout=60, max_retries=0) as client:
        ask = client.audio.transcriptions.create
        plain = ask(model="whisper-1", file=RECORDING, language="en", temperature=0)
        assert "best of times" in plain.text and plain.usage.seconds == 10
        verbose = ask(
            model="whisper-1", file=io.BytesIO(WEBM), response_format="verbose_json",
            timestamp_granularities=["word", "segment"], chunking_strategy={"type": "server_vad"},
        )  # fmt: skip
        assert verbose.language == "english" and verbose.segments[0].avg_logprob < 0 and verbose.words == []
        assert "-->" in ask(model="whisper-1", file=RECORDING, response_format="srt")
        events = list(ask(model="whisper-1", file=("speech.webm", WEBM, "audio/webm;codecs=opus"), stream=True))
        assert events[-1].type == "transcript.text.done" and events[-1].text == plain.text
        assert "".join(event.delta for event in events[:-1]) == plain.text
        assert client.models.retrieve(client.models.list().data[0].id).object == "model"
        with pytest.raises(openai.BadRequestError) as refused:
            ask(model="whisper-1", file=RECORDING, language="xx")
        assert (refused.value.code, refused.value.param) == ("request.invalid", "language")
        assert refused.value.request_id.startswith("r_")
    with openai.OpenAI(api_key="wrong", base_url=f"{server.url}/v1", timeout=60) as client:
        with pytest.raises(openai.AuthenticationError, match="expected an API key"):
            client.models.list()


def test_the_library_for_node(server):
    node = shutil.which("node") or pytest.skip("node is not installed")
    if not (HERE.parent / "node_modules" / "openai").is_dir():
        pytest.skip("the npm packages of the tests are not installed: make test does it where npm is")
    command = [node, HERE / "openai_sdk.mjs", f"{server.url}/v1", KEY, RECORDING]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert "best of times" in told["plain"]["text"] and told["streamed"] == told["plain"]["text"]
    assert told["verbose"]["language"] == "english" and told["verbose"]["segments"][0]["text"]
    assert told["vtt"].startswith("WEBVTT") and told["model"]["object"] == "model"
    assert told["refused"] == {"status": 400, "code": "request.invalid", "param": "language"}
    assert told["stranger"] == {"status": 401, "code": "auth.invalid"}


def wav(pcm: bytes) -> bytes:
    """16-bit mono samples at 16 kHz as a file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(pcm)
    return file.getvalue()

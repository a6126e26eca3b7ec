"""Deepgram's own libraries, as they come, with the embedded engine and real speech."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from deepgram import AsyncDeepgramClient, DeepgramClient, DeepgramClientEnvironment
from deepgram.core.api_error import ApiError
from deepgram.core.events import EventType
from deepgram.listen.v1.types import ListenV1Metadata, ListenV1Results, ListenV1SpeechStarted, ListenV1UtteranceEnd
from websockets.exceptions import InvalidStatus

from server.batch.decode import decode

from .conftest import RECORDINGS, Process, chunks, process

KEY = "a-key-of-the-tests"
RECORDING = RECORDINGS / "chromium-webm-opus.webm"
WORDS = "it was the best of times it was the worst of times"
TYPES = (ListenV1Results, ListenV1Metadata, ListenV1SpeechStarted, ListenV1UtteranceEnd)
HERE = Path(__file__).parent

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # it uses what its own libraries have superseded


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with process(tmp_path_factory.mktemp("deepgram"), SOTTO_ENGINE="moonshine", SOTTO_API_KEYS=KEY) as server:
        yield server


def environment(server: Process) -> DeepgramClientEnvironment:
    ws = server.url.replace("http", "ws")
    return DeepgramClientEnvironment(base=server.url, production=ws, agent=ws, agent_rest=server.url)


@pytest.fixture
def client(server: Process) -> Iterator[DeepgramClient]:
    with httpx.Client() as http:  # the library does not close its own
        yield DeepgramClient(api_key=KEY, environment=environment(server), httpx_client=http)


def pcm() -> bytes:
    """The recording as 16 bits at 16 kHz."""
    with RECORDING.open("rb") as file:
        return b"".join((block * 32767).astype("<i2").tobytes() for block in decode(file, longest_s=60))


def answer(socket: Any) -> list[ListenV1Results]:
    """The results up to the one that answers a Finalize."""
    results: list[ListenV1Results] = []
    while not (results and results[-1].from_finalize):
        message = socket.recv()
        results += [message] if isinstance(message, ListenV1Results) else []
    return results


def words(results: list[ListenV1Results]) -> str:
    said = [word.word for result in results for word in result.channel.alternatives[0].words]
    return " ".join(said)


def test_python_streams_what_a_browser_recorded(client):
    with client.listen.v1.connect(model="nova-3", interim_results=True, vad_events=True) as socket:
        for chunk in chunks():
            socket.send_media(chunk)
        socket.send_close_stream()
        told = list(socket)
    assert {type(message) for message in told} <= set(TYPES) and isinstance(told[-1], ListenV1Metadata)
    results = [message for message in told if isinstance(message, ListenV1Results)]
    assert WORDS in words([result for result in results if result.is_final])
    assert told[-1].duration == pytest.approx(9.5, abs=0.5) and told[-1].request_id == results[0].metadata.request_id


def test_python_streams_samples_and_finalizes(client):
    wish = {"model": "nova-3", "encoding": "linear16", "sample_rate": 16000, "utterance_end_ms": 1000}
    sound = pcm()
    with client.listen.v1.connect(**wish) as socket:
        for at in range(0, len(sound), 3200):
            socket.send_media(sound[at : at + 3200])
        socket.send_keep_alive()
        socket.send_finalize()
        heard = answer(socket)
        socket.send_finalize()
        (again,) = answer(socket)
        socket.send_close_stream()
        rest = list(socket)
    assert WORDS in words(heard) and heard[-1].speech_final
    assert again.channel.alternatives[0].transcript == "" and isinstance(rest[-1], ListenV1Metadata)


def test_python_hands_each_message_to_a_listener(client):
    told: list[object] = []
    with client.listen.v1.connect(model="nova-3") as socket:
        for event in (EventType.OPEN, EventType.MESSAGE, EventType.ERROR, EventType.CLOSE):
            socket.on(event, lambda message, event=event: told.append((event.value, message)))
        listening = threading.Thread(target=socket.start_listening)
        listening.start()
        for chunk in chunks():
            socket.send_media(chunk)
        socket.send_close_stream()
        listening.join(60)
    assert [event for event, _ in told if event != "message"] == ["open", "close"]
    assert isinstance(told[-2][1], ListenV1Metadata)


@pytest.mark.anyio
async def test_python_streams_without_threads_too(server):
    client = AsyncDeepgramClient(api_key=KEY, environment=environment(server))
    async with client.listen.v1.connect(model="nova-3", language="en-US", endpointing=300) as socket:
        for chunk in chunks():
            await socket.send_media(chunk)
        await socket.send_close_stream()
        results = [message async for message in socket if isinstance(message, ListenV1Results)]
    assert WORDS in words(results)


def test_python_sends_a_file(client):
    answer = client.listen.v1.media.transcribe_file(
        request=RECORDING.read_bytes(), model="nova-3", smart_format=True, utterances=True, keyterm=["Dickens"]
    )
    (said,) = answer.results.channels[0].alternatives
    assert WORDS in " ".join(word.word for word in said.words) and said.transcript.endswith(".")
    assert answer.results.utterances[0].words and answer.metadata.created


def test_python_is_told_that_no_address_is_fetched(client):
    with pytest.raises(ApiError) as refused:
        client.listen.v1.media.transcribe_url(url="https://example.org/a.wav", model="nova-3")
    assert refused.value.status_code == 400 and "no address" in str(refused.value.body)


@pytest.mark.parametrize(
    "key, options, status", [("another", {}, 401), (KEY, {"encoding": "flac"}, 400)], ids=["key", "encoding"]
)
def test_python_is_refused_at_the_upgrade_and_told_why(server, key, options, status):
    client = DeepgramClient(api_key=key, environment=environment(server))
    with pytest.raises(InvalidStatus) as refused, client.listen.v1.connect(model="nova-3", **options):
        pass
    assert refused.value.response.status_code == status
    assert set(json.loads(refused.value.response.body)) == {"err_code", "err_msg", "request_id"}


def test_python_is_granted_a_token_that_opens_a_session(client, server):
    token = client.auth.v1.tokens.grant(ttl_seconds=60)
    assert token.expires_in == 60
    assert token.access_token != KEY
    guest = DeepgramClient(access_token=token.access_token, environment=environment(server))
    with guest.listen.v1.connect(model="nova-3") as socket:
        socket.send_close_stream()
        assert isinstance(socket.recv(), ListenV1Metadata)


def test_the_library_for_node(server, tmp_path):
    node = shutil.which("node") or pytest.skip("node is not installed")
    if not (HERE.parent / "node_modules" / "@deepgram" / "sdk").is_dir():
        pytest.skip("the npm packages of the tests are not installed: make test does it where npm is")
    blobs, samples = tmp_path / "blobs.json", tmp_path / "samples.pcm"
    blobs.write_text(json.dumps([len(chunk) for chunk in chunks()]))
    samples.write_bytes(pcm())
    command = [node, HERE / "deepgram_sdk.mjs", server.url, KEY, RECORDING, blobs, samples]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert WORDS in told["blobs"]["words"] and WORDS in told["samples"]["words"]
    assert told["blobs"]["last"] == told["samples"]["last"] == "Metadata"
    assert told["blobs"]["closes"] == told["samples"]["closes"] == [1000]
    assert told["samples"]["answers"] == 2 and set(told["samples"]["types"]) <= {"Results", "UtteranceEnd", "Metadata"}
    assert WORDS in told["file"] and told["expires_in"] == 30
    assert told["headless"]["variant"] == "DATA-0000" and told["headless"]["code"] == 1008

"""The Realtime protocol as OpenAI's own library speaks it, and as a browser would: a real server, real speech."""

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Timer

import anyio
import numpy as np
import pytest
import soxr
from av import AudioCodecContext, AudioFrame
from openai import AsyncOpenAI, OpenAI
from openai.resources.realtime.realtime import RealtimeConnection
from openai.types.realtime import (
    ConversationItemInputAudioTranscriptionCompletedEvent,
    ConversationItemInputAudioTranscriptionDeltaEvent,
    InputAudioBufferClearedEvent,
    InputAudioBufferCommittedEvent,
    InputAudioBufferSpeechStartedEvent,
    RealtimeErrorEvent,
    SessionUpdatedEvent,
)
from openai_server import two_cities
from process import running_server
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from server.speech.types import RATE

KEY = "a-key-of-the-tests"
HERTZ = 24_000
WAIT_S = 30.0  # a busy machine reads ten seconds of speech in a fraction of it
TRANSCRIPTION = {"transcription": {"model": "gpt-4o-transcribe", "language": "en"}}
pytestmark = pytest.mark.filterwarnings(r"ignore:connect\(\) must be used:DeprecationWarning")  # the library's own
PCM = {"format": {"type": "audio/pcm", "rate": HERTZ}, **TRANSCRIPTION}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_server(SOTTO_ENGINE="moonshine", SOTTO_API_KEYS=KEY) as url:
        yield url


@cache
def said(start: float, end: float) -> tuple[str, ...]:
    """Of the reading, in base64, 200 ms each, with silence at the end."""
    heard = soxr.resample(two_cities()[round(start * RATE) : round(end * RATE)], RATE, HERTZ)
    data = (np.concatenate([heard, np.zeros(HERTZ)]) * 32767).astype("<i2").tobytes()
    return tuple(b64encode(data[at : at + 9600]).decode() for at in range(0, len(data), 9600))


def words(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalpha() or c == " ")


def until(connection, kind) -> list:
    """The library's events up to the first of a kind, each with all that its type promises."""
    events = []
    while not events or not isinstance(events[-1], kind):
        events.append(event := connection.recv())
        type(event).model_validate_json(event.to_json())
        assert not isinstance(event, RealtimeErrorEvent) or kind is RealtimeErrorEvent, event
    return events


def of(kind, events: list) -> list:
    return [event for event in events if isinstance(event, kind)]


@contextmanager
def speaking(url: str, **options) -> Iterator[RealtimeConnection]:
    """The library's connection; it waits for ever, so somebody else closes it where nothing comes."""
    with OpenAI(base_url=f"{url}/v1", api_key=KEY).realtime.connect(**options) as connection:
        late = Timer(WAIT_S, connection.close)
        late.start()
        try:
            yield connection
        finally:
            late.cancel()


def session(**audio_input):
    return {"type": "transcription", "audio": {"input": {**PCM, **audio_input}}}


def test_the_library_gets_the_words_of_each_turn(url: str) -> None:
    with speaking(url, extra_query={"intent": "transcription"}) as connection:
        assert connection.recv().type == "session.created"
        connection.session.update(session=session(turn_detection={"type": "server_vad", "silence_duration_ms": 500}))
        until(connection, SessionUpdatedEvent)
        for audio in said(0, 9.5):
            connection.input_audio_buffer.append(audio=audio)
        events = until(connection, ConversationItemInputAudioTranscriptionCompletedEvent)
    [started] = of(InputAudioBufferSpeechStartedEvent, events)[:1]
    assert words(events[-1].transcript).startswith("it was the best of times")
    assert events[-1].item_id == started.item_id and events[-1].usage.type == "duration"


def test_the_library_commits_by_itself_and_clears(url: str) -> None:
    with speaking(url, model="gpt-realtime") as connection:
        connection.session.update(session=session(turn_detection=None))
        for part, command in (((0, 2.3), "commit"), ((2.3, 4.0), "clear"), ((4.6, 9.5), "commit")):
            for audio in said(*part):
                connection.input_audio_buffer.append(audio=audio)
            getattr(connection.input_audio_buffer, command)()
        first = until(connection, ConversationItemInputAudioTranscriptionCompletedEvent)
        second = until(connection, ConversationItemInputAudioTranscriptionCompletedEvent)
    events = first + second
    assert len(of(InputAudioBufferClearedEvent, events)) == 1
    one, two = of(InputAudioBufferCommittedEvent, events)
    assert (one.previous_item_id, two.previous_item_id) == (None, one.item_id)
    assert not of(InputAudioBufferSpeechStartedEvent, events)
    assert "best" in first[-1].transcript and "worst" not in first[-1].transcript + second[-1].transcript
    assert "wisdom" in second[-1].transcript


@pytest.mark.parametrize("type, codec", [("audio/pcmu", "pcm_mulaw"), ("audio/pcma", "pcm_alaw")])
def test_words_from_a_telephone_are_understood(url: str, type: str, codec: str) -> None:
    with speaking(url) as connection:
        connection.session.update(session=session(format={"type": type}, turn_detection=None))
        connection.input_audio_buffer.append(audio=b64encode(telephone(codec)).decode())
        connection.input_audio_buffer.commit()
        events = until(connection, ConversationItemInputAudioTranscriptionCompletedEvent)
    assert words(events[-1].transcript).startswith("it was the best of times it was the worst of times")


def telephone(codec: str) -> bytes:
    """Nine seconds of the reading as a telephone has them."""
    encoder = AudioCodecContext.create(codec, "w")
    encoder.sample_rate, encoder.layout, encoder.format = 8000, "mono", "s16"
    heard = soxr.resample(two_cities()[: 9 * RATE], RATE, 8000)
    frame = AudioFrame.from_ndarray((heard * 32767).astype("<i2")[None], "s16", "mono")
    frame.sample_rate = 8000
    return b"".join(bytes(packet) for packet in encoder.encode(frame))


@pytest.mark.anyio
async def test_the_library_speaks_without_waiting_too_and_reads_deltas_meanwhile(url: str) -> None:
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY)
    with anyio.fail_after(WAIT_S):
        async with client.realtime.connect() as connection:
            await connection.session.update(session=session(turn_detection=None))
            for audio in said(0, 9.5):
                await connection.input_audio_buffer.append(audio=audio)
            await connection.input_audio_buffer.commit()
            events = []
            async for event in connection:
                events.append(event)
                if isinstance(event, ConversationItemInputAudioTranscriptionCompletedEvent):
                    break
    deltas = of(ConversationItemInputAudioTranscriptionDeltaEvent, events)
    assert "worst of times" in events[-1].transcript
    assert words("".join(delta.delta for delta in deltas))[:12] == words(events[-1].transcript)[:12]


def test_the_library_is_told_of_its_faults_and_goes_on(url: str) -> None:
    with speaking(url) as connection:
        connection.input_audio_buffer.commit(event_id="mine")
        [*_, empty] = until(connection, RealtimeErrorEvent)
        connection.response.create()
        [unknown] = until(connection, RealtimeErrorEvent)
        connection.input_audio_buffer.clear()
        assert until(connection, InputAudioBufferClearedEvent)
    assert (empty.error.code, empty.error.event_id) == ("input_audio_buffer_commit_empty", "mine")
    assert unknown.error.type == "invalid_request_error" and "response.create" in unknown.error.message


def test_the_library_mints_a_secret_and_a_browser_speaks_with_it(url: str) -> None:
    wish = {"type": "transcription", "audio": {"input": {"transcription": {"prompt": "Dickens"}}}}
    secret = OpenAI(base_url=f"{url}/v1", api_key=KEY).realtime.client_secrets.create(session=wish)
    assert secret.session.type == "transcription" and secret.session.audio.input.transcription.prompt == "Dickens"
    with page(url, secret.value) as socket:
        assert socket.subprotocol == "realtime"
        assert json.loads(socket.recv(WAIT_S))["session"]["audio"]["input"]["transcription"]["prompt"] == "Dickens"
        for audio in said(0, 4.5):
            socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        while not (event := json.loads(socket.recv(WAIT_S)))["type"].endswith(".completed"):
            pass
    assert "best" in event["transcript"]


def page(url: str, key: str) -> ClientConnection:
    """As `new WebSocket(url, [...])` in a page of this server opens it."""
    protocols = ["realtime", f"openai-insecure-api-key.{key}"]
    return connect(f"ws{url[4:]}/v1/realtime?intent=transcription", subprotocols=protocols, origin=url)


def test_a_wrong_key_is_told_before_the_upgrade_to_a_program_and_after_it_to_a_page(url: str) -> None:
    with pytest.raises(InvalidStatus) as refused, OpenAI(base_url=f"{url}/v1", api_key="x").realtime.connect():
        pass
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["error"]["code"] == "auth.invalid"
    with page(url, "sk-wrong") as socket:
        assert json.loads(socket.recv(WAIT_S))["error"]["code"] == "auth.invalid"
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(WAIT_S)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 3000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"

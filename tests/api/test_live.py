"""WS /api/captions: the story of a session, and everything that may go wrong with one."""

import asyncio
import logging

import anyio
import numpy as np
import pytest
from httpx_ws import WebSocketDisconnect

from server.api import line
from server.batch.decode import decode
from server.engines.openai import OpenAI
from server.errors import SottoError
from server.rooms.outbox import Outbox

from .conftest import RECORDINGS, STOP, Clock, Site, Until, chunks, read, send, serving
from .engines import Breaks, Counts, Hesitates, Refuses, Waits
from .test_resume import Oracle

CHUNKS = chunks()
HALF = len(CHUNKS) // 2
SPOKEN = [*CHUNKS[:HALF], Until("partial"), *CHUNKS[HALF:]]  # at a pace at which partials are of use

pytestmark = pytest.mark.anyio


# -- the story ---------------------------------------------------------------------------------------------------


async def test_a_session_is_ready_then_partials_then_a_final_then_done():
    async with serving() as site:
        told = await site.say(*SPOKEN, STOP)
    types = [message["type"] for message in told.messages]
    assert types[0] == "ready" and types[-1] == "done" and (told.code, told.reason) == (1000, "")
    assert types.index("partial") < types.index("final")
    finals = told.of("final")
    assert [final["offset"] for final in finals] == [*range(1, len(finals) + 1)]
    assert finals[0]["text"].startswith("zero one two") and finals[0]["start"] < finals[0]["end"]
    assert told.messages[-1]["finals"] == len(finals) and 9 < told.messages[-1]["audio_s"] < 10


async def test_the_agreed_part_of_a_partial_does_not_change():
    async with serving() as site:
        told = await site.say(*SPOKEN, STOP)
    for former, later in zip(told.of("partial"), told.of("partial")[1:], strict=False):
        if former["utterance"] == later["utterance"]:
            assert later["text"].startswith(former["text"][: former["stable"]])


async def test_options_come_as_the_query():
    engine = Counts()
    async with serving(engine) as site:
        told = await site.say(*CHUNKS, STOP, query="?language=de&prompt=Sotto&interim=0&room=keynote")
    assert told.messages[0]["room"] == "keynote"
    assert not told.of("partial") and told.of("final")
    assert {asked.language for asked in engine.asked} == {"de"} and engine.asked[0].prompt == "Sotto"


async def test_options_come_as_the_first_message_and_win_over_the_query():
    engine = Counts()
    async with serving(engine) as site:
        start = {"type": "start", "language": "de-AT", "interim": True}
        told = await site.say(start, *SPOKEN, STOP, query="?language=en&interim=false&prompt=Sotto")
    assert told.of("partial") and told.code == 1000
    assert {asked.language for asked in engine.asked} == {"de"} and engine.asked[0].prompt == "Sotto"


@pytest.mark.parametrize("encoding, channels", [("pcm_s16le", 1), ("pcm_f32le", 2)])
async def test_raw_samples_are_told_at_the_start(encoding, channels):
    pcm = speech()
    data = (pcm * 32767).astype("<i2") if encoding == "pcm_s16le" else pcm.astype("<f4").repeat(channels)
    start = {"type": "start", "audio": {"encoding": encoding, "sample_rate": 16000, "channels": channels}}
    async with serving() as site:
        told = await site.say(start, *pieces(data.tobytes(), 32_001), STOP)
    assert told.of("final") and told.messages[-1]["audio_s"] == pytest.approx(len(pcm) / 16000, abs=0.2)


async def test_empty_and_one_byte_chunks_are_normal():
    data = b"".join(CHUNKS)
    async with serving() as site:
        whole = await site.say(*CHUNKS, STOP)
        told = await site.say(b"", *pieces(data[:300], 1), b"", *pieces(data[300:], 4000), b"", STOP)
    assert told.code == 1000
    assert told.messages[-1]["audio_s"] == whole.messages[-1]["audio_s"]


async def test_stop_without_audio_is_done():
    async with serving() as site:
        told = await site.say(STOP)
    assert [message["type"] for message in told.messages] == ["ready", "done"] and told.code == 1000
    assert told.messages[-1] == {"type": "done", "audio_s": 0.0, "spoken_s": 0.0, "billed_s": 0.0, "finals": 0}


async def test_a_recording_without_speech_has_no_captions():
    engine = Counts()
    start = {"type": "start", "audio": {"encoding": "pcm_s16le", "sample_rate": 16000}}
    async with serving(engine) as site:
        told = await site.say(start, bytes(64_000), STOP)
    assert [message["type"] for message in told.messages] == ["ready", "ack", "done"] and not engine.asked


async def test_finalize_makes_what_was_said_final_at_once():
    async with serving() as site, site.open() as socket:
        for chunk in CHUNKS[:HALF]:
            await send(socket, chunk)
        await send(socket, {"type": "finalize"})
        first = await read(socket, until="final")
        for chunk in CHUNKS[HALF:]:
            await send(socket, chunk)
        await send(socket, STOP)
        rest = await read(socket)
    assert first.of("final")[0]["end"] < 6
    assert rest.of("final")[0]["start"] >= first.of("final")[0]["end"] - 0.3


async def test_a_second_recorder_goes_on_in_the_same_session():
    async with serving() as site:
        other = chunks("chromium-mp4-opus.mp4")
        told = await site.say(*CHUNKS, {"type": "recording"}, *other, STOP)
    assert told.code == 1000 and told.messages[-1]["audio_s"] > 18
    starts = [final["start"] for final in told.of("final")]
    assert starts == sorted(starts) and starts[-1] > 9


async def test_finals_that_were_settled_in_one_moment_have_an_offset_each():
    async with serving(Hesitates(border=9), engine_concurrency=4) as site:
        told = await site.say(*CHUNKS, {"type": "recording"}, *chunks("chromium-mp4-opus.mp4"), STOP)
    finals = told.of("final")
    assert [final["offset"] for final in finals] == [*range(1, len(finals) + 1)] and len(finals) > 1


async def test_a_recorder_may_begin_again_before_its_first_byte():
    async with serving() as site:
        told = await site.say({"type": "recording"}, {"type": "recording"}, *CHUNKS, STOP)
    assert told.of("final") and told.code == 1000


# -- faults of the client ----------------------------------------------------------------------------------------

WRONG = {
    "no JSON": ["hello"],
    "no object": ["[1]"],
    "null": ["null"],
    "no type": ["{}"],
    "an unknown type": [{"type": "begin"}],
    "start after audio": [b"\x1a", {"type": "start"}],
    "start after finalize": [{"type": "finalize"}, {"type": "start"}],
    "start after a recorder": [{"type": "recording"}, {"type": "start"}],
    "a room with a blank": [{"type": "start", "room": "my room"}],
    "a sample rate of one": [{"type": "start", "audio": {"encoding": "pcm_s16le", "sample_rate": 1}}],
    "an encoding nobody knows": [{"type": "start", "audio": {"encoding": "opus", "sample_rate": 48000}}],
    "a language nobody knows": [{"type": "start", "language": "xx"}],
    "a prompt without end": [{"type": "start", "prompt": "a" * 2001}],
}


@pytest.mark.parametrize("said", WRONG.values(), ids=WRONG)
async def test_what_is_no_message_is_told_and_the_session_ends(said):
    async with serving() as site:
        told = await site.say(*said)
    assert (told.code, told.reason) == (4500, "request.invalid")
    assert told.error["code"] == "request.invalid" and told.error["retryable"] is False
    assert told.error["request_id"].startswith("r_") and "\n" not in told.error["message"]
    assert "tag" not in told.error["message"]


async def test_the_query_is_checked_like_a_message():
    async with serving() as site:
        assert (await site.say(query="?interim=perhaps")).error["param"] == "interim"
        told = await site.say(query="?language=xx")
    assert told.code == 4500 and told.error["param"] == "language"
    assert told.error["message"] == "counts knows de, en, not 'xx'; leave it out to let the engine decide"


@pytest.mark.parametrize("language", ["EN", "en_US", "auto", "multi", ""])
async def test_languages_are_understood_as_browsers_spell_them(language):
    async with serving() as site:
        told = await site.say(STOP, query=f"?language={language}")
    assert told.code == 1000


@pytest.mark.parametrize(
    "wish, code", [("en-US", "en"), ("de_AT", "de"), ("nb-NO", "no"), ("zh-Hant-TW", "zh"), ("yue-HK", "yue")]
)
async def test_an_engine_of_many_languages_is_asked_for_one_without_its_region(wish, code):
    engine = Counts()
    engine.languages = OpenAI.languages
    async with serving(engine) as site:
        assert site.service.language(wish) == code
        assert (await site.say(query="?language=xx-nonsense")).error["param"] == "language"


async def test_a_room_that_cannot_be_is_told_in_words():
    async with serving() as site:
        told = await site.say(query="?room=my%20room")
    assert told.error["message"] == "room: expected 1 to 64 letters, digits, - or _"


@pytest.mark.parametrize("data", [b"<html><body>", b"ffconcat version 1.0\nfile x\n", bytes(16), b"RIFF1234AVI "])
async def test_what_is_no_audio_is_told(data):
    async with serving() as site:
        told = await site.say(data)
    assert (told.code, told.reason) == (4515, "audio.unsupported_format")
    assert told.error["message"] == f"expected WebM, MP4, Ogg or WAV, got bytes starting {data[:4].hex(' ')}"


async def test_what_was_said_before_a_fault_is_read_before_it():
    async with serving() as site:
        told = await site.say(*CHUNKS, {"type": "recording"}, b"<html><body>")
    assert told.code == 4515
    assert [message["type"] for message in told.messages[-2:]] == ["final", "error"]


@pytest.mark.parametrize("said", [bytes(2000), "a" * 2000])
async def test_a_message_that_is_too_large_is_told(said):
    async with serving(max_message_bytes=1024) as site:
        told = await site.say(said)
    assert (told.code, told.reason) == (4517, "audio.too_large")
    assert told.error["message"] == "a message has at most 1024 bytes, this one has 2000"


async def test_a_message_of_just_the_limit_is_taken():
    async with serving(max_message_bytes=1024) as site:
        told = await site.say(*pieces(b"".join(CHUNKS)[:20_480], 1024), STOP)
    assert told.code == 1000


# -- limits ------------------------------------------------------------------------------------------------------


async def test_who_says_nothing_is_sent_away(clock: Clock):
    async with serving() as site, site.open() as socket:
        await clock.forward(61)
        told = await read(socket)
    assert (told.code, told.reason) == (4008, "idle.timeout") and told.error["retryable"] is True


async def test_keepalive_keeps_alive_and_changes_nothing(clock: Clock):
    async with serving() as site, site.open() as socket:
        for _ in range(3):
            await clock.forward(40)
            await send(socket, {"type": "keepalive"})
        await send(socket, {"type": "start", "language": "en"})
        await send(socket, STOP)
        told = await read(socket)
    assert [message["type"] for message in told.messages] == ["ready", "ack", "done"]


async def test_a_session_has_an_end(clock: Clock):
    async with serving(session_s=100, idle_s=60) as site, site.open() as socket:
        for _ in range(3):
            await clock.forward(40)
            await send(socket, {"type": "keepalive"})
        told = await read(socket)
    assert (told.code, told.reason) == (4513, "session.too_long")


async def test_a_session_ends_in_silence_too(clock: Clock):
    async with serving(session_s=100, idle_s=600) as site, site.open() as socket:
        await clock.forward(101)
        assert (await read(socket)).code == 4513


async def test_when_all_sessions_are_taken_one_is_told_to_come_back():
    async with serving(max_sessions=1) as site:
        async with site.open() as first:
            assert (await read(first, until="ready")).messages
            told = await site.say(STOP)
            assert (told.code, told.reason) == (4030, "quota.sessions")
            assert told.error["retryable"] is True and told.error["retry_after_s"] == 5
            await send(first, STOP)
            assert (await read(first)).code == 1000
        await anyio.wait_all_tasks_blocked()
        assert (await site.say(STOP)).code == 1000


async def test_a_server_that_is_being_stopped_takes_nobody():
    async with serving() as site:
        site.service.drain()
        told = await site.say(STOP)
    assert (told.code, told.reason) == (1012, "server.draining") and told.error["retryable"] is True


async def test_when_the_server_is_stopped_what_was_said_is_made_final_first():
    async with serving(Oracle()) as site, site.open() as socket:
        for chunk in CHUNKS[:HALF]:
            await send(socket, chunk)
        await read(socket, until="partial")
        site.service.drain()
        told = await read(socket)
    assert [message["type"] for message in told.messages][-3:] == ["final", "reconnect", "error"]
    assert (told.code, told.reason) == (1012, "server.draining") and told.error["retryable"] is True


async def test_a_stop_does_not_wait_for_who_goes_on_talking():
    async with serving() as site, site.open() as socket:
        await read(socket, until="ready")
        site.service.drain()
        for chunk in CHUNKS:
            await send(socket, chunk)
        told = await read(socket)
    assert told.code == 1012 and not told.of("final")


async def test_a_stop_does_not_wait_for_an_engine_beyond_its_time(clock: Clock):
    engine = Waits()
    async with serving(engine, drain_s=10) as site, site.open() as socket:
        for chunk in CHUNKS[:HALF]:
            await send(socket, chunk)
        await read(socket, until="partial")
        await send(socket, {"type": "finalize"})
        await anyio.to_thread.run_sync(engine.asked_for_final.wait, 20)
        site.service.drain()
        await clock.forward(5)
        assert site.service.busy
        await clock.forward(6)
        told = await read(socket)
        engine.go.set()
    assert told.code == 1012 and not told.of("final")


async def test_silence_on_the_line_makes_what_was_said_final(clock: Clock):
    async with serving(Oracle()) as site, site.open() as socket:
        for chunk in CHUNKS[:HALF]:
            await send(socket, chunk)
        await read(socket, until="partial")
        await clock.forward(3)
        told = await read(socket, until="final")
    assert told.of("final")


# -- leaving -----------------------------------------------------------------------------------------------------


class Bare:
    """A client at the bare interface of ASGI: the socket takes what it is told once `reads` is set.

    With `leave` it goes away at the first message that has this text in it.
    """

    def __init__(self, *said: bytes | str, leave: str = "") -> None:
        self.reads, self.told, self._left = anyio.Event(), anyio.Event(), anyio.Event()
        self.got: list[dict] = []
        self._leave = leave
        self._said = [{"type": "websocket.connect"}]
        self._said += [{"type": "websocket.receive", "bytes" if isinstance(s, bytes) else "text": s} for s in said]

    @property
    def text(self) -> str:
        return "".join(message.get("text", "") for message in self.got)

    async def visit(self, site: Site) -> None:
        """One connection; returns when the server has done with it."""
        scope = {"type": "websocket", "path": "/api/captions", "query_string": b"", "headers": [], "app": site.app}
        await site.app(scope, self._receive, self._send)

    async def _receive(self) -> dict:
        if self._said:
            return self._said.pop(0)
        await self._left.wait()
        return {"type": "websocket.disconnect", "code": 1006}

    async def _send(self, message: dict) -> None:
        if message["type"] != "websocket.accept":
            self.told.set()
            await self.reads.wait()
        self.got.append(message)
        if self._leave and self._leave in self.text:
            self._left.set()


async def test_a_client_that_vanishes_leaves_nothing(tmp_path):
    async with serving(temp_dir=tmp_path) as site:
        before = asyncio.all_tasks()
        client = Bare(*CHUNKS[:HALF], leave='"partial"')
        client.reads.set()
        await client.visit(site)
        assert '"partial"' in client.text
        assert list(tmp_path.iterdir()) == [] and not site.service.sessions
        await anyio.wait_all_tasks_blocked()
        assert asyncio.all_tasks() == before


async def test_a_client_that_vanishes_while_the_engine_works_leaves_nothing_either(tmp_path):
    engine = Waits()
    async with serving(engine, temp_dir=tmp_path) as site:
        client = Bare(*CHUNKS[:HALF], leave='"partial"')
        client.reads.set()
        await client.visit(site)
        assert list(tmp_path.iterdir()) == [] and not site.service.sessions
        engine.go.set()


async def test_while_a_session_runs_its_recording_lies_in_one_file(tmp_path):
    async with serving(temp_dir=tmp_path) as site, site.open() as socket:
        for chunk in CHUNKS[:HALF]:
            await send(socket, chunk)
        await send(socket, {"type": "finalize"})
        await read(socket, until="final")
        (file,) = tmp_path.iterdir()
        written = file.read_bytes()
        assert file.suffix == ".webm" and len(written) > 1000
        assert b"".join(CHUNKS[:HALF]).startswith(written)
        assert len(site.service.sessions) == 1


async def test_the_recording_is_deleted_when_the_session_is_done(tmp_path):
    async with serving(temp_dir=tmp_path) as site:
        assert (await site.say(*CHUNKS, STOP)).code == 1000
        await anyio.wait_all_tasks_blocked()
        assert list(tmp_path.iterdir()) == [] and not site.service.sessions


async def test_recordings_are_kept_where_the_server_is_told_to(tmp_path):
    kept, folder = tmp_path / "kept", tmp_path / "tmp"
    kept.mkdir()
    folder.mkdir()
    other = chunks("chromium-mp4-opus.mp4")
    async with serving(temp_dir=folder, recordings_dir=kept) as site:
        told = await site.say(*CHUNKS, {"type": "recording"}, *other, STOP)
    id = told.messages[0]["session"]
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == {
        f"{id}.webm": b"".join(CHUNKS), f"{id}-2.mp4": b"".join(other),
    }  # fmt: skip
    assert list(folder.iterdir()) == []


async def test_a_second_engine_reads_what_the_first_cannot():
    class Blind(Refuses):
        wants_samples = False

    engine = Counts()
    async with serving(Blind(), engine, openai_api_key="key", fallback_engine="moonshine") as site:
        told = await site.say(*CHUNKS, STOP)
        assert site.service.pool.wants_samples
    assert told.of("final")[0]["text"].startswith("zero one two") and engine.closed
    assert len(engine.asked[0].audio.samples())


# -- slow readers ------------------------------------------------------------------------------------------------


async def test_a_slow_reader_loses_partials_and_no_final(caplog):
    caplog.set_level(logging.INFO, "sotto")
    client = Bare(*CHUNKS, '{"type":"stop"}')

    class WhenDone(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "done" in record.getMessage():
                client.reads.set()

    logging.getLogger("sotto").addHandler(handler := WhenDone())
    try:
        async with serving() as site:
            await client.visit(site)
    finally:
        logging.getLogger("sotto").removeHandler(handler)
    assert '"final"' in client.text and '"done"' in client.text and '"partial"' not in client.text
    assert client.got[-1] == {"type": "websocket.close", "code": 1000, "reason": ""}


async def test_who_never_reads_loses_the_connection(clock: Clock):
    client = Bare()
    async with serving() as site:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.visit, site)
            await client.told.wait()
            assert len(site.service.sessions) == 1
            await clock.forward(line.SEND_S + 1)
        assert not site.service.sessions


async def test_an_outbox_that_is_full_ends_with_a_reason():
    outbox = Outbox(limit=3)
    for number in range(4):
        outbox.put(str(number))
    with pytest.raises(SottoError) as slow:
        await outbox.next()
    assert (slow.value.code, slow.value.close, slow.value.retryable) == ("client.slow", 4010, True)


# -- faults of ours ----------------------------------------------------------------------------------------------


async def test_an_engine_with_a_fault_of_its_own_does_not_end_the_session():
    async with serving(Breaks()) as site:
        told = await site.say(*CHUNKS, STOP)
    assert told.of("final") and told.messages[-1]["type"] == "done" and told.code == 1000


async def test_an_engine_that_never_answers_is_told_of_and_the_reason_is_in_the_log(caplog):
    caplog.set_level(logging.INFO, "sotto")
    async with serving(Refuses()) as site:
        told = await site.say(*CHUNKS, STOP)
    assert told.code == 1000 and not told.of("final")
    warning = told.of("warning")[0]
    assert warning["code"] == "caption.degraded" and "no text" in warning["message"]
    assert "the key is wrong" in caplog.text and "the key is wrong" not in str(told.messages)


async def test_a_fault_of_ours_is_told_as_such_and_logged_with_its_id(tmp_path, caplog):
    folder = tmp_path / "spool"
    folder.mkdir()
    async with serving(temp_dir=folder) as site, site.open() as socket:
        await read(socket, until="ready")
        folder.rmdir()
        await send(socket, CHUNKS[0])
        await send(socket, CHUNKS[1])
        told = await read(socket)
    assert (told.code, told.reason) == (1011, "internal")
    assert told.error["code"] == "internal" and str(tmp_path) not in str(told.error)
    assert "FileNotFoundError" in caplog.text


# -- who may ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "http://localhost:9"},
        {"origin": "http://evil.example", "host": "evil.example"},  # a name that was pointed at 127.0.0.1
        {"origin": "http://localhost.evil.example", "host": "localhost.evil.example"},
    ],
    ids=str,
)
async def test_a_foreign_page_is_turned_away_before_the_upgrade(headers):
    async with serving() as site:
        with pytest.raises(WebSocketDisconnect) as refused:
            async with site.open(**headers):
                pass
    assert refused.value.code == 4503


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000"])
async def test_the_servers_own_page_may(host):
    async with serving() as site, site.open(origin=f"http://{host.lower()}", host=host) as socket:
        assert (await read(socket, until="ready")).messages


async def test_other_pages_may_when_they_are_named():
    async with serving(allowed_origins="https://Example.org/, https://b.example") as site:
        for origin in ("https://example.org", "https://b.example"):
            async with site.open(origin=origin) as socket:
                assert (await read(socket, until="ready")).messages


async def test_on_a_public_address_the_own_name_is_enough():
    async with serving(host="0.0.0.0") as site:
        async with site.open(origin="http://captions.example", host="captions.example") as socket:
            assert (await read(socket, until="ready")).messages


def every_fault(of: type[SottoError] = SottoError) -> list[type[SottoError]]:
    return [of, *(fault for kind in of.__subclasses__() for fault in every_fault(kind))]


@pytest.mark.parametrize("fault", every_fault(), ids=lambda fault: fault.__name__)
def test_a_close_code_and_its_reason_fit_into_the_frame(fault):
    assert len(fault.code.encode()) <= 123  # RFC 6455, 5.5.1
    assert fault.close in (1011, 1012, 1013) or 4000 <= fault.close <= 4999
    assert fault.retryable == (fault.close in (1012, 1013) or 4000 <= fault.close < 4500)


# ------------------------------------------------------------------------------------------------------------------


def speech() -> np.ndarray:
    """Someone speaks, as float32 of -1 to 1 at 16 kHz."""
    with (RECORDINGS / "chromium-webm-opus.webm").open("rb") as file:
        return np.concatenate(list(decode(file, longest_s=60)))


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]

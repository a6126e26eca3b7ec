"""Whatever breaks, every word comes once: the client keeps what is not final; a ticket tells any server the rest."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from httpx_ws import AsyncWebSocketSession

from server.engines.base import Speech
from server.engines.moonshine import Moonshine
from server.speech.types import Hypothesis, Word
from server.tickets import open_ticket, seal

from .conftest import SECRET, STOP, Clock, Site, Told, chunks, read, send, serving
from .engines import Counts, Waits

pytestmark = pytest.mark.anyio

CHUNKS = chunks()
HALF = len(CHUNKS) // 2

# What is said in the recordings, and when (forced alignment of the clip; Chromium's recording of it begins as it does).
SAID = [
    ("It", 1.17, 1.35), ("was", 1.35, 1.61), ("the", 1.61, 1.67), ("best", 1.67, 2.03), ("of", 2.03, 2.13),
    ("times,", 2.13, 2.96), ("it", 2.96, 3.09), ("was", 3.09, 3.29), ("the", 3.29, 3.36), ("worst", 3.36, 3.77),
    ("of", 3.77, 3.87), ("times,", 3.87, 4.59), ("it", 5.01, 5.09), ("was", 5.09, 5.27), ("the", 5.27, 5.37),
    ("age", 5.37, 5.63), ("of", 5.63, 5.75), ("wisdom,", 5.75, 6.2), ("it", 6.66, 6.74), ("was", 6.74, 6.92),
    ("the", 6.92, 7.01), ("age", 7.01, 7.26), ("of", 7.26, 7.33), ("foolishness,", 7.33, 8.22),
]  # fmt: skip
WORDS = [word for word, _, _ in SAID]
LASTS_S = 9.5
EAGER = {"endpoint_s": 0.25, "endpoint_settled_s": 0.25}  # a final at every breath


class Oracle(Counts):
    """Knows what is said when, again and again every `lasts`; makes out a word of which seven tenths are there."""

    name = "oracle"

    def __init__(self, word_times: bool = True) -> None:
        super().__init__()
        self._word_times = word_times

    def transcribe(self, speech: Speech) -> Hypothesis:
        self.asked.append(speech)
        said = [Word(word, s + n * LASTS_S, e + n * LASTS_S) for n in range(3) for word, s, e in SAID]
        found = [
            replace(word, start=max(word.start, speech.start), end=min(word.end, speech.end))
            for word in said
            if speech.start <= word.start + 0.7 * (word.end - word.start) < speech.end
        ]
        words = tuple(found) if self._word_times else ()
        return Hypothesis(" ".join(word.text for word in found), words, language="en")


@dataclass
class Client:
    """A browser: keeps what it recorded, and the newest acknowledgement."""

    recordings: list[bytes] = field(default_factory=lambda: [b"".join(CHUNKS)])
    ack: dict[str, Any] = field(default_factory=dict)
    finals: dict[int, str] = field(default_factory=dict)  # by offset
    doubled: list[int] = field(default_factory=list)  # offsets that came twice
    told: Told = field(default_factory=lambda: Told([], 0, ""))  # the last time

    def hear(self, told: Told) -> None:
        for message in told.messages:
            self.ack = message.get("ack") or (message if message["type"] == "ack" else self.ack)
            if message["type"] == "final":
                self.doubled += [message["offset"]] if message["offset"] in self.finals else []
                self.finals[message["offset"]] = message["text"]

    @property
    def words(self) -> list[str]:
        assert list(self.finals) == [*range(1, len(self.finals) + 1)] and not self.doubled
        return " ".join(self.finals.values()).split()

    @asynccontextmanager
    async def back(self, site: Site) -> AsyncIterator[AsyncWebSocketSession]:
        """Comes back with the newest ticket and sends all it has kept, but for the stop."""
        async with site.open() as socket:
            await send(socket, {"type": "resume", "ticket": self.ack["ticket"]})
            told = await read(socket, until="resumed")
            self.hear(told)
            place = told.messages[-1]
            recording = self.recordings[place["recording"]]
            await send(socket, recording[: place["header"]])
            for piece in cut(recording[place["bytes"] :]):
                await send(socket, piece)
            for later in self.recordings[place["recording"] + 1 :]:
                await send(socket, {"type": "recording"})
                for piece in cut(later):
                    await send(socket, piece)
            yield socket

    async def end(self, site: Site) -> Told:
        """Comes back, sends the rest, and stops."""
        async with self.back(site) as socket:
            await send(socket, STOP)
            told = await read(socket)
        self.hear(told)
        return told


def cut(data: bytes) -> list[bytes]:
    return [data[at : at + 1500] for at in range(0, len(data), 1500)]


async def speak(socket: AsyncWebSocketSession, pieces: list[bytes]) -> None:
    """Returns when the server has taken them all."""
    for piece in pieces:
        await send(socket, piece)
    await anyio.wait_all_tasks_blocked()


# -- the story -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word_times", [True, False])
@pytest.mark.parametrize("told", [2, 3, 4, 5, 6])
async def test_a_server_dies_in_mid_speech_and_another_goes_on(told, word_times):
    async with serving(Oracle(word_times), **EAGER) as site:
        visitor = Vanishing(site, *CHUNKS, leave_after=told)
        await visitor.visit()
    client = visitor.client
    before = dict(client.finals)
    async with serving(Oracle(word_times), **EAGER) as other:
        done = (await client.end(other)).messages[-1]
    assert client.words == WORDS and before.items() <= client.finals.items()
    assert done["type"] == "done" and done["finals"] == len(client.finals) and 9 < done["audio_s"] < 10


async def test_it_may_die_again_and_again():
    async with serving(Oracle(), **EAGER) as site:
        visitor = Vanishing(site, *CHUNKS, leave_after=2)
        await visitor.visit()
    client, generations = visitor.client, []
    while len(client.finals) < 2:
        async with serving(Oracle(), **EAGER) as site, client.back(site) as socket:
            client.hear(await read(socket, until="final"))
            generations.append(open_ticket(client.ack["ticket"], SECRET.encode(), time.time()).generation)
    async with serving(Oracle(), **EAGER) as site:
        await client.end(site)
    assert client.words == WORDS and generations == [2, 3]


@pytest.mark.parametrize("name", ["chromium-webm-opus.webm", "chromium-mp4-opus.mp4"])
async def test_at_every_final_another_server_may_go_on(name):
    async with serving(Oracle(), **EAGER) as site:
        told = await site.say(*chunks(name), STOP)
    whole = Client()
    whole.hear(told)
    assert whole.words == WORDS and len(whole.finals) >= 3
    for at in [i for i, message in enumerate(told.messages) if "ack" in message or message["type"] == "ack"]:
        client = Client([b"".join(chunks(name))])
        client.hear(Told(told.messages[: at + 1], 0, ""))
        async with serving(Oracle(), **EAGER) as other:
            await client.end(other)
        assert client.words == WORDS


async def test_the_time_line_and_the_numbers_go_on():
    client = Client()
    async with serving(Oracle(), **EAGER) as site:
        whole = await site.say(*CHUNKS, STOP)
    client.hear(Told(whole.messages[: whole.messages.index(whole.of("final")[1]) + 1], 0, ""))
    async with serving(Oracle(), **EAGER) as other:
        told = await client.end(other)
    later = whole.of("final")[2:]
    assert [f["offset"] for f in told.of("final")] == [f["offset"] for f in later]
    assert [f["utterance"] for f in told.of("final")] == [f["utterance"] for f in later]
    assert [f["start"] for f in told.of("final")] == pytest.approx([f["start"] for f in later], abs=0.1)
    assert told.messages[-1]["spoken_s"] == pytest.approx(whole.messages[-1]["spoken_s"], abs=0.3)
    assert told.messages[-1]["audio_s"] == pytest.approx(whole.messages[-1]["audio_s"], abs=0.05)


async def test_what_a_client_is_told_when_it_comes_back():
    client = Client()
    async with serving(Oracle(), **EAGER) as site:
        first = await site.say(*CHUNKS, STOP, query="?room=keynote&language=en&prompt=Sotto&interim=0")
    client.hear(Told([m for m in first.messages if m["type"] != "done"][:-1], 0, ""))
    engine = Oracle()
    async with serving(engine, **EAGER) as other, client.back(other) as socket:
        await send(socket, STOP)
        told = await read(socket)
    assert [m["type"] for m in first.messages[:2]] == ["ready", "ack"]
    assert (first.messages[1]["recording"], first.messages[1]["bytes"], first.messages[1]["header"]) == (0, 0, 0)
    assert not told.of("partial") and {(asked.language, asked.prompt[:5]) for asked in engine.asked} == {
        ("en", "Sotto")
    }


async def test_ready_and_resumed_name_the_session_that_goes_on():
    client = Client()
    async with serving(Oracle(), **EAGER) as site:
        first = await site.say(*CHUNKS, STOP, query="?room=keynote")
        client.hear(first)
        async with site.open() as socket:
            await send(socket, {"type": "resume", "ticket": client.ack["ticket"]})
            fresh, ready, ack, resumed = (await read(socket, until="resumed")).messages
    assert fresh["session"] != ready["session"] == resumed["session"] == first.messages[0]["session"]
    assert ready["room"] == "keynote" and ready["limits"]["resume_s"] == 600
    assert (resumed["offset"], resumed["generation"]) == (len(client.finals), 2)
    assert all(resumed[key] == ack[key] == client.ack[key] for key in ("recording", "bytes", "header"))
    assert 0 < resumed["header"] < resumed["bytes"] and ack["ticket"] != client.ack["ticket"]


@pytest.mark.parametrize("keep", [2, 4, 6, 8])
async def test_a_second_recorder_is_counted_and_found_again(keep):
    other = chunks("chromium-mp4-opus.mp4")
    client = Client([b"".join(CHUNKS), b"".join(other)])
    async with serving(Oracle(), **EAGER) as site:
        whole = await site.say(*CHUNKS, {"type": "recording"}, *other, STOP)
    finals = whole.of("final")
    assert finals[0]["ack"]["recording"] == 0 and finals[-1]["ack"]["recording"] == 1 and len(finals) >= 6
    last = finals[min(keep, len(finals)) - 1]
    client.hear(Told(whole.messages[: whole.messages.index(last) + 1], 0, ""))
    async with serving(Oracle(), **EAGER) as site:
        await client.end(site)
    assert client.words == " ".join(final["text"] for final in finals).split()
    assert client.words[:24] == WORDS and len(client.words) >= 47


async def test_raw_samples_go_on_without_being_told_again():
    start = {"type": "start", "audio": {"encoding": "pcm_s16le", "sample_rate": 16000}}
    from .test_live import speech

    client = Client([(speech() * 32767).astype("<i2").tobytes()])
    async with serving(Oracle(), **EAGER) as site:
        told = await site.say(start, *[client.recordings[0][at : at + 8000] for at in range(0, 200_000, 8000)], STOP)
    client.hear(Told(told.messages[:-1], 0, ""))
    client.finals = {}
    client.hear(Told(told.of("ack") + told.of("final")[:2], 0, ""))
    async with serving(Oracle(), **EAGER) as other:
        await client.end(other)
    assert client.words == WORDS


async def test_the_embedded_engine_hears_the_same_after_a_break():
    async with serving(Moonshine()) as site:
        whole = await site.say(*CHUNKS, STOP)
    async with serving(Moonshine(), **EAGER) as site:
        told = await site.say(*CHUNKS, STOP)
    finals = told.of("final")
    assert len(finals) >= 2
    for at in range(len(finals) - 1):
        client = Client()
        client.hear(Told(finals[: at + 1], 0, ""))
        async with serving(Moonshine(), **EAGER) as other:
            await client.end(other)
        heard = " ".join(client.words).lower().replace(",", "").replace(".", "")
        assert heard.count("it was the") == 4, (heard, whole)


async def test_in_a_long_silence_an_acknowledgement_comes_by_itself():
    start = {"type": "start", "audio": {"encoding": "pcm_s16le", "sample_rate": 16000}}
    client = Client([bytes(32_000 * 35)])
    async with serving(Oracle()) as site:
        told = await site.say(start, *[bytes(32_000)] * 35, STOP)
    client.hear(told)
    acks = [ack["bytes"] for ack in told.of("ack")]
    assert acks == sorted(acks) and 32_000 * 27 < acks[-1] < 32_000 * 35 and len(acks) <= 5
    async with serving(Oracle()) as other:
        assert (await client.end(other)).messages[-1]["audio_s"] == pytest.approx(35, abs=0.1)


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_line_that_is_alive_is_never_silent_for_long(stopped, clock: Clock):
    engine = Waits()
    async with serving(engine, idle_s=600) as site, site.open() as socket:
        await speak(socket, CHUNKS)
        await send(socket, STOP if stopped else {"type": "finalize"})
        await read(socket, until="ack")
        await anyio.to_thread.run_sync(engine.begun.wait)
        for _ in range(4):
            await clock.forward(5)
            await clock.forward(5)
            assert (await read(socket, until="ack")).messages[-1]["type"] == "ack"
        engine.go.set()
        assert (await read(socket, until="final")).of("final")


# -- who may -------------------------------------------------------------------------------------------------------


async def ticket_of(site: Site) -> dict[str, Any]:
    """The acknowledgement of a session that has ended."""
    return (await site.say(*CHUNKS, STOP)).of("final")[0]["ack"]


def resume(ticket: str) -> dict[str, str]:
    return {"type": "resume", "ticket": ticket}


async def test_a_forged_ticket_is_refused():
    async with serving(Oracle()) as site:
        ticket = (await ticket_of(site))["ticket"]
        for forged in ("", "1.e30.e30", ticket[:-1], ticket.replace("1.", "2.", 1), ticket[:9] + "A" + ticket[10:]):
            told = await site.say(resume(forged))
            assert (told.code, told.reason, told.error["param"]) == (4500, "request.invalid", "ticket")
    async with serving(Oracle(), secret="another secret of the tests") as stranger:
        assert (await stranger.say(resume(ticket))).code == 4500


async def test_an_old_ticket_is_refused():
    async with serving(Oracle()) as site:
        ticket = open_ticket((await ticket_of(site))["ticket"], SECRET.encode(), time.time())
        told = await site.say(resume(seal(replace(ticket, expires=time.time() - 1), SECRET.encode())))
    assert (told.code, told.reason, told.error["retryable"]) == (4031, "resume.expired", True)


async def test_a_ticket_is_good_for_as_long_as_the_settings_say():
    async with serving(Oracle(), resume_s=77) as site:
        told = await site.say(*CHUNKS, STOP)
    ticket = open_ticket(told.of("final")[0]["ack"]["ticket"], SECRET.encode(), time.time())
    assert told.messages[0]["limits"]["resume_s"] == 77 and 60 < ticket.expires - time.time() < 77


@pytest.mark.parametrize("first", [[{"type": "start"}], [CHUNKS[0]], [{"type": "finalize"}]])
async def test_resume_comes_first(first):
    async with serving(Oracle()) as site:
        ticket = (await ticket_of(site))["ticket"]
        assert (await site.say(*first, resume(ticket))).code == 4500
        assert (await site.say(resume(ticket), {"type": "start"})).code == 4500


@pytest.mark.parametrize("ago, sound, code", [(50, 200.0, 1000), (101, 1.0, 4513)])
async def test_a_session_is_as_old_as_it_is_however_much_sound_came(ago, sound, code):
    async with serving(Oracle(), session_s=100) as site:
        ticket = open_ticket((await ticket_of(site))["ticket"], SECRET.encode(), time.time())
        ticket = replace(ticket, began=time.time() - ago, mark=replace(ticket.mark, time=sound))
        told = await site.say(resume(seal(ticket, SECRET.encode())), {"type": "keepalive"}, STOP)
    assert told.code == code


async def test_a_session_that_has_not_begun_goes_on_too():
    async with serving(Oracle()) as site:
        async with site.open() as socket:
            await send(socket, {"type": "start"})
            ticket = (await read(socket, until="ack")).messages[-1]["ticket"]
        told = await site.say(resume(ticket), *CHUNKS, STOP)
    assert told.code == 1000 and abs(told.of("final")[0]["at"] - time.time()) < 60


async def test_the_old_connection_is_told_and_publishes_nothing_more():
    engine = Waits()
    client = Client()
    async with serving(engine) as site, site.open() as old:
        await speak(old, CHUNKS[:HALF])
        client.hear(await read(old, until="partial"))
        await send(old, {"type": "finalize"})
        await anyio.to_thread.run_sync(engine.begun.wait)
        async with client.back(site) as new:
            told = await read(old)
            engine.go.set()
            await send(new, STOP)
            client.hear(await read(new))
    assert (told.code, told.reason, told.error["retryable"]) == (4509, "session.superseded", False)
    assert not told.of("final") and client.finals and len(site.service.sessions) == 0


async def test_once_a_client_goes_on_its_older_tickets_are_worth_nothing():
    client = Client()
    async with serving(Oracle()) as site:
        client.ack = await ticket_of(site)
        old = client.ack["ticket"]
        async with client.back(site) as socket:
            await anyio.wait_all_tasks_blocked()
            told = await site.say(resume(old))
            assert (told.code, told.reason) == (4509, "session.superseded")
            await send(socket, STOP)
            assert (await read(socket)).code == 1000
        assert (await site.say(resume(old))).code == 4509


async def test_a_ticket_that_two_present_at_once_has_one_owner():
    async with serving(Oracle()) as site:
        ticket = (await ticket_of(site))["ticket"]
        async with site.open() as first, site.open() as second:
            await send(first, resume(ticket))
            await read(first, until="resumed")
            await send(second, resume(ticket))
            assert (await read(second, until="resumed")).messages[-1]["generation"] == 3
            assert (await read(first)).code == 4509
            await send(second, STOP)
            assert (await read(second)).code == 1000


async def test_who_comes_back_takes_no_second_place():
    client = Client()
    async with serving(Oracle(), max_sessions=2) as site, site.open() as old:
        await speak(old, CHUNKS[:HALF])
        client.hear(await read(old, until="ack"))
        async with client.back(site) as new:
            assert len(site.service.sessions) == 1
            await send(new, STOP)
            assert (await read(new)).code == 1000


# -- vanishing -----------------------------------------------------------------------------------------------------


class Vanishing:
    """A client at the bare interface of ASGI, so that the server goes on after it went."""

    def __init__(self, site: Site, *said: bytes, leave_after: int = 0) -> None:
        self._site = site
        self._said: list[dict[str, Any]] = [{"type": "websocket.connect"}]
        self._said += [{"type": "websocket.receive", "bytes": data} for data in said]
        self._left = anyio.Event()
        self.client = Client()
        self.told = Told([], 0, "")
        self.read = anyio.Event()
        self._leave_after = leave_after  # messages

    async def visit(self) -> None:
        scope = {"type": "websocket", "path": "/api/captions", "query_string": b"", "headers": []}
        await self._site.app(scope | {"app": self._site.app}, self._receive, self._send)

    def leave(self) -> None:
        self.client.hear(self.told)
        self._left.set()

    async def _receive(self) -> dict[str, Any]:
        if self._said and not self._left.is_set():
            await checkpoint()
            return self._said.pop(0)
        await self._left.wait()
        return {"type": "websocket.disconnect", "code": 1006}

    async def _send(self, message: dict[str, Any]) -> None:
        if "text" in message and not self._left.is_set():
            self.told.messages.append(json.loads(message["text"]))
            if self.told.messages[-1]["type"] in ("partial", "final"):  # a final may overtake its partials
                self.read.set()
            if len(self.told.messages) == self._leave_after:
                self.leave()


@asynccontextmanager
async def vanished(site: Site, sent: int = HALF) -> AsyncIterator[Vanishing]:
    """Somebody speaks, and is gone in mid-speech."""
    visitor = Vanishing(site, *CHUNKS[:sent])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(visitor.visit)
        await visitor.read.wait()
        visitor.leave()
        await anyio.wait_all_tasks_blocked()
        yield visitor


async def test_who_vanishes_has_some_time_and_then_its_last_words_are_final(clock: Clock, tmp_path, caplog):
    caplog.set_level("INFO", "sotto")
    engine = Oracle()
    async with serving(engine, resume_grace_s=10, stall_s=60, temp_dir=tmp_path) as site:
        async with vanished(site):
            await clock.forward(9)
            assert len(site.service.sessions) == 1 and not [asked for asked in engine.asked if asked.final]
            await clock.forward(2)
    assert [asked for asked in engine.asked if asked.final] and list(tmp_path.iterdir()) == []
    assert "vanished after 0 finals" in caplog.text and "2 finals" in caplog.text


async def test_who_comes_back_in_time_leaves_nothing_of_the_old_session(tmp_path):
    engine = Oracle()
    async with serving(engine, resume_grace_s=10, temp_dir=tmp_path, max_sessions=1) as site:
        async with vanished(site) as visitor:
            client = visitor.client
            await client.end(site)
    assert client.words == WORDS and not site.service.sessions and list(tmp_path.iterdir()) == []


async def transcript(site: Site, client: Client) -> list[str]:
    (session,) = {final["session"] for final in client.told.of("final")}
    return (await site.client.get(f"/api/rooms/{session}/transcript.txt")).text.split()


@pytest.mark.parametrize("word_times", [True, False])
@pytest.mark.parametrize("sent", [12, 15, 17, 20, 24, 27])
async def test_who_comes_back_late_says_no_word_twice_and_none_is_lost(clock: Clock, sent, word_times):
    async with serving(Oracle(word_times), resume_grace_s=10, **EAGER) as site:
        async with vanished(site, sent) as visitor:
            await clock.forward(5)
            await clock.forward(6)
        client = visitor.client
        client.told = await client.end(site)
        assert client.words == WORDS == await transcript(site, client)


@pytest.mark.parametrize("word_times", [True, False])
@pytest.mark.parametrize("sent", [12, 15, 17, 20, 24, 27])
async def test_nor_when_the_line_only_fell_silent(clock: Clock, sent, word_times):
    client = Client()
    async with serving(Oracle(word_times), **EAGER) as site, site.open() as socket:
        await speak(socket, CHUNKS[:sent])
        client.hear(await read(socket, until="ack"))
        await clock.forward(3)  # what can be final is made so, and is lost on its way
        client.told = await client.end(site)
        assert client.words == WORDS == await transcript(site, client)


async def test_who_does_not_come_back_at_all_is_read_to_the_last_word(clock: Clock):
    async with serving(Oracle(), resume_grace_s=10, resume_s=600, stall_s=60) as site:
        async with vanished(site, 21) as visitor:
            await clock.forward(11)
        room = f"/api/rooms/{visitor.told.messages[0]['session']}/transcript.txt"
        before = (await site.client.get(room)).text.split()
        await clock.forward(601)
        after = (await site.client.get(room)).text.split()
    assert 0 < len(before) < len(after) and after == WORDS[: len(after)]


@pytest.mark.parametrize("word_times", [True, False])
async def test_nor_is_a_word_lost_of_who_falls_silent_for_good(clock: Clock, word_times):
    async with serving(Oracle(word_times), idle_s=60, resume_s=600, stall_s=30) as site:
        visitor = Vanishing(site, *CHUNKS[:21])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(visitor.visit)
            await visitor.read.wait()
            await clock.forward(61)  # the socket is still there, as far as anybody can tell
        assert visitor.told.messages[-1]["error"]["code"] == "idle.timeout"
        room = f"/api/rooms/{visitor.told.messages[0]['session']}/transcript.txt"
        await clock.forward(601)
        after = (await site.client.get(room)).text.split()
    assert len(after) > 15 and after == WORDS[: len(after)]


@pytest.mark.parametrize("sent", [16, 22])  # in a pause: a word that is broken stays so
async def test_nor_when_the_server_ends_before_that(clock: Clock, tmp_path, sent):
    kept = {"state_dir": tmp_path, "retention_h": 24, "resume_s": 600, "stall_s": 60}
    async with serving(Oracle(word_times=False), resume_grace_s=10, **kept) as site:
        async with vanished(site, sent) as visitor:
            await clock.forward(11)
    client = visitor.client
    async with serving(Oracle(word_times=False), **kept) as other:
        room = f"/api/rooms/{visitor.told.messages[0]['session']}/transcript.txt"
        found = (await other.client.get(room)).text.split()
        assert len(found) > 10 and found == WORDS[: len(found)]
        client.told = await client.end(other)  # it comes back all the same
        assert client.words == WORDS == await transcript(other, client)


async def test_a_stop_of_the_server_does_not_wait_for_who_vanished():
    async with serving(Oracle(), resume_grace_s=10) as site:
        async with vanished(site):
            site.service.drain()


# -- being stopped -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word_times", [True, False])
@pytest.mark.parametrize("sent", [0, 3, 8, 12, 15, 17, 20, 24, 27, 30])
async def test_a_server_that_is_stopped_hands_everybody_over(sent, word_times):
    client = Client()
    async with serving(Oracle(word_times), **EAGER) as site, site.open() as socket:
        await speak(socket, CHUNKS[:sent])
        site.service.drain()
        told = await read(socket)
        client.hear(told)
    *_, reconnect, error = told.messages
    assert (reconnect["type"], reconnect["reason"], error["type"], told.code) == (
        "reconnect",
        "draining",
        "error",
        1012,
    )
    client.ack["ticket"] = reconnect["ticket"]
    async with serving(Oracle(word_times), **EAGER) as other:
        await client.end(other)
    assert client.words == WORDS


async def test_a_server_that_is_stopped_while_somebody_comes_back_gives_out_no_other_ticket(monkeypatch):
    client, claiming = Client(), anyio.Event()

    async def claim(*_: Any) -> None:
        claiming.set()
        await anyio.sleep_forever()

    async with serving(Oracle(), **EAGER) as site:
        async with vanished(site) as visitor:
            client = visitor.client
        monkeypatch.setattr(site.service.rooms, "claim", claim)
        async with site.open() as socket:
            await send(socket, resume(client.ack["ticket"]))
            await claiming.wait()
            site.service.drain()
            told = await read(socket)
    assert [message["type"] for message in told.messages] == ["ready", "reconnect", "error"]
    client.ack["ticket"] = told.of("reconnect")[0]["ticket"]
    async with serving(Oracle(), **EAGER) as other:
        await client.end(other)
    assert client.words == WORDS


async def test_a_server_that_is_stopped_delivers_what_an_engine_still_works_on():
    engine = Waits()
    client = Client()
    async with serving(engine) as site, site.open() as socket:
        await speak(socket, CHUNKS[:HALF])
        await read(socket, until="partial")
        await send(socket, {"type": "finalize"})
        await anyio.to_thread.run_sync(engine.asked_for_final.wait, 20)
        site.service.drain()
        await anyio.wait_all_tasks_blocked()
        engine.go.set()
        told = await read(socket)
        client.hear(told)
    assert [message["type"] for message in told.messages[-3:]] == ["final", "reconnect", "error"]
    final = open_ticket(told.messages[-2]["ticket"], SECRET.encode(), time.time())
    assert final.mark.finals == told.messages[-3]["offset"]

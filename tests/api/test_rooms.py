"""Rooms: who speaks is followed, now and later, by as many as like."""

import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from figures import figures
from httpx_ws import AsyncWebSocketSession, aconnect_ws

from server.api import rooms as viewers
from server.errors import StoreAway
from server.rooms import rooms as hub
from server.rooms.base import Final, Speaker

from .conftest import STOP, Clock, Site, Told, chunks, read, send, serving
from .test_resume import EAGER, Client, Oracle

pytestmark = pytest.mark.anyio

CHUNKS = chunks()
HALF = len(CHUNKS) // 2


@asynccontextmanager
async def following(site: Site, room: str, query: str = "") -> AsyncIterator[AsyncWebSocketSession]:
    url = f"http://localhost/api/rooms/{room}{query}"
    async with aconnect_ws(url, site.client, keepalive_ping_interval_seconds=None, queue_size=4096) as socket:
        yield socket


async def follow(site: Site, room: str, query: str = "") -> Told:
    async with following(site, room, query) as socket:
        return await read(socket)


async def until_final(socket: AsyncWebSocketSession, offset: int) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    while not (messages and messages[-1].get("offset") == offset):
        messages += (await read(socket, until="final" if offset else "room")).messages
    return messages


async def until_room(socket: AsyncWebSocketSession, live: bool) -> list[dict[str, Any]]:
    messages = (await read(socket, until="room")).messages
    while messages[-1]["live"] is not live:
        messages += (await read(socket, until="room")).messages
    return messages


class Stream:
    """A browser's EventSource at the bare interface of ASGI."""

    def __init__(self, site: Site, room: str, query: str = "", **headers: str) -> None:
        self._site = site
        names = {"host": "localhost"} | {name.replace("_", "-"): value for name, value in headers.items()}
        self._scope = {
            "type": "http", "method": "GET", "path": f"/api/rooms/{room}/events", "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in names.items()], "app": site.app,
        }  # fmt: skip
        self.status = 0
        self.text = ""
        self.reads, self._left, self._more = anyio.Event(), anyio.Event(), anyio.Event()
        self.reads.set()

    async def visit(self) -> None:
        """Until the server ends the stream."""
        await self._site.app(self._scope, self._receive, self._send)

    def leave(self) -> None:
        self._left.set()

    async def until(self, text: str) -> None:
        with anyio.fail_after(20):
            while text not in self.text:
                self._more = anyio.Event()
                await self._more.wait()

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line.removeprefix("data: ")) for line in self.text.splitlines() if line[:5] == "data:"]

    @property
    def ids(self) -> list[str]:
        return [line.removeprefix("id: ") for line in self.text.splitlines() if line[:3] == "id:"]

    async def _receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.status = message.get("status", self.status)
        self.text += message.get("body", b"").decode()
        self._more.set()
        await self.reads.wait()


def of(told: list[dict[str, Any]], type: str) -> list[dict[str, Any]]:
    return [message for message in told if message["type"] == type]


# -- following -----------------------------------------------------------------------------------------------------


async def test_who_follows_by_websocket_sees_what_the_speaker_sees():
    async with serving(Oracle(), **EAGER) as site, site.open("?room=keynote") as speaker:
        await read(speaker, until="ready")
        async with following(site, "keynote") as viewer:
            await read(viewer, until="room")
            for chunk in CHUNKS[:HALF]:
                await send(speaker, chunk)
            seen = (await read(viewer, until="partial")).messages
            for chunk in CHUNKS[HALF:]:
                await send(speaker, chunk)
            await send(speaker, STOP)
            said = (await read(speaker)).of("final")
            seen += await until_final(viewer, said[-1]["offset"])
    assert of(seen, "partial") and len(said) >= 3
    assert of(seen, "final") == [{key: value for key, value in final.items() if key != "ack"} for final in said]
    assert [final["offset"] for final in said] == [*range(1, len(said) + 1)]


async def test_who_follows_by_server_sent_events_sees_the_same():
    async with serving(Oracle(), **EAGER) as site, anyio.create_task_group() as tasks:
        async with site.open("?room=keynote") as speaker:
            await read(speaker, until="ready")
            viewer = Stream(site, "keynote")
            tasks.start_soon(viewer.visit)
            await viewer.until('"room"')
            for chunk in CHUNKS[:HALF]:
                await send(speaker, chunk)
            await viewer.until('"partial"')
            for chunk in CHUNKS[HALF:]:
                await send(speaker, chunk)
            await send(speaker, STOP)
            said = (await read(speaker)).of("final")
        await viewer.until(f":{said[-1]['offset']}\n")
        viewer.leave()
    assert viewer.status == 200 and viewer.text.startswith("retry: 1000\n\ndata: {")
    epoch = viewer.told[0]["epoch"]
    assert viewer.told[0] == {"type": "room", "room": "keynote", "epoch": epoch, "live": True, "degraded": False}
    assert viewer.ids == [f"{epoch}:{final['offset']}" for final in said]
    assert [final["text"] for final in of(viewer.told, "final")] == [final["text"] for final in said]


async def test_who_comes_later_is_told_all_and_who_comes_back_the_rest():
    async with serving(Oracle(), **EAGER) as site:
        await site.say(*CHUNKS, STOP, query="?room=keynote")
        page = (await site.client.get("/api/rooms/keynote/transcript.json")).json()
        last = page["finals"][-1]["offset"]
        async with following(site, "keynote") as viewer:
            whole = await until_final(viewer, last)
        async with following(site, "keynote", "?after=1") as viewer:
            rest = await until_final(viewer, last)
        async with anyio.create_task_group() as tasks:
            stream = Stream(site, "keynote", "after=0", last_event_id=f"{page['epoch']}:1")
            tasks.start_soon(stream.visit)
            await stream.until(f":{last}\n")
            stream.leave()
    assert [final["offset"] for final in of(whole, "final")] == [*range(1, last + 1)]
    assert of(rest, "final") == of(stream.told, "final") == of(whole, "final")[1:]
    assert not of(rest, "gap")


async def test_who_comes_back_when_some_of_it_is_not_kept_any_more_is_told_how_much(tmp_path):
    kept = {"retention_h": 24, "state_dir": tmp_path}
    async with serving(Oracle(), **EAGER, **kept) as site:
        await site.say(*CHUNKS, STOP, query="?room=keynote")
        last = (await site.client.get("/api/rooms/keynote/transcript.json")).json()["finals"][-1]["offset"]
    with closing(sqlite3.connect(tmp_path / "rooms.db")) as file, file:
        file.execute("DELETE FROM finals WHERE offset < ?", (last,))
    async with serving(Oracle(), **EAGER, **kept) as site:
        async with following(site, "keynote", "?after=1") as viewer:
            told = await until_final(viewer, last)
        async with following(site, "keynote", f"?after={last - 1}") as viewer:
            rest = await until_final(viewer, last)
    assert last >= 3
    assert of(told, "gap") == [{"type": "gap", "first": 2, "last": last - 1}] and told[-2]["type"] == "gap"
    assert of(told, "final") == of(rest, "final") and not of(rest, "gap")


async def test_who_knows_another_epoch_is_told_and_begins_anew():
    async with serving(Oracle(), **EAGER) as site:
        await site.say(*CHUNKS, STOP, query="?room=keynote")
        async with following(site, "keynote", "?after=abcd:2") as viewer:
            seen = await until_final(viewer, 1)
    assert seen[0]["type"] == "room" and seen[0]["epoch"] != "abcd"


async def test_a_long_room_is_told_page_by_page_and_in_order(monkeypatch):
    monkeypatch.setattr("server.rooms.rooms.RECENT", 2)
    monkeypatch.setattr("server.rooms.room.RECENT", 2)
    monkeypatch.setattr("server.rooms.room.PAGE", 1)
    async with serving(Oracle(), **EAGER) as site:
        for _ in range(2):
            told = await site.say(*CHUNKS, STOP, query="?room=keynote")
        last = told.of("final")[-1]["offset"]
        async with following(site, "keynote") as viewer:
            seen = await until_final(viewer, last)
    assert last >= 6 and [final["offset"] for final in of(seen, "final")] == [*range(1, last + 1)]


async def test_two_speakers_in_a_room_are_told_apart():
    async with serving(Oracle(), **EAGER) as site, site.open("?room=panel") as one, site.open("?room=panel") as other:
        for chunk in CHUNKS:
            await send(one, chunk)
            await send(other, chunk)
        finals = []
        for socket in (one, other):
            await send(socket, STOP)
            finals += (await read(socket)).of("final")
        page = (await site.client.get("/api/rooms/panel/transcript.json")).json()
    assert len({final["session"] for final in finals}) == 2
    assert [final["offset"] for final in page["finals"]] == [*range(1, len(finals) + 1)]
    by_offset = {final["offset"]: final["text"] for final in finals}
    assert by_offset == {final["offset"]: final["text"] for final in page["finals"]}


async def test_start_may_name_another_room():
    async with serving() as site, site.open("?room=first") as speaker:
        await read(speaker, until="ready")
        assert (await site.client.get("/api/rooms/first/transcript.json")).status_code == 200
        await send(speaker, {"type": "start", "room": "second"})
        await read(speaker, until="ack")
        assert (await site.client.get("/api/rooms/first/transcript.json")).status_code == 404
        assert (await site.client.get("/api/rooms/second/transcript.json")).json()["live"] is True


async def test_without_a_name_a_room_is_called_as_its_session():
    async with serving() as site, site.open() as speaker:
        ready = (await read(speaker, until="ready")).messages[0]
        assert ready["room"] == ready["session"]
        assert (await site.client.get(f"/api/rooms/{ready['room']}/transcript.txt")).text == ""


# -- a room is not there, or not any more --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "room, query, status, close, code",
    [
        ("nowhere", "", 404, 4504, "room.not_found"),
        ("a.b", "", 400, 4500, "request.invalid"),
        ("a" * 65, "", 400, 4500, "request.invalid"),
        ("keynote", "?after=-1", 400, 4500, "request.invalid"),
        ("keynote", "?after=xyz:1", 400, 4500, "request.invalid"),
    ],
)
async def test_what_cannot_be_followed_is_told_why(room, query, status, close, code):
    async with serving() as site:
        answer = await site.client.get(f"/api/rooms/{room}/events{query}")
        told = await follow(site, room, query)
        if not query:
            assert (await site.client.get(f"/api/rooms/{room}/transcript.json")).status_code == status
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert (told.code, told.reason, told.error["code"]) == (close, code, code)


async def test_what_is_not_kept_any_more_has_expired():
    async with serving(Oracle(), retention_h=1e-9, resume_s=0.01, **EAGER) as site:
        await site.say(*CHUNKS, STOP, query="?room=keynote")
        answer = await site.client.get("/api/rooms/keynote/transcript.json")
        told = await follow(site, "keynote")
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "room.expired")
    assert (told.code, told.reason) == (4505, "room.expired")


async def test_when_the_last_speaker_stops_the_room_is_said_to_be_quiet():
    async with serving() as site, site.open("?room=keynote") as speaker, site.open("?room=keynote") as other:
        await read(speaker, until="ready")
        await read(other, until="ready")
        async with following(site, "keynote") as viewer:
            await read(viewer, until="room")
            await send(other, STOP)
            await read(other)
            for chunk in CHUNKS:
                await send(speaker, chunk)
            await send(speaker, STOP)
            await read(speaker)
            told = await until_room(viewer, live=False)
            async with site.open("?room=keynote") as again:
                await until_room(viewer, live=True)
                await read(again, until="ready")
    assert told[-2]["type"] == "final" and all(message["live"] for message in of(told[:-1], "room"))


async def test_and_when_nobody_came_for_some_time_it_is_over(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "BEAT_S", 0.01)
    async with serving(Oracle(), resume_s=0.1, retention_h=1, state_dir=tmp_path, **EAGER) as site:
        told = await site.say(*CHUNKS, STOP, query="?room=keynote")
        stream = Stream(site, "keynote")
        await stream.visit()
        seen = await follow(site, "keynote")
        again = Stream(site, "keynote", last_event_id=stream.ids[-1])
        await again.visit()
    assert len(of(stream.told, "final")) == len(seen.of("final")) == len(told.of("final"))
    assert seen.code == 1000 and seen.of("room")[-1]["live"] is False and not stream.told[-1].get("error")
    assert (again.status, again.text) == (204, "")  # by this a browser's EventSource knows not to come back


async def test_whoever_is_sent_much_at_once_takes_turns_with_all_others():
    """A line that takes everything at once gives nobody a turn by itself."""
    turn, sent = 0, dict[int, int]()
    async with serving() as site, anyio.create_task_group() as tasks:
        rooms, offsets = site.service.rooms, [*range(1, 501)]
        for offset in offsets:
            await rooms.append(Final(Speaker("keynote", "s_1"), offset, f'"text":"{offset}"'))

        async def count() -> None:
            nonlocal turn
            while True:
                turn += 1
                await checkpoint()

        async def visit() -> None:
            told: list[int] = []
            async with rooms.follow("keynote") as room:
                viewer = viewers.Viewer(room, rooms.read, 0, None)

                async def write(news: viewers.News) -> None:
                    sent[turn] = sent.get(turn, 0) + len(news)
                    told.extend(item.offset for item in news if isinstance(item, viewers.Frame))
                    if told == offsets:
                        viewer.drop()

                await viewers.watch(rooms, room, viewer, write, anyio.sleep_forever)
            assert told == offsets

        async with anyio.create_task_group() as visits:
            tasks.start_soon(count)
            for _ in range(4):
                visits.start_soon(visit)
        tasks.cancel_scope.cancel()
    assert max(sent.values()) <= viewers.PIECE


# -- viewers who are slow, or gone ---------------------------------------------------------------------------------


async def test_a_viewer_who_does_not_read_misses_partials_and_no_final():
    async with serving(Oracle(), **EAGER) as site, anyio.create_task_group() as tasks:
        async with site.open("?room=keynote") as speaker:
            await read(speaker, until="ready")
            viewer = Stream(site, "keynote")
            tasks.start_soon(viewer.visit)
            await viewer.until('"room"')
            viewer.reads = anyio.Event()
            for number, chunk in enumerate(CHUNKS):
                await send(speaker, chunk)
                if number in (10, 13):
                    await read(speaker, until="partial")
            await send(speaker, STOP)
            said = await read(speaker)  # who speaks does not wait for who reads
            viewer.reads.set()
            await viewer.until(f":{said.of('final')[-1]['offset']}\n")
            viewer.leave()
    finals = of(viewer.told, "final")
    assert [final["offset"] for final in finals] == [*range(1, said.of("final")[-1]["offset"] + 1)]
    assert len(of(viewer.told, "partial")) <= 1


async def test_and_one_that_never_reads_loses_the_connection(monkeypatch):
    for name, seconds in (("BEAT_S", 0.01), ("SLOW_S", 0.05)):
        monkeypatch.setattr(hub, name, seconds)
    monkeypatch.setattr(viewers, "CLOSE_S", 0.05)
    async with serving() as site, site.open("?room=keynote") as speaker:
        await read(speaker, until="ready")
        viewer = Stream(site, "keynote")
        viewer.reads = anyio.Event()
        with anyio.fail_after(20):
            await viewer.visit()
        told = await counted(site)
    assert told["sotto_viewers"] == 0 and told['sotto_drops_total{what="viewer"}'] == 1


async def test_in_silence_a_comment_shows_that_the_line_is_up(monkeypatch):
    monkeypatch.setattr(hub, "BEAT_S", 0.01)
    async with serving() as site, site.open("?room=keynote") as speaker, anyio.create_task_group() as tasks:
        await read(speaker, until="ready")
        viewer = Stream(site, "keynote")
        tasks.start_soon(viewer.visit)
        await viewer.until("\n\n:\n\n")
        viewer.leave()


async def test_and_over_a_websocket_the_room_is_told_again(monkeypatch):
    monkeypatch.setattr(hub, "BEAT_S", 0.01)
    async with serving() as site, site.open("?room=keynote") as speaker, following(site, "keynote") as viewer:
        await read(speaker, until="ready")
        told = [(await read(viewer, until="room")).messages[-1] for _ in range(3)]
    assert told[0] == told[1] == told[2]


async def test_who_leaves_is_forgotten():
    async with serving() as site, site.open("?room=keynote") as speaker:
        await read(speaker, until="ready")
        async with following(site, "keynote") as viewer:
            await read(viewer, until="room")
            assert site.service.rooms.viewers == 1
        async with anyio.create_task_group() as tasks:
            stream = Stream(site, "keynote")
            tasks.start_soon(stream.visit)
            await stream.until('"room"')
            stream.leave()
        await anyio.wait_all_tasks_blocked()
        assert site.service.rooms.viewers == 0 and not site.service.rooms._rooms


async def test_no_more_viewers_than_there_may_be():
    async with serving(max_viewers=1) as site, site.open("?room=keynote") as speaker:
        await read(speaker, until="ready")
        async with following(site, "keynote") as viewer:
            await read(viewer, until="room")
            assert (await follow(site, "keynote")).reason == "server.overloaded"
            assert (await site.client.get("/api/rooms/keynote/events")).status_code == 503


async def test_viewers_are_told_when_the_server_ends():
    async with serving() as site, site.open("?room=keynote") as speaker, anyio.create_task_group() as tasks:
        await read(speaker, until="ready")
        stream = Stream(site, "keynote")
        tasks.start_soon(stream.visit)
        await stream.until('"room"')
        async with following(site, "keynote") as viewer:
            await read(viewer, until="room")
            site.service.rooms.dismiss()
            told = await read(viewer)
    assert (told.code, told.error["code"]) == (1012, "server.draining")
    assert stream.told[-1]["error"]["code"] == "server.draining"


# -- later ---------------------------------------------------------------------------------------------------------


async def test_the_transcript_in_every_form():
    async with serving(Oracle(), **EAGER) as site:
        await site.say(*CHUNKS, STOP, query="?room=keynote")
        forms = {form: await site.client.get(f"/api/rooms/keynote/transcript.{form}") for form in ("txt", "srt", "vtt")}
        page = (await site.client.get("/api/rooms/keynote/transcript.json")).json()
        assert (await site.client.get("/api/rooms/keynote/transcript.pdf")).status_code == 400
    texts = [final["text"] for final in page["finals"]]
    assert (page["room"], page["live"]) == ("keynote", False) and "ack" not in page["finals"][0]
    assert forms["txt"].text.splitlines() == texts and texts[0].startswith("It was the best")
    assert forms["srt"].text.startswith("1\n00:00:01,") and forms["vtt"].text.startswith("WEBVTT\n\n00:00:01.")
    assert forms["srt"].headers["content-type"].startswith("application/x-subrip")


async def test_who_speaks_later_comes_later_in_the_transcript():
    async with serving(Oracle(), **EAGER) as site:
        for _ in range(2):
            told = await site.say(*CHUNKS, STOP, query="?room=keynote")
        page = (await site.client.get("/api/rooms/keynote/transcript.json")).json()
    first, second = page["finals"][0], page["finals"][len(told.of("final"))]
    assert second["session"] != first["session"] and second["start"] == first["start"] and second["at"] > first["at"]


async def test_a_restart_keeps_the_transcript(tmp_path):
    kept = {"retention_h": 24, "state_dir": tmp_path}
    async with serving(Oracle(), **EAGER, **kept) as site:
        told = await site.say(*CHUNKS, STOP, query="?room=keynote")
    async with serving(Oracle(), **EAGER, **kept) as site:
        page = (await site.client.get("/api/rooms/keynote/transcript.json")).json()
        more = await site.say(*CHUNKS, STOP, query="?room=keynote")
    assert [final["text"] for final in page["finals"]] == [final["text"] for final in told.of("final")]
    assert more.of("final")[0]["offset"] == page["finals"][-1]["offset"] + 1


async def test_without_retention_nothing_is_written(tmp_path):
    async with serving(Oracle(), **EAGER, retention_h=0, state_dir=tmp_path) as site:
        await site.say(*CHUNKS, STOP, query="?room=keynote")
        assert (await site.client.get("/api/rooms/keynote/transcript.txt")).text
    assert list(tmp_path.iterdir()) == []


async def test_and_what_was_kept_before_is_deleted(tmp_path):
    async with serving(Oracle(), **EAGER, retention_h=24, state_dir=tmp_path) as site:
        await site.say(*CHUNKS, STOP, query="?room=keynote")
        for file in [*tmp_path.glob("rooms.db*")]:
            shutil.copy(file, tmp_path / f"{file.name}.killed")
    for file in tmp_path.glob("*.killed"):
        file.rename(file.with_suffix(""))
    assert {file.name for file in tmp_path.iterdir()} == {"rooms.db", "rooms.db-wal", "rooms.db-shm"}
    async with serving(Oracle(), **EAGER, retention_h=0, state_dir=tmp_path) as site:
        assert (await site.client.get("/api/rooms/keynote/transcript.txt")).status_code == 404
        assert list(tmp_path.iterdir()) == []


# -- the store is away ---------------------------------------------------------------------------------------------


async def test_while_the_file_is_locked_captions_go_on_and_are_kept_afterwards(tmp_path):
    async with serving(Oracle(), **EAGER, retention_h=24, state_dir=tmp_path) as site:
        async with site.open("?room=keynote") as speaker, following_soon(site, speaker) as viewer:
            other = sqlite3.connect(tmp_path / "rooms.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            for chunk in CHUNKS:
                await send(speaker, chunk)
            await send(speaker, {"type": "finalize"})
            said = (await read(speaker, until="warning")).messages
            assert said[-1]["code"] == "room.degraded" and (await site.client.get("/readyz")).status_code == 200
            await send(speaker, STOP)
            seen = await until_final_as_partial(viewer)
            other.close()
            said += (await read(speaker)).messages
            seen += await until_final(viewer, of(said, "final")[-1]["offset"])
        page = (await site.client.get("/api/rooms/keynote/transcript.json")).json()
    offsets = [final["offset"] for final in of(said, "final")]
    assert offsets == [*range(1, len(offsets) + 1)] == [final["offset"] for final in of(seen, "final")]
    assert [final["text"] for final in page["finals"]] == [final["text"] for final in of(said, "final")]
    assert any(room["degraded"] for room in of(seen, "room"))


async def test_it_is_told_while_a_final_still_waits_for_that_store(clock: Clock, tmp_path, monkeypatch):
    waiting, over = anyio.Event(), anyio.Event()

    async def never(_: Any) -> None:
        waiting.set()
        try:
            await anyio.sleep_forever()
        finally:
            over.set()

    async with serving(Oracle(), **EAGER, retention_h=24, state_dir=tmp_path) as site, site.open() as speaker:
        rooms = site.service.rooms
        with monkeypatch.context() as hung:
            hung.setattr(rooms.store, "append", never)
            hung.setattr(hub, "CALL_S", 60.0)
            for chunk in CHUNKS:
                await send(speaker, chunk)
            await waiting.wait()
            rooms._leave(StoreAway("found out by somebody else"))
            assert (await read(speaker, until="warning")).messages[-1]["code"] == "room.degraded"
            assert not over.is_set()
        await clock.forward(61)
        assert over.is_set()


async def test_the_figures_tell_what_waits_and_what_is_lost_while_the_store_is_away(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "MOST_HELD", 1)
    async with serving(Oracle(), **EAGER, retention_h=24, state_dir=tmp_path) as site:
        async with site.open("?room=keynote") as speaker, following_soon(site, speaker) as viewer:
            other = sqlite3.connect(tmp_path / "rooms.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            for chunk in CHUNKS:
                await send(speaker, chunk)
            await send(speaker, STOP)
            said = (await read(speaker)).of("final")
            away = await counted(site)
            other.close()
            while (await read(viewer, until="room")).messages[-1]["degraded"]:
                pass
            back = await counted(site)
    assert (away["sotto_viewers"], away["sotto_store_away"], away["sotto_captions_held"]) == (1, 1, 1)
    assert away['sotto_drops_total{what="final"}'] == len(said) - 1 >= 2
    assert (back["sotto_store_away"], back["sotto_captions_held"]) == (0, 0)


async def counted(site: Site) -> dict[str, float]:
    return figures((await site.client.get("/metrics")).text)


@asynccontextmanager
async def following_soon(site: Site, speaker: AsyncWebSocketSession) -> AsyncIterator[AsyncWebSocketSession]:
    await read(speaker, until="ready")
    async with following(site, "keynote") as viewer:
        await read(viewer, until="room")
        yield viewer


async def until_final_as_partial(viewer: AsyncWebSocketSession) -> list[dict[str, Any]]:
    """Somebody who is here sees what was said, also while nobody can say which offset it will have."""
    seen: list[dict[str, Any]] = []
    while not (seen and "foolishness" in seen[-1].get("text", "")):
        seen += (await read(viewer, until="partial")).messages
    return seen


# -- coming back ---------------------------------------------------------------------------------------------------


async def test_finals_that_were_lost_on_their_way_are_told_again():
    client = Client()
    async with serving(Oracle(), **EAGER) as site:
        whole = await site.say(*CHUNKS, STOP, query="?room=keynote")
        client.hear(Told(whole.messages[: whole.messages.index(whole.of("final")[0]) + 1], 0, ""))
        async with site.open() as socket:
            await send(socket, {"type": "resume", "ticket": client.ack["ticket"]})
            told = await read(socket, until="resumed")
        client.hear(told)
        page = (await site.client.get("/api/rooms/keynote/transcript.json")).json()
    missed, resumed = told.of("final"), told.messages[-1]
    assert [final["text"] for final in missed] == [final["text"] for final in whole.of("final")[1:]]
    assert resumed["bytes"] == whole.of("final")[-1]["ack"]["bytes"] and resumed["offset"] == len(client.finals)
    assert len(page["finals"]) == len(client.finals) and [m["type"] for m in told.messages[-2:]] == ["ack", "resumed"]


async def test_viewers_see_every_word_once_when_the_speaker_comes_back():
    client = Client()
    async with serving(Oracle(), **EAGER) as site, anyio.create_task_group() as tasks:
        async with site.open("?room=keynote") as speaker:
            await read(speaker, until="ready")
            viewer = Stream(site, "keynote")
            tasks.start_soon(viewer.visit)
            await viewer.until('"room"')
            for chunk in CHUNKS[:HALF]:
                await send(speaker, chunk)
            client.hear(await read(speaker, until="ack"))
            for chunk in CHUNKS[HALF : HALF + 10]:
                await send(speaker, chunk)
            await read(speaker, until="final")  # stored, and lost on its way
        await client.end(site)
        await viewer.until("foolishness")
        viewer.leave()
    seen = " ".join(final["text"] for final in of(viewer.told, "final")).split()
    assert seen == client.words


# -- who may -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["events", "transcript.json", "qr.svg"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "["])
async def test_a_name_that_was_pointed_at_this_machine_reads_nothing(host, path):
    async with serving() as site:
        answer = await site.client.get(f"/api/rooms/keynote/{path}", headers={"host": host})
    assert answer.status_code == 403 and answer.json()["error"]["code"] == "origin.forbidden"


async def test_the_name_of_an_allowed_site_reads():
    async with serving(allowed_origins="https://captions.example") as site, site.open("?room=keynote") as speaker:
        await read(speaker, until="ready")
        for host in ("captions.example", "127.0.0.1:8000", "[::1]:8000", "localhost"):
            answer = await site.client.get("/api/rooms/keynote/transcript.json", headers={"host": host})
            assert answer.status_code == 200

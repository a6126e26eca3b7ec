"""POST /api/transcribe with events: how far it is, finals as they come, and the whole answer at the end."""

import json
from typing import Any

import anyio
import httpx
import pytest
from anyio import to_thread
from starlette.requests import ClientDisconnect

from server.api.events import KEEPALIVE_S, SLOW_S, Events

from .conftest import RECORDINGS, ROOT, Bare, Clock, serving
from .engines import Counts, Refuses, Waits

pytestmark = pytest.mark.anyio

WEBM = (RECORDINGS / "chromium-webm-opus.webm").read_bytes()
ACCEPT = "text/event-stream"


def events(text: str) -> list[dict]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


async def post(site, data: bytes = WEBM, accept: str = ACCEPT, **fields: str) -> httpx.Response:
    files = {"file": ("a.webm", data)}
    return await site.client.post("/api/transcribe", files=files, data=fields, headers={"accept": accept})


async def test_finals_come_in_order_and_then_the_whole_answer():
    engine = Counts()
    engine.longest = 3.0  # the file is sent in pieces
    async with serving(engine) as site:
        streamed, at_once = await post(site), await post(site, accept="*/*")
    assert streamed.status_code == 200 and streamed.headers["content-type"].startswith("text/event-stream")
    told = events(streamed.text)
    finals = [one for one in told if one["type"] == "final"]
    assert [one["utterance"] for one in finals] == list(range(1, len(finals) + 1)) and len(finals) > 2
    assert set(finals[0]) == {"type", "utterance", "start", "end", "text", "words", "language"}
    assert [one["start"] for one in finals] == sorted(one["start"] for one in finals)
    assert told[-1] == {"type": "done", **at_once.json()}


async def test_progress_goes_forward_up_to_the_end():
    engine = Waits()
    engine.longest = 3.0
    async with serving(engine) as site, anyio.create_task_group() as tasks:
        upload = Bare(site, WEBM, ACCEPT)
        tasks.start_soon(upload.post)
        await to_thread.run_sync(engine.begun.wait, 20)
        engine.go.set()
    told = events(b"".join(one.get("body", b"") for one in upload.got).decode())
    progress = [one for one in told if one["type"] == "progress"]
    assert all(set(one) == {"type", "done_s", "duration_s"} for one in progress)
    assert [one["done_s"] for one in progress] == sorted(one["done_s"] for one in progress)
    assert told[-1]["type"] == "done" and progress


async def test_every_event_is_documented_with_all_its_fields():
    shown = events((ROOT / "docs" / "protocol.md").read_text())
    async with serving() as site:
        told = events((await post(site)).text)
    assert {one["type"]: set(one) for one in shown} == {one["type"]: set(one) for one in told}


@pytest.mark.parametrize("accept", ["Text/Event-Stream", "text/event-stream;q=0.9, */*", "a/b, text/event-stream"])
async def test_every_way_to_accept_events(accept):
    async with serving() as site:
        assert events((await post(site, accept=accept)).text)[-1]["type"] == "done"


async def test_the_answer_at_the_end_has_the_words_if_they_were_asked_for():
    async with serving() as site:
        told = events((await post(site, format="verbose_json")).text)
        text = await post(site, format="srt")
    assert told[-1]["segments"] and told[-1]["words"] == []
    assert text.status_code == 400 and text.json()["error"]["param"] == "format"


@pytest.mark.parametrize("data, status", [(b"<html>", 415), (b"", 422), (WEBM[:40], 422)])
async def test_what_is_known_before_the_first_event_keeps_its_status(data, status):
    async with serving() as site:
        answer = await post(site, data)
    assert answer.status_code == status and answer.json()["error"]["code"].startswith("audio.")


async def test_a_fault_after_the_first_event_is_an_event():
    async with serving(Refuses()) as site:
        answer = await post(site)
    told = events(answer.text)
    assert told[-1]["type"] == "error" and told[-1]["error"]["code"] == "engine.unavailable"


async def test_a_stop_of_the_server_is_told_to_who_waits():
    engine = Waits()
    async with serving(engine, drain_s=0) as site:
        async with anyio.create_task_group() as tasks:
            upload = Bare(site, WEBM, ACCEPT)
            tasks.start_soon(upload.post)
            await to_thread.run_sync(engine.begun.wait, 20)
            site.service.drain()
        engine.go.set()
    told = events(b"".join(one.get("body", b"") for one in upload.got).decode())
    assert told[-1]["error"]["code"] == "server.draining" and not upload.got[-1].get("more_body")


class Counting(Bare):
    """An upload whose client looks, at each piece of the answer, how many files are under way."""

    def __init__(self, *args: Any, **fields: str) -> None:
        super().__init__(*args, **fields)
        self.under_way: list[int] = []

    async def _send(self, message: dict[str, Any]) -> None:
        self.under_way.append(self._site.service.uploads)
        await super()._send(message)


@pytest.mark.parametrize("path, fields", [("/api/transcribe", {}), ("/v1/audio/transcriptions", {"stream": "true"})])
async def test_who_has_the_whole_answer_finds_the_place_free_for_another_file(path, fields):
    engine = Waits()
    engine.longest = 3.0
    async with serving(engine) as site, anyio.create_task_group() as tasks:
        upload = Counting(site, WEBM, ACCEPT, path, **fields)
        tasks.start_soon(upload.post)
        await to_thread.run_sync(engine.begun.wait, 20)
        engine.go.set()
    whole = next(n for n, one in enumerate(upload.got) if b'done"' in one.get("body", b""))
    assert upload.under_way[0] == 1 and upload.under_way[whole] == 0


# -- the stream itself ---------------------------------------------------------------------------------------------


class Client:
    """Reads what is sent to it, unless it is `slow`."""

    def __init__(self) -> None:
        self.got: list[dict] = []
        self.slow = False

    async def send(self, message: dict) -> None:
        self.got.append(message)
        if self.slow:
            await anyio.sleep_forever()

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.got).decode()


async def test_a_quiet_stream_shows_that_it_is_there(clock: Clock):
    client = Client()
    stream = Events(client.send)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stream.flow)
        await clock.forward(KEEPALIVE_S + 1)
        assert not client.got  # the status is not decided yet
        stream.tell("1")
        await clock.forward(0)
        await clock.forward(KEEPALIVE_S + 1)
        stream.close()
    assert client.text == "data: 1\n\n:\n\n" and KEEPALIVE_S < 10


async def test_a_stream_is_not_begun_by_a_comment_when_it_is_over(clock: Clock):
    client = Client()
    stream = Events(client.send)
    stream.allow()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stream.flow)
        await anyio.wait_all_tasks_blocked()
        stream.close()
        await clock.forward(KEEPALIVE_S + 1)
    assert not client.got and not stream.begun


async def test_what_passes_is_left_out_when_there_is_something_newer():
    client = Client()
    stream = Events(client.send)
    for data in ("1 s", "2 s"):
        stream.tell(data, passing=True)
    stream.tell("final")
    stream.tell("3 s", passing=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stream.flow)
        await anyio.wait_all_tasks_blocked()
        stream.close()
    assert client.text == "data: final\n\ndata: 3 s\n\n"


async def test_nothing_told_nothing_sent():
    client = Client()
    stream = Events(client.send)
    stream.close()
    await stream.flow()
    assert client.got == []


async def test_a_client_that_does_not_read_is_not_waited_for(clock: Clock):
    client = Client()
    stream = Events(client.send)

    async def flow() -> None:
        with pytest.raises(ClientDisconnect):
            await stream.flow()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flow)
        client.slow = True
        stream.tell("1")
        await clock.forward(SLOW_S + 1)

"""A session tells its finals elsewhere too: to whom it names, and to the operator's webhook."""

import json

import anyio
import pytest
from anyio.lowlevel import checkpoint
from push import stub
from standardwebhooks import Webhook as Receiver

from .conftest import PATIENCE_S, SECRET, STOP, chunks, read, send, serving

WEBHOOK_SECRET = "whsec_bm8gc2VjcmV0IGF0IGFsbCwgaXQgaXMgYSB0ZXN0"

pytestmark = pytest.mark.anyio


async def test_finals_go_to_the_meeting_and_the_stream_that_a_session_names():
    with stub.serving() as meeting, stub.serving() as stream:
        async with serving(push_hosts="127.0.0.1") as site:
            start = {"type": "start", "push": {"zoom": meeting.url, "youtube": stream.url}}
            told = await site.say(start, *chunks(), STOP)
    texts = [final["text"] for final in told.of("final")]
    assert texts and [one.body.decode().removesuffix("\n") for one in meeting.taken] == texts
    lines = [one.body.decode().splitlines()[1::2] for one in stream.taken]
    assert [" ".join(line).replace("<br>", " ") for line in lines] == texts


async def test_whoever_comes_back_names_the_meeting_again_and_its_count_goes_on():
    with stub.serving() as meeting:
        push = {"push": {"zoom": meeting.url}}
        async with serving(push_hosts="127.0.0.1") as site:
            async with site.open() as socket:
                await send(socket, {"type": "start"} | push)
                for chunk in chunks()[: len(chunks()) // 2]:
                    await send(socket, chunk)
                await send(socket, {"type": "finalize"})
                *_, final = (await read(socket, until="final")).messages
            with anyio.fail_after(PATIENCE_S):
                while not meeting.taken:
                    await checkpoint()
            ack = final["ack"]
            sound = b"".join(chunks())
            rest = [sound[: ack["header"]], sound[ack["bytes"] :]]
            told = await site.say({"type": "resume", "ticket": ack["ticket"]} | push, *rest, STOP)
    texts = [final["text"], *(later["text"] for later in told.of("final"))]
    assert len(texts) > 1 and [one.body.decode().removesuffix("\n") for one in meeting.taken] == texts
    assert [one.query["seq"] for one in meeting.taken] == [str(n) for n in range(1, len(texts) + 1)]


@pytest.mark.parametrize("url", ["http://127.0.0.1:6379/", "https://zoom.us.evil.example/", "nonsense"])
async def test_a_session_cannot_send_the_server_to_any_other_address(url):
    async with serving() as site:
        told = await site.say({"type": "start", "push": {"zoom": url}})
    assert (told.error["code"], told.error["param"], told.code) == ("request.invalid", "push", 4500)
    assert url not in told.error["message"]


async def test_a_resume_cannot_either():
    async with serving() as site:
        acks = (await site.say(*chunks(), STOP)).of("ack")
        told = await site.say({"type": "resume", "ticket": acks[0]["ticket"], "push": {"zoom": "http://127.0.0.1/"}})
    assert told.error["param"] == "push"


async def test_the_finals_of_every_session_go_to_the_webhook():
    with stub.serving(counts=False) as there:
        async with serving(webhook_url=there.url, webhook_secret=WEBHOOK_SECRET) as site:
            told = await site.say(*chunks(), STOP, query="?room=keynote")
    finals = told.of("final")
    data = [Receiver(WEBHOOK_SECRET).verify(one.body, one.headers)["data"] for one in there.taken]
    assert [one["text"] for one in data] == [final["text"] for final in finals]
    assert {one["room"] for one in data} == {"keynote"}
    assert [one["offset"] for one in data] == [final["offset"] for final in finals]
    assert SECRET not in json.dumps(data)


async def test_a_final_on_its_way_into_the_room_goes_to_the_webhook_although_its_connection_is_lost(monkeypatch):
    monkeypatch.setattr("server.rooms.rooms.CALL_S", PATIENCE_S)
    with stub.serving(counts=False) as there:
        async with serving(webhook_url=there.url, webhook_secret=WEBHOOK_SECRET) as site:
            store, stored, go = site.service.rooms.store, anyio.Event(), anyio.Event()
            append = store.append

            async def slowly(final):
                kept = await append(final)
                stored.set()
                await go.wait()
                return kept

            monkeypatch.setattr(store, "append", slowly)
            async with site.open() as lost, site.open() as other:
                await send(lost, {"type": "start"})
                ticket = (await read(lost, until="ack")).messages[-1]["ticket"]
                for chunk in chunks():
                    await send(lost, chunk)
                await stored.wait()
                await send(other, {"type": "resume", "ticket": ticket})
                missed = (await read(other, until="resumed")).of("final")
                go.set()
                assert (await read(lost)).code == 4509
    assert [json.loads(one.body)["data"]["text"] for one in there.taken] == [final["text"] for final in missed] != []


async def test_a_place_that_takes_nothing_keeps_nobody_waiting():
    with stub.serving(script=stub.deque([400] * 100), counts=False) as there:
        async with serving(webhook_url=there.url, webhook_secret=WEBHOOK_SECRET) as site:
            told = await site.say(*chunks(), STOP)
            page = (await site.client.get("/metrics")).text
    assert told.code == 1000 and told.of("final")
    assert len(there.told) == len(told.of("final")) and 'sotto_drops_total{what="push"}' in page

"""Finals go to a meeting, a stream or a webhook: once each, in order, whatever the destination answers."""

import json
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import httpx2
import pytest
from standardwebhooks import Webhook as Receiver

from server.push import courier
from server.push.courier import WAITING, Courier, Told
from server.push.outputs import Outputs
from server.push.webhook import Webhook
from server.push.youtube import YouTube
from server.push.zoom import Zoom
from server.speech.types import Caption, Word

from . import stub

LIMIT_S = 20.0  # nothing waits for it when all is well
SECRET = "whsec_bm8gc2VjcmV0IGF0IGFsbCwgaXQgaXMgYSB0ZXN0"
NOON = 1_800_000_000.0  # 2027-01-15T08:00:00Z

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def said(number, text="Hello world.", language="en"):
    words = (Word("Hello", 10.0, 10.4), Word("world.", 10.5, 11.0)) if text == "Hello world." else ()
    return Told("s_1", "keynote", number, Caption(number, 10.0, 11.0, text, len(text), True, words, language), NOON)


@asynccontextmanager
async def outputs(dropped=None, hosts=(), webhook=None):
    """Leaving it waits until everything is told."""
    dropped = [] if dropped is None else dropped
    with anyio.fail_after(LIMIT_S):
        async with Outputs([*hosts], webhook, lambda: dropped.append(1), backoff_s=0.01) as ways:
            yield ways


async def tell(destination, *finals, dropped=None):
    async with outputs(dropped) as ways:
        (to,) = ways.send([destination])
        for final in finals:
            to.put(final)


DESTINATIONS = {"zoom": Zoom, "youtube": YouTube, "webhook": lambda url: Webhook(url, SECRET)}


@pytest.fixture(params=DESTINATIONS)
def destination(request):
    """A stub, and what makes the destination that tells it."""
    with stub.serving(counts=request.param != "webhook") as there:
        yield there, DESTINATIONS[request.param]


# -- every destination ---------------------------------------------------------------------------------------------


async def test_every_final_is_told_once_and_in_order(destination):
    there, make = destination
    await tell(make(there.url), *(said(n, f"Number {n}.") for n in range(1, 6)))
    assert [f"Number {n}." in one.body.decode() for n, one in enumerate(there.taken, 1)] == [True] * 5


@pytest.mark.parametrize("status", [500, 503, 429, 408])
async def test_what_is_not_taken_is_told_again_and_exactly_the_same(destination, status):
    there, make = destination
    there.script.extend([200, status, status])
    await tell(make(there.url), said(1), said(2), said(3))
    assert len(there.told) == 5 and len(there.taken) == 3
    _, first, second, third, _ = there.told
    assert (first.query, first.body) == (second.query, second.body) == (third.query, third.body)


async def test_nobody_is_sent_on_to_another_address(destination):
    there, make = destination
    there.script.append(307)
    dropped = []
    await tell(make(there.url), said(1), dropped=dropped)
    assert {one.path for one in there.told} == {"/closedcaption"}
    assert len(there.taken) + len(dropped) == 1  # Zoom asks to be tried again whatever it answers


async def test_a_destination_that_is_away_is_waited_for_and_no_longer_than_a_caption_is_one(monkeypatch):
    monkeypatch.setattr(courier, "GIVE_UP_S", 0.05)
    dropped = []
    with stub.serving() as gone:
        url = gone.url
    await tell(YouTube(url), said(1), said(2), dropped=dropped)
    assert len(dropped) == 2


async def test_what_is_under_way_and_what_waits_when_the_farewell_is_over_is_counted(monkeypatch):
    monkeypatch.setattr("server.push.outputs.FAREWELL_S", 0.0)
    dropped = []
    await tell(YouTube("http://127.0.0.1:9/closedcaption"), *(said(n) for n in range(1, 6)), dropped=dropped)
    assert len(dropped) == 5


async def test_of_too_many_that_wait_the_oldest_give_way():
    dropped = []
    async with httpx2.AsyncClient() as http:
        waiting = Courier(YouTube("http://127.0.0.1:9/closedcaption"), http, lambda: dropped.append(1))
        for number in range(WAITING + 3):
            waiting.put(said(number))
    assert len(dropped) == 3


async def test_the_log_tells_that_a_destination_refuses_and_never_its_address(destination, caplog):
    there, make = destination
    there.script.extend([500, 500])
    await tell(make(f"{there.url}?signature=verysecret"), said(1))
    assert len([record for record in caplog.records if "takes no captions now" in record.getMessage()]) == 1
    assert "verysecret" not in caplog.text


async def test_a_caption_that_cannot_be_told_is_dropped_and_the_next_is_told():
    dropped = []
    with stub.serving(counts=False) as stream:
        await tell(YouTube(stream.url), replace(said(1), at=1e20), said(2), dropped=dropped)  # no year of a calendar
    assert len(stream.taken) == len(dropped) == 1


@pytest.mark.parametrize("make", DESTINATIONS.values(), ids=DESTINATIONS)
async def test_an_address_that_is_none_ends_nothing_and_is_not_in_the_log(make, caplog):
    dropped = []
    await tell(make("http://xn--...zoom.us/verysecret"), said(1), said(2), dropped=dropped)
    assert len(dropped) == 2 and "IDNAError" in caplog.text
    assert "verysecret" not in caplog.text and "xn--" not in caplog.text


async def test_a_session_names_only_hosts_that_are_allowed():
    async with outputs(hosts=["zoom.us"]) as ways:
        (zoom,) = ways.named({"zoom": "https://wmcc.zoom.us/closedcaption?id=1"})
        assert isinstance(zoom, Zoom)
        with pytest.raises(ValueError, match=r"push.youtube: expected an address of zoom.us$"):
            ways.named({"youtube": "http://127.0.0.1/closedcaption?secret=1"})


async def test_every_session_is_told_to_the_webhook():
    with stub.serving(counts=False) as there:
        async with outputs(webhook=lambda: Webhook(there.url, SECRET)) as ways:
            for couriers in (ways.send([]), ways.send([])):
                for courier in couriers:
                    courier.put(said(1))
                ways.dismiss(couriers)
    assert len(there.taken) == 2


# -- Zoom ----------------------------------------------------------------------------------------------------------


async def test_zoom_is_told_plain_text_with_a_count_and_a_language():
    with stub.serving() as meeting:
        await tell(Zoom(f"{meeting.url}?id=200610693&ns=GZHkEA%3D%3D&signature=nY%2Bt"), said(1), said(2))
    first, second = meeting.taken
    assert first.body == b"Hello world.\n" and first.headers["content-type"] == "text/plain; charset=utf-8"
    assert first.query == {"id": "200610693", "ns": "GZHkEA==", "signature": "nY+t", "seq": "1", "lang": "en-US"}
    assert second.query["seq"] == "2"


async def test_in_a_zoom_meeting_the_count_goes_on_where_it_stands():
    with stub.serving(seq=41) as meeting:  # somebody wrote there before, or this speaker at another server
        await tell(Zoom(meeting.url), said(1), said(2))
    assert [one.query["seq"] for one in meeting.taken] == ["42", "43"]


async def test_a_language_that_zoom_does_not_name_is_left_out():
    with stub.serving() as meeting:
        await tell(Zoom(meeting.url), said(1, "Hyvää päivää.", "fi"), said(2, "Guten Tag.", "de"))
    assert [one.query.get("lang") for one in meeting.taken] == [None, "de-DE"]
    assert meeting.taken[0].body.decode() == "Hyvää päivää.\n"


@pytest.mark.parametrize("status", [400, 403, 405])
async def test_zoom_is_tried_again_whatever_it_answers(status):
    """Zoom recommends it for all codes: 400 also means that the meeting has not started."""
    with stub.serving(script=stub.deque([status, status])) as meeting:
        await tell(Zoom(meeting.url), said(1))
    assert len(meeting.taken) == 1


# -- YouTube -------------------------------------------------------------------------------------------------------


async def test_youtube_is_told_when_each_cue_was_said():
    text = "It was the best of times, it was the worst of times, it was the age of wisdom. It was folly."
    with stub.serving(seq=6) as stream:
        await tell(YouTube(f"{stream.url}?cid=abcd"), said(7, text))
    (told,) = stream.taken
    assert told.query == {"cid": "abcd", "seq": "7"}
    lines = told.body.decode().splitlines()
    times, texts = lines[::2], lines[1::2]
    assert times[0] == "2027-01-15T08:00:00.000" and times == sorted(times) and len(times) > 1
    assert " ".join(texts).replace("<br>", " ") == text


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_what_youtube_refuses_for_good_is_dropped_and_the_next_is_told(status):
    dropped = []
    with stub.serving(script=stub.deque([status]), counts=False) as stream:
        await tell(YouTube(stream.url), said(1), said(2), dropped=dropped)
    assert len(stream.told) == 2 and len(dropped) == 1


# -- webhook -------------------------------------------------------------------------------------------------------


async def test_a_webhook_is_signed_as_the_standard_wants_it():
    with stub.serving(counts=False) as there:
        await tell(Webhook(there.url, SECRET), said(5))
    (told,) = there.taken
    assert Receiver(SECRET).verify(told.body, told.headers) == json.loads(told.body)
    data = json.loads(told.body)["data"]
    assert (data["room"], data["session"], data["offset"], data["text"]) == ("keynote", "s_1", 5, "Hello world.")
    assert data["words"][0] == {"text": "Hello", "start": 10.0, "end": 10.4}


async def test_each_attempt_at_a_webhook_has_the_same_id_and_each_final_its_own():
    with stub.serving(counts=False, script=stub.deque([500])) as there:
        await tell(Webhook(there.url, SECRET), said(1), said(2))
    ids = [one.headers["webhook-id"] for one in there.told]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("secret", ["whsec_not base64", "whsec_a"])
def test_a_webhook_secret_that_is_none_is_refused(secret):
    with pytest.raises(ValueError, match="whsec_ and base64"):
        Webhook("http://127.0.0.1:9/", secret)

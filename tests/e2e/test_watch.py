"""The page to read along in a real Chromium: somebody speaks, others follow, early, late or over a bad line."""

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from anyio.from_thread import start_blocking_portal
from scripted_room import NO_EVENTS, Room, error, final, partial, there
from speaker import speaker
from visitor import (
    CUT,
    FEW_ERRORS,
    PHONE,
    Visit,
    expect,
    pass_until,
    stop_the_clock,
    visitor,
    wait_for_state,
    word_error_rate,
)

from bench.proxy import NOWHERE, Proxy

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


# -- with the real server ------------------------------------------------------------------------------------------


def test_who_waited_and_who_comes_late_read_the_same_words(visit: Visit, server: str) -> None:
    early = visit("/watch?room=early")
    wait_for_state(early, "waiting")
    expect(early.locator("#empty")).to_contain_text("Nobody speaks yet")
    with speaker(server, "early") as voice:
        wait_for_state(early, "live")
        voice.say_half()
        expect(early.locator("#partials")).to_contain_text("best of times", ignore_case=True)
        voice.say_the_rest()
    expect(early.locator("#finals")).to_contain_text("foolishness", ignore_case=True)
    assert word_error_rate(early) <= FEW_ERRORS
    wait_for_state(early, "silent")
    late = visit("/watch?room=early")
    expect(late.locator("#finals")).to_contain_text("foolishness", ignore_case=True)
    assert late.locator("#finals").inner_text() == early.locator("#finals").inner_text()


def test_a_reader_whose_line_is_cut_misses_no_word(speaking: "Browser", server: str) -> None:
    port = urlsplit(server).port or 0
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Proxy(port)) as line,
        visitor(speaking, line.url, CUT) as visit,
    ):
        page = visit("/watch?room=cut")
        with speaker(server, "cut") as voice:
            wait_for_state(page, "live")
            voice.say_half()
            expect(page.locator("#partials")).not_to_be_empty()
            line.target = NOWHERE
            portal.call(line.cut)
            wait_for_state(page, "offline")
            expect(page.locator("#partials")).not_to_be_empty()
            voice.say_the_rest()
        line.target = port
        expect(page.locator("#finals")).to_contain_text("foolishness", ignore_case=True)
        expect(page.locator("#partials")).to_be_empty()
        assert word_error_rate(page) <= FEW_ERRORS


def test_where_websockets_are_blocked_the_words_come_by_events(visit: Visit, server: str) -> None:
    with speaker(server, "blocked") as voice:
        page = visit("/watch?room=blocked", init="delete window.WebSocket")
        wait_for_state(page, "live")
        voice.say_half()
        expect(page.locator("#partials")).to_contain_text("best of times", ignore_case=True)
        voice.say_the_rest()
    expect(page.locator("#finals")).to_contain_text("foolishness", ignore_case=True)


def test_the_transcript_is_downloaded_as_it_is_read(visit: Visit, server: str) -> None:
    page = visit("/watch?room=kept")
    expect(page.locator("#download")).to_be_disabled()
    with speaker(server, "kept") as voice:
        voice.say_the_rest()
    expect(page.locator("#finals")).to_contain_text("foolishness", ignore_case=True)
    for form, begins in ("Text", "It was"), ("Subtitles, SRT", "1\n00:00:0"), ("Subtitles, WebVTT", "WEBVTT\n"):
        page.click("#download")
        with page.expect_download() as download:
            page.get_by_role("link", name=form, exact=True).click()
        assert re.fullmatch(r"kept\.(txt|srt|vtt)", download.value.suggested_filename)
        assert Path(download.value.path()).read_text().startswith(begins)
        page.keyboard.press("Escape")


def test_who_speaks_shows_others_the_way(visit: Visit) -> None:
    page = visit(permissions=["microphone", "clipboard-read", "clipboard-write"])
    expect(page.locator("#share")).to_be_hidden()
    page.click("#button")
    wait_for_state(page, "listening")
    page.click("#share")
    expect(page.locator(".code")).to_have_js_property("complete", True)
    assert page.evaluate("document.querySelector('.code').naturalWidth > 0")
    expect(page.locator("#share-menu")).to_contain_text("Only this computer can open it")
    page.get_by_role("button", name="Copy link", exact=True).click()
    address = page.evaluate("navigator.clipboard.readText()")
    assert address == page.get_by_role("link", name="/watch?room=").get_attribute("href")
    reader = visit(f"/watch?{urlsplit(address).query}")
    expect(reader.locator("#captions")).to_contain_text("best of times", ignore_case=True)


def test_the_speaker_may_choose_the_room(visit: Visit) -> None:
    reader = visit("/watch?room=hall")
    page = visit("/?room=hall")
    expect(page.locator("#share")).to_be_visible()  # so that the way can be shown before anybody speaks
    page.click("#button")
    expect(reader.locator("#captions")).to_contain_text("best of times", ignore_case=True)


# -- what is said of a room ----------------------------------------------------------------------------------------

SAID_OF_ROOMS = {
    "silent": (Room(there(live=False)), "Nobody speaks now", "if somebody goes on"),
    "ended": (Room(there(live=False), close=1000), "Ended", "Nothing was said"),
    "expired": (Room(error("room.expired"), close=4505), "Ended", "not kept any more"),
    "offline": (Room(close=1012), "Reconnecting", "as soon as the server answers"),
    "trouble": (Room(error("request.invalid"), close=4500), "Stopped", "Not here"),
}


@pytest.mark.parametrize("state", SAID_OF_ROOMS)
def test_what_is_the_matter_with_a_room_is_said(visit: Visit, state: str) -> None:
    room, told, heading = SAID_OF_ROOMS[state]
    page = visit("/watch?room=hall", init=NO_EVENTS, prepare=room.on)
    wait_for_state(page, state)
    expect(page.locator("#state")).to_have_text(told)
    expect(page.locator("#empty")).to_contain_text(heading)


def test_an_address_without_a_room_says_what_is_missing(visit: Visit) -> None:
    page = visit("/watch")
    expect(page.locator("#empty")).to_contain_text("Which room?")
    expect(page.locator("#share")).to_be_hidden()


def test_missing_captions_and_those_that_may_be_missing_are_told(visit: Visit) -> None:
    lost = {"type": "gap", "first": 2, "last": 4}
    page = visit("/watch?room=hall", prepare=Room(there(degraded=True), final(1), lost, final(5)).on)
    expect(page.locator("#notice")).to_contain_text("Captions may be missing")
    assert page.locator("#finals .line").nth(1).get_attribute("data-lost") == "3 lines are missing here"


def test_two_who_speak_are_kept_apart(visit: Visit) -> None:
    room = Room(there(), final(1), final(2, "No.", session="s_b"), final(3, "Never.", session="s_b"), final(4))
    page = visit("/watch?room=hall", prepare=room.on)
    expect(page.locator("#finals .line")).to_have_count(4)
    assert page.locator(".line").evaluate_all("(all) => all.map((one) => one.matches('.new-voice'))") == [
        False, True, False, True,
    ]  # fmt: skip


# -- how it is read ------------------------------------------------------------------------------------------------


def test_who_reads_back_is_not_pulled_down(visit: Visit) -> None:
    room = Room(there(), *(final(i) for i in range(1, 41)))
    page = visit("/watch?room=hall", viewport=PHONE, prepare=room.on)
    expect(page.locator("#finals .line")).to_have_count(40)
    place = "document.querySelector('#captions').scrollTop"
    assert page.evaluate(place) > 1000
    page.mouse.move(200, 400)
    page.mouse.wheel(0, -700)
    expect(page.locator("#newest")).to_be_visible()
    read = page.evaluate(place)
    room.say(final(41), partial(42, "It was"))
    expect(page.locator("#partials")).to_contain_text("It was")
    assert page.evaluate(place) == read
    page.click("#newest")
    expect(page.locator("#newest")).to_be_hidden()
    expect(page.locator("#partials")).to_be_in_viewport()


def test_only_what_is_said_from_now_on_is_read_aloud(visit: Visit) -> None:
    room = Room(there(), final(1), final(2))

    def prepare(page: "Page") -> None:
        stop_the_clock(page)
        room.on(page)

    page = visit("/watch?room=hall", prepare=prepare)
    wait_for_state(page, "live")
    lines = page.locator("#finals .line")
    pass_until(page, lambda: lines.count() == 2)
    page.clock.run_for(500)
    expect(page.locator("#finals")).to_have_attribute("aria-live", "off")
    page.clock.run_for(1_000)
    expect(page.locator("#finals")).to_have_attribute("aria-live", "polite")
    room.say(final(3))
    pass_until(page, lambda: lines.count() == 3)
    expect(page.locator("#finals")).to_have_attribute("aria-live", "polite")


@pytest.mark.parametrize("state", ["live", "offline", "silent"])
def test_on_a_phone_everything_has_its_place(visit: Visit, state: str) -> None:
    room = Room(there(live=state != "silent"), final(1), close=1012 if state == "offline" else None)
    path = f"/watch?room={'keynote' * 9}"
    page = visit(path, viewport=PHONE, color_scheme="dark", init=NO_EVENTS, prepare=room.on)
    wait_for_state(page, state)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.locator("header").bounding_box()["height"] < 90  # the rest is for the words
    for name in ("Download", "Share", "Text size, full screen"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name=name)).to_be_focused()

"""Two lines over a picture, in a real Chromium."""

import io
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from process import server_at
from scripted_room import NO_EVENTS, Room, final, partial, there
from speaker import speaker
from visitor import CUT, Visit, expect, pass_until, stop_the_clock, visitor

from bench.process import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PICTURE = {"width": 1280, "height": 720}
STILL = {"viewport": PICTURE, "reduced_motion": "reduce"}  # lines do not roll, so that they can be measured
TALK = [final(i, f"Sentence number {i} goes on for quite a while, as some of them do.") for i in range(1, 9)]
FIRST_LINE_TOP = """() => {
  const range = document.createRange();
  range.selectNodeContents(document.querySelector("#words p"));
  return range.getClientRects()[0].top;
}"""


def alpha(page: "Page") -> np.ndarray:
    """How much of each point the picture below is hidden: 0 to 255, (height, width)."""
    with av.open(io.BytesIO(page.screenshot(omit_background=True))) as png:
        return next(png.decode(video=0)).to_ndarray(format="rgba")[:, :, 3]


def rows(page: "Page") -> tuple[int, int]:
    """From which row to which one there are letters."""
    (found,) = np.nonzero(alpha(page).any(axis=1))
    return int(found[0]), int(found[-1])


def test_real_words_come_into_two_lines_over_the_picture(visit: Visit, server: str) -> None:
    with speaker(server, "stage") as voice:
        page = visit("/overlay?room=stage", **STILL)
        assert not alpha(page).any()
        voice.say_half()
        expect(page.locator("#words")).to_contain_text("best of times", ignore_case=True)
        voice.say_the_rest()
    expect(page.locator("#words")).to_contain_text("foolishness", ignore_case=True)
    top, bottom = rows(page)
    assert 0.8 < top / PICTURE["height"] and bottom / PICTURE["height"] < 1


def test_of_a_long_talk_only_the_newest_two_lines_are_seen(visit: Visit) -> None:
    page = visit("/overlay?room=hall&size=40&lines=2", **STILL, prepare=Room(there(), *TALK).on)
    expect(page.locator("#words")).to_contain_text("number 8")
    assert page.locator("#words").bounding_box()["height"] > 5 * 52
    top, bottom = rows(page)
    assert 52 < bottom - top < 2 * 52
    assert page.locator("#window").inner_text().endswith("as some of them do.")


def test_words_that_are_taken_back_do_not_move_what_was_read(visit: Visit) -> None:
    room = Room(there(), partial(1, "It was the best of times, it was the worst of times, it was the age of wisdom"))
    page = visit("/overlay?room=hall&size=60", **STILL, prepare=room.on)
    expect(page.locator("#words")).to_contain_text("wisdom")
    read = page.evaluate(FIRST_LINE_TOP)
    room.say(partial(1, "It was the best of times"))
    expect(page.locator("#words")).not_to_contain_text("worst")
    assert page.evaluate(FIRST_LINE_TOP) == read
    room.say(final(1, "It was the best of times."), partial(2, "It was the"))
    expect(page.locator("#words")).to_contain_text("times. It was the")
    assert page.evaluate(FIRST_LINE_TOP) == read


def test_silence_hides_the_words_and_they_do_not_come_back(visit: Visit) -> None:
    room = Room(there(), final(1, "Before."))

    def prepare(page: "Page") -> None:
        stop_the_clock(page)
        room.on(page)

    page = visit("/overlay?room=hall&hide=5", viewport=PICTURE, prepare=prepare)
    words = page.locator("#words")
    pass_until(page, lambda: words.inner_text() == "Before.")
    page.clock.run_for(4_000)
    expect(page.locator("#window")).to_have_css("opacity", "1")
    page.clock.run_for(2_000)
    expect(page.locator("#window")).to_have_css("opacity", "0")
    room.say(final(2, "After."))
    pass_until(page, lambda: words.inner_text() == "After.")
    expect(page.locator("#window")).to_have_css("opacity", "1")


def test_what_may_still_change_is_left_out_where_that_is_wanted(visit: Visit) -> None:
    growing = {**partial(1, "It was the beast"), "stable": 10}
    page = visit("/overlay?room=hall&settled=1", viewport=PICTURE, prepare=Room(there(), growing).on)
    expect(page.locator("#words")).to_have_text("It was the")


def test_the_address_chooses_how_it_looks(visit: Visit) -> None:
    path = "/overlay?room=hall&size=48&lines=3&position=top&align=center&colour=ffcc00&background=000c"
    page = visit(path, **STILL, prepare=Room(there(), *TALK).on)
    expect(page.locator("#words")).to_contain_text("number 8")
    expect(page.locator("#words p").last).to_have_css("text-align", "center")
    expect(page.locator("#words p").last).to_have_css("background-color", "rgba(0, 0, 0, 0.8)")
    expect(page.locator("#words span").last).to_have_css("color", "rgb(255, 204, 0)")
    expect(page.locator("#words span").last).to_have_css("font-size", "48px")
    top, bottom = rows(page)
    assert top < 50 and 2.5 * 62 < bottom - top < 3.5 * 62


@pytest.mark.parametrize("value", ["red;background:url(//evil.example)", "url(//evil.example)", "</style>", "48px"])
def test_an_address_can_bring_in_nothing_else(visit: Visit, value: str) -> None:
    path = f"/overlay?room=hall&colour={value}&background={value}&size={value}&position={value}&align={value}"
    page = visit(path, prepare=Room(there(), final(1, "<img src=//evil.example>")).on)
    expect(page.locator("#words span")).to_have_text("<img src=//evil.example>")
    expect(page.locator("#words span")).to_have_css("color", "rgb(255, 255, 255)")
    expect(page.locator("#words p")).to_have_css("background-color", "rgba(0, 0, 0, 0)")


def test_an_address_without_a_room_says_what_is_missing(visit: Visit) -> None:
    page = visit("/overlay")
    expect(page.locator("#words")).to_contain_text("Which room?")


def test_on_the_air_nothing_is_said_about_a_line_that_broke(visit: Visit) -> None:
    page = visit("/overlay?room=hall", init=NO_EVENTS, prepare=Room(there(), final(1, "Words."), close=1012).on)
    expect(page.locator("#words")).to_have_text("Words.")


def test_it_goes_on_when_the_server_was_started_anew(speaking: "Browser", tmp_path: Path) -> None:
    settings = {"SOTTO_ENGINE": "moonshine", "SOTTO_STATE_DIR": str(tmp_path)}
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as ending:
        with server_at(port, **settings):
            visit = ending.enter_context(visitor(speaking, url, CUT))
            with speaker(url, "stage") as voice:
                page = visit("/overlay?room=stage&hide=0", viewport=PICTURE)
                voice.say_half()
                expect(page.locator("#words")).not_to_be_empty()
                voice.say_the_rest()
            expect(page.locator("#words")).to_contain_text("foolishness", ignore_case=True)
        with server_at(port, **settings), speaker(url, "stage") as voice:
            said = page.locator("#words").inner_text()
            voice.say_the_rest()
            expect(page.locator("#words")).not_to_have_text(said)
            expect(page.locator("#words")).to_contain_text("foolishness", ignore_case=True)

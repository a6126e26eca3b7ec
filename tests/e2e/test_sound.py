"""Where the sound comes from, on the real page in a real Chromium: pauses, other microphones, a tab, or none at all."""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsers.chromium import STEP_MS, chromium
from spoken import spoken_wav
from visitor import Visit, expect, visitor, wait_for_clock, wait_for_state

from bench.clip import two_cities

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SAID_S = 20.6  # to the pause behind "the winter of despair"
TWICE = re.compile("foolishness.*foolishness", re.IGNORECASE | re.DOTALL)
KEEP_STREAM = """
const { mediaDevices } = navigator;
for (const name of ["getUserMedia", "getDisplayMedia"]) {
  const open = mediaDevices[name].bind(mediaDevices);
  mediaDevices[name] = async (wishes) => (window.stream = await open(wishes));
}
"""
PULL_OUT = "stream.getTracks().forEach((track) => { track.stop(); track.dispatchEvent(new Event('ended')); })"


def seconds(page: "Page") -> int:
    minutes, seconds = page.locator("#clock").inner_text().split(":")
    return 60 * int(minutes) + int(seconds)


def test_in_a_pause_nothing_is_recorded_and_then_the_session_goes_on(
    speaking: "Browser", server: str, tmp_path: Path
) -> None:
    two_cities().until(SAID_S).write(tmp_path)  # long enough for a pause that a busy machine draws out
    with ExitStack() as ending:
        browser = ending.enter_context(chromium(tmp_path / "speech.wav", beside=speaking))
        page = ending.enter_context(visitor(browser, server))()
        page.click("#button")
        expect(page.locator("#partials")).to_contain_text("best of", ignore_case=True)
        page.click("#pause")
        expect(page.locator("#state")).to_have_text("Paused")
        paused = seconds(page)
        expect(page.locator("#finals")).to_contain_text("best of", ignore_case=True)  # 2 s of nothing
        assert seconds(page) - paused <= 1
        clock = page.locator("#clock").inner_text()
        page.click("#pause")
        expect(page.locator("#state")).to_have_text("Listening")
        expect(page.locator("#clock")).not_to_have_text(clock)
        expect(page.locator("#captions")).to_contain_text("despair", ignore_case=True, timeout=2 * STEP_MS)
        page.click("#button")
        wait_for_state(page, "done")


def test_another_microphone_goes_on_in_the_same_session(visit: Visit) -> None:
    page = visit()
    page.click("#button")
    expect(page.locator("#source")).to_contain_text("Fake Audio Input 2")  # names are told once it is allowed
    expect(page.locator("#finals")).to_contain_text("foolishness", ignore_case=True)
    page.select_option("#source", label="Fake Audio Input 2")  # the file plays from its beginning there
    expect(page.locator("#finals")).to_contain_text(TWICE)
    page.click("#button")
    wait_for_state(page, "done")
    expect(page.locator("#notice")).to_be_hidden()


def test_a_microphone_that_is_pulled_out_is_replaced(visit: Visit) -> None:
    page = visit(init=KEEP_STREAM)
    page.click("#button")
    expect(page.locator("#captions")).to_contain_text("best of", ignore_case=True)
    page.evaluate(PULL_OUT)
    expect(page.locator("#notice")).to_contain_text("another one is being used now")
    expect(page.locator("#captions")).to_contain_text("foolishness", ignore_case=True)
    page.click("#button")
    wait_for_state(page, "done")


def test_a_microphone_that_is_taken_away_ends_the_session_and_what_was_said_stays(
    speaking: "Browser", server: str, tmp_path: Path
) -> None:
    with ExitStack() as ending:
        browser = ending.enter_context(chromium(spoken_wav(tmp_path), microphone="ask", beside=speaking))
        page = ending.enter_context(visitor(browser, server))(permissions=["microphone"])
        page.click("#button")
        expect(page.locator("#captions")).to_contain_text("best of", ignore_case=True)
        page.context.clear_permissions()
        wait_for_state(page, "done")
        expect(page.locator("#notice")).to_contain_text("What you said until then is kept")
        expect(page.locator("#finals")).to_contain_text("best of", ignore_case=True)


def test_the_sound_of_a_tab_is_captioned_without_its_picture_until_it_ends(visit: Visit) -> None:
    page = visit(init=KEEP_STREAM)
    page.select_option("#source", "display")
    page.click("#button")
    wait_for_state(page, "listening")
    assert page.evaluate("stream.getTracks().map(({ kind, readyState }) => [kind, readyState])") == [["audio", "live"]]
    wait_for_clock(page, 2)
    page.evaluate(PULL_OUT)
    wait_for_state(page, "done")
    expect(page.locator("#notice")).to_contain_text("The sound has ended")


@pytest.mark.parametrize(
    ("shared", "told"),
    [
        ("throw new DOMException('no', 'NotAllowedError')", "No tab was chosen"),
        ("return new MediaStream()", "It was shared without its sound"),
    ],
)
def test_a_tab_that_is_not_shared_is_told_with_what_to_do(visit: Visit, shared: str, told: str) -> None:
    page = visit(init=f"navigator.mediaDevices.getDisplayMedia = async () => {{ {shared}; }}")
    page.select_option("#source", "display")
    page.click("#button")
    wait_for_state(page, "trouble")
    expect(page.locator("#notice")).to_contain_text(told)
    page.select_option("#source", "")
    page.click("#button")
    wait_for_state(page, "listening")
    page.select_option("#source", "display")
    expect(page.locator("#notice")).to_contain_text(told)
    expect(page.locator("#source")).to_have_value("")  # what is in use
    wait_for_state(page, "listening")

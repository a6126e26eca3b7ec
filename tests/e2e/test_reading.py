"""How captions are read, in a real Chromium: large or small, on the whole screen, on one that stays awake."""

from typing import TYPE_CHECKING

from visitor import PHONE, Visit, expect, wait_for_clock, wait_for_state

if TYPE_CHECKING:
    from playwright.sync_api import Page

SAY = """async () => {
  const line = document.createElement("p");
  line.className = "line";
  line.textContent = "It was the best of times, it was the worst of times.";
  document.querySelector("#finals").append(line);
}"""
WATCH_LOCKS = """
window.locks = [];
const { wakeLock } = navigator;
const request = wakeLock.request.bind(wakeLock);
wakeLock.request = async (kind) => {
  const lock = await request(kind);
  window.locks.push(lock);
  return lock;
};
"""


def letters(page: "Page") -> float:
    return float(page.locator(".line").evaluate("(line) => parseFloat(getComputedStyle(line).fontSize)"))


def test_letters_are_as_large_as_the_reader_wants_also_the_next_time(visit: Visit) -> None:
    page = visit(viewport=PHONE)
    page.evaluate(SAY)
    usual = letters(page)
    page.focus("#reading")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("slider", name="Text size")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert letters(page) > 2 * usual
    page.keyboard.press("Escape")
    expect(page.get_by_role("slider")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.reload()
    page.evaluate(SAY)
    assert letters(page) > 2 * usual


def test_on_the_whole_screen_there_are_only_words_when_nobody_moves(visit: Visit) -> None:
    page = visit(prepare=lambda page: page.clock.install())
    page.click("#reading")
    page.click("#fullscreen")
    expect(page.locator("#copy")).to_be_hidden()
    expect(page.locator("#button")).to_be_visible()
    expect(page.locator("#reading-menu")).to_be_hidden()
    page.clock.run_for(3_000)
    expect(page.locator("footer")).to_have_css("opacity", "0")
    page.mouse.move(9, 9)
    expect(page.locator("footer")).to_have_css("opacity", "1")
    page.click("#reading")
    page.click("#fullscreen")
    expect(page.locator("#copy")).to_be_visible()


def test_the_screen_stays_awake_while_somebody_speaks(visit: Visit) -> None:
    page = visit(init=WATCH_LOCKS)
    page.click("#button")
    wait_for_state(page, "listening")
    wait_for_clock(page, 1)
    assert page.evaluate("locks.map(({ released }) => released)") == [False]
    page.click("#button")
    wait_for_state(page, "done")
    assert page.evaluate("locks.map(({ released }) => released)") == [True]

"""A person who visits the page in Chromium, and what that person sees."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

import jiwer
import pytest
from browsers.chromium import STEP_MS
from browsers.tab import STEP_S
from spoken import CLIP_TEXT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect
expect.set_options(timeout=STEP_MS)  # what is there at once is seen at once; a busy machine takes its time

FEW_ERRORS = 0.2  # word error rate; the embedded engine has 0 to 0.1 on this clip, depending on the cuts
PHONE = {"width": 390, "height": 844}
CUT = re.compile(r"net::ERR_|WebSocket")
REFUSED = re.compile(r"responded with a status of 4(00|15)")
Visit = Callable[..., "Page"]


@contextmanager
def visitor(browser: "Browser", url: str, story: "re.Pattern[str]" = REFUSED) -> Iterator[Visit]:
    """Opens pages, as often as asked. Whatever the browser complains about, CSP first of all, fails the test.

    `story` is what it complains about because the test wants it so, such as a request that is refused with reason.
    """
    complaints: list[str] = []
    contexts = []

    def heard(line: "ConsoleMessage") -> None:
        if line.type in ("error", "warning") and not story.search(line.text):
            complaints.append(line.text)

    def visit(
        path: str = "/", *, init: str = "", prepare: "Callable[[Page], None]" = lambda page: None, **options: object
    ) -> "Page":
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(STEP_MS)
        page.on("console", heard)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if init:
            page.add_init_script(init)
        prepare(page)
        answer = page.goto(url + path)
        assert answer is not None and "default-src 'self'" in (answer.header_value("content-security-policy") or "")
        if path == "/":
            expect(page.locator("#language option")).not_to_have_count(0)
        return page

    try:
        yield visit
    finally:
        for context in contexts:
            context.close()
    assert not complaints, complaints


def wait_for_state(page: "Page", state: str, seconds: float = 20.0) -> None:
    expect(page.locator("body")).to_have_attribute("data-state", state, timeout=seconds * 1000)


def wait_for_clock(page: "Page", seconds: int) -> None:
    """Until the clock shows so many seconds, at most 9, or more: it goes on while a busy machine looks elsewhere."""
    expect(page.locator("#clock")).to_have_text(re.compile(rf"^0:(0[{seconds}-9]|[1-5]\d)$"))


def stop_the_clock(page: "Page") -> None:
    """From its beginning the page knows no other time than the test lets pass."""
    page.clock.install(time=0)
    page.clock.pause_at(1)


def pass_until(page: "Page", holds: Callable[[], bool]) -> None:
    """As many frames as it takes, where the clock was stopped."""
    deadline = monotonic() + STEP_S
    while not holds():
        assert monotonic() < deadline
        page.clock.run_for(20)


def words(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", text.lower()))


def word_error_rate(page: "Page") -> float:
    return float(jiwer.wer(words(CLIP_TEXT), words(page.locator("#finals").inner_text())))

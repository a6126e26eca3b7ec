"""Chromium, by Playwright; its microphone plays a file. Every step has a time limit, everything ends with the block."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from .tab import STEP_S, Tab

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

STEP_MS = STEP_S * 1000
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--no-sandbox",  # containers and CI run as root
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)
ANSWERS = {
    "allow": ["--use-fake-ui-for-media-stream"],
    "deny": ["--use-fake-ui-for-media-stream=deny"],
    "ask": [],
}


@contextmanager
def chromium(wav: Path | None, *, microphone: str = "allow", beside: "Browser | None" = None) -> "Iterator[Browser]":
    """Yields a fresh Chromium. The WAV starts when a page opens the microphone, and silence follows it.

    `microphone` is what the person answers when the page asks: "allow", "deny", or nothing ("ask"), and then the page
    has what the test grants, until it takes it away. `beside` is another Chromium that is open meanwhile: Playwright
    runs once in a thread.
    Skips the test where Chromium or Playwright is missing; in CI a skip is a failure (conftest.py).
    """
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("Playwright is not installed")
    args = [*FLAGS, *ANSWERS[microphone]]
    if wav is not None:
        args.append(f"--use-file-for-fake-audio-capture={wav}%noloop")
    with ExitStack() as ending:
        kind = beside.browser_type if beside else ending.enter_context(sync_playwright()).chromium
        # launch() makes a new user-data-dir and removes it again.
        browser = kind.launch(executable_path=program, args=args, timeout=STEP_MS)
        ending.callback(browser.close)
        yield browser


class Chromium(Tab):
    """`voice` is the file that the microphone plays when it is opened."""

    def __init__(self, page: "Page", voice: Path) -> None:
        self._page = page
        self._voice = voice

    def open(self, url: str) -> None:
        self._page.goto(url)

    def click(self, selector: str) -> None:
        self._page.click(selector)

    def speak(self, wav: Path, press: str) -> None:
        shutil.copy(wav, self._voice)
        self.click(press)

    def run(self, expression: str, seconds: float = STEP_S) -> Any:
        late = f"new Promise((_, late) => setTimeout(() => late('no answer'), {seconds * 1000}))"
        return self._page.evaluate(f"() => Promise.race([{expression}, {late}])")

    def screenshot(self) -> bytes:
        return self._page.screenshot()


@contextmanager
def chromium_tab() -> Iterator[Chromium]:
    """Skips the test where Chromium or Playwright is missing."""
    with TemporaryDirectory(prefix="sotto-") as folder:
        voice = Path(folder) / "voice.wav"
        with chromium(voice) as browser:
            page = browser.new_page()
            page.set_default_timeout(STEP_MS)
            yield Chromium(page, voice)

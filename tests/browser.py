"""A real Chromium whose microphone plays a WAV file; every step has a time limit, everything ends with the block."""

import shutil
import wave
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

STEP_MS = 15_000  # longest wait for any one step; a healthy one takes well under a second
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

CLIP_S = 8.5  # in the pause after "foolishness" (8.22 s to 8.80 s)
CLIP_TEXT = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness,"
)


@contextmanager
def chromium(wav: Path | None, *, microphone: str = "allow", beside: "Browser | None" = None) -> "Iterator[Browser]":
    """Yields a fresh Chromium. The WAV starts when a page opens the microphone, and silence follows it.

    `microphone` is what the person answers when the page asks: "allow" or "deny". `beside` is another Chromium that is
    open meanwhile: Playwright runs once in a thread.
    Skips the test where Chromium or Playwright is missing; in CI a skip is a failure (conftest.py).
    """
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("Playwright is not installed")
    answer = "" if microphone == "allow" else "=deny"
    args = [*FLAGS, f"--use-fake-ui-for-media-stream{answer}"]
    if wav is not None:
        args.append(f"--use-file-for-fake-audio-capture={wav}%noloop")
    with ExitStack() as ending:
        kind = beside.browser_type if beside else ending.enter_context(sync_playwright()).chromium
        # launch() makes a new user-data-dir and removes it again.
        browser = kind.launch(executable_path=program, args=args, timeout=STEP_MS)
        ending.callback(browser.close)
        yield browser


def spoken_wav(folder: Path) -> Path:
    """The first sentence of the LibriVox reading inside the moonshine-voice wheel, cut in a pause."""
    spec = find_spec("moonshine_voice")
    if spec is None or spec.origin is None:
        pytest.skip("moonshine-voice is not installed")
    target = folder / "two_cities8.wav"
    with wave.open(str(Path(spec.origin).parent / "assets" / "two_cities.wav")) as source:
        parameters, samples = source.getparams(), source.readframes(int(CLIP_S * source.getframerate()))
    with wave.open(str(target), "wb") as clip:
        clip.setparams(parameters)
        clip.writeframes(samples)
    return target

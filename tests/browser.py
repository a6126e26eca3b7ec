"""A real Chromium whose microphone plays a WAV file; every step has a time limit, everything ends with the block."""

import os
import shutil
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

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
def chromium(wav: Path | None, *, microphone: str = "allow") -> "Iterator[Browser]":
    """Yields a fresh Chromium. The WAV starts when a page opens the microphone, and silence follows it.

    `microphone` is what the person answers when the page asks: "allow" or "deny".
    Skips the test where Chromium or Playwright is missing; on CI that is a failure.
    """
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        _missing("no Chromium is installed")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("Playwright is not installed")
    answer = "" if microphone == "allow" else "=deny"
    args = [*FLAGS, f"--use-fake-ui-for-media-stream{answer}"]
    if wav is not None:
        args.append(f"--use-file-for-fake-audio-capture={wav}%noloop")
    # launch() makes a new user-data-dir and removes it again.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=args, timeout=STEP_MS)
        try:
            yield browser
        finally:
            browser.close()


def spoken_wav(folder: Path) -> Path:
    """The first sentence of the LibriVox reading inside the moonshine-voice wheel, cut in a pause."""
    spec = find_spec("moonshine_voice")
    if spec is None or spec.origin is None:
        _missing("moonshine-voice is not installed")
    target = folder / "two_cities8.wav"
    with wave.open(str(Path(spec.origin).parent / "assets" / "two_cities.wav")) as source:
        parameters, samples = source.getparams(), source.readframes(int(CLIP_S * source.getframerate()))
    with wave.open(str(target), "wb") as clip:
        clip.setparams(parameters)
        clip.writeframes(samples)
    return target


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)

"""What a test does with a browser, whichever it is. No step takes longer than its time limit."""

import json
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Protocol

import pytest

STEP_S = 15.0  # longest wait for any one step; a healthy one takes well under a second


class Tab(Protocol):
    """One page of one browser. Selectors are CSS's, and name one element."""

    def open(self, url: str) -> None:
        """Returns when the page is loaded."""

    def click(self, selector: str) -> None: ...

    def speak(self, wav: Path, press: str) -> None:
        """Click on what opens the microphone: once it is open the file is heard, and behind it silence."""

    def run(self, expression: str, seconds: float = STEP_S) -> Any:
        """The JSON value of a JavaScript expression, awaited."""

    def screenshot(self) -> bytes:
        """A PNG of what is in view."""


def wait_for(tab: Tab, condition: str, seconds: float = STEP_S) -> None:
    """Until this JavaScript expression is true; else the test fails with what stands on the page."""
    looks = f"""new Promise((done) => {{
        const end = performance.now() + {seconds * 1000};
        const look = () => ({condition}) ? done("") : performance.now() < end ? setTimeout(look, 20) : done(page());
        const page = () => document.body.dataset.state + ": " + document.body.innerText;
        look();
    }})"""
    if instead := tab.run(looks, seconds + STEP_S):
        with NamedTemporaryFile(suffix=".png", delete=False) as picture:
            picture.write(tab.screenshot())
        pytest.fail(f"{seconds:.0f} s without {condition}; it looks like {picture.name} and says {instead}")


def wait_for_text(tab: Tab, selector: str, text: str, seconds: float = STEP_S) -> None:
    """Until these words are in there; the case does not count."""
    shown = f"document.querySelector({json.dumps(selector)}).textContent.toLowerCase()"
    wait_for(tab, f"{shown}.includes({json.dumps(text.lower())})", seconds)

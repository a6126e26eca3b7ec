"""WebKitGTK's MiniBrowser, the nearest to Safari that runs on Linux, over WebDriver: https://www.w3.org/TR/webdriver2."""

import json
import shutil
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from process import ready, started

from bench.process import free_port

from .desktop import desktop
from .tab import STEP_S, Tab

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's id (WebDriver, section 12.1)

# Safari sends AAC, and WebKitGTK makes that of WebAudio, not of a microphone. All that follows is the real thing.
MICROPHONE = """(async () => {
    const context = new AudioContext();
    const file = Uint8Array.from(atob("%s"), (byte) => byte.charCodeAt(0));
    const buffer = await context.decodeAudioData(file.buffer);
    navigator.mediaDevices.getUserMedia = async () => {
        const microphone = context.createMediaStreamDestination();
        const voice = new AudioBufferSourceNode(context, { buffer });
        voice.connect(microphone);
        voice.start();
        return microphone.stream;
    };
})()"""


class WebKit(Tab):
    """`driver` speaks to a session."""

    def __init__(self, driver: httpx.Client) -> None:
        self._driver = driver

    def open(self, url: str) -> None:
        self._command("url", url=url)

    def click(self, selector: str) -> None:
        element = self._command("element", using="css selector", value=selector)[ELEMENT]
        self._command(f"element/{element}/click")

    def speak(self, wav: Path, press: str) -> None:
        self.run(MICROPHONE % b64encode(wav.read_bytes()).decode())
        self.click(press)

    def run(self, expression: str, seconds: float = STEP_S) -> Any:
        self._command("timeouts", script=round(seconds * 1000))
        script = f"return (async () => JSON.stringify(await ({expression})))()"
        return json.loads(self._command("execute/sync", seconds + 1, script=script, args=[]) or "null")

    def screenshot(self) -> bytes:
        return b64decode(value(self._driver.get("screenshot")))

    def _command(self, name: str, seconds: float = STEP_S, **parameters: object) -> Any:
        return value(self._driver.post(name, json=parameters, timeout=seconds))


def value(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()["value"]


@contextmanager
def webkit_tab() -> Iterator[WebKit]:
    """Skips the test where WebKitGTK, its recorder, its sound or its display is missing."""
    if shutil.which("WebKitWebDriver") is None:
        pytest.skip("no WebKitWebDriver is installed")
    options = {"args": ["--automation", "--private", "--autoplay-policy=allow"]}
    wanted = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
    with desktop(display=True) as here:
        url = f"http://127.0.0.1:{(port := free_port())}"
        with (
            started("WebKitWebDriver", f"--port={port}", "--host=127.0.0.1", env=here.env) as process,
            httpx.Client(timeout=STEP_S, trust_env=False) as driver,
        ):
            assert ready(process, f"{url}/status"), "WebKitWebDriver did not start"
            session = value(driver.post(f"{url}/session", json={"capabilities": wanted}))["sessionId"]
            driver.base_url = f"{url}/session/{session}/"
            tab = WebKit(driver)
            if not tab.run("MediaRecorder.isTypeSupported('audio/mp4')"):
                pytest.skip("WebKitGTK cannot record: gstreamer1.0-plugins-bad is not installed")
            yield tab
            driver.delete("")

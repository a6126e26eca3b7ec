"""Firefox over WebDriver BiDi, which it speaks by itself: https://www.w3.org/TR/webdriver-bidi."""

import json
import shutil
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from process import started, until
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from bench.process import free_port

from .desktop import Desktop, desktop
from .tab import STEP_S, Tab

NAMES = ("firefox-esr", "firefox")
PREFERENCES = {
    "media.navigator.permission.disabled": True,  # the person says yes to the microphone
    "media.autoplay.default": 0,  # the level meter needs an AudioContext that runs
    "media.autoplay.blocking_policy": 0,
    "media.cubeb_latency_mtg_frames": 8192,  # 0.2 s of sound may wait, or a busy machine loses some
    "layout.frame_rate": 20,  # of the level meter
    # Nothing is asked of the network but by the page.
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.region.network.url": "",
    "browser.safebrowsing.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.push.enabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.url": "",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
}

# The first sound that a Firefox takes in is seconds late on a busy machine. So it is listened to before it counts, and
# the microphone stays open from then on.
LISTEN = """(async () => {
    const raw = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(await navigator.mediaDevices.getUserMedia({ audio: raw })).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    while (!samples.some(Boolean)) {
        await new Promise((soon) => setTimeout(soon, 20));
        analyser.getFloatTimeDomainData(samples);
    }
})()"""


class Firefox(Tab):
    def __init__(self, socket: ClientConnection, desktop: Desktop) -> None:
        self._socket = socket
        self._desktop = desktop
        self._numbers = count(1)
        self._command("session.new", capabilities={})
        self._tab = self._command("browsingContext.getTree")["contexts"][0]["context"]

    def open(self, url: str) -> None:
        self._command("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def speak(self, wav: Path, press: str) -> None:
        with self._desktop.noise():
            self.run(LISTEN)
        self.click(press)
        self._desktop.say(wav)

    def run(self, expression: str, seconds: float = STEP_S) -> Any:
        answer = self._command(
            "script.evaluate",
            seconds,
            expression=f"(async () => JSON.stringify(await ({expression})))()",
            target={"context": self._tab},
            awaitPromise=True,
            userActivation=True,
        )
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return json.loads(answer["result"].get("value", "null"))

    def screenshot(self) -> bytes:
        return b64decode(self._command("browsingContext.captureScreenshot", context=self._tab)["data"])

    def _command(self, method: str, seconds: float = STEP_S, **parameters: object) -> Any:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        end = monotonic() + seconds
        while (answer := json.loads(self._socket.recv(end - monotonic()))).get("id") != number:
            pass  # an event
        assert answer["type"] == "success", answer
        return answer["result"]


@contextmanager
def firefox_tab() -> Iterator[Firefox]:
    """Skips the test where Firefox or its microphone is missing."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Firefox is installed")
    with desktop() as here:
        profile = Path(here.env["HOME"])
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items())
        (profile / "user.js").write_text("".join(lines))
        port = free_port()
        command = [program, "--headless", "--no-remote", "--profile", str(profile), f"--remote-debugging-port={port}"]
        with started(*command, env=here.env) as process:
            sockets: list[ClientConnection] = []

            def listens() -> bool:
                with suppress(OSError, WebSocketException):
                    sockets.append(connect(f"ws://127.0.0.1:{port}/session", max_size=None, open_timeout=STEP_S))
                return bool(sockets)

            assert until(process, listens), "Firefox did not start"
            with sockets[0]:
                yield Firefox(sockets[0], here)

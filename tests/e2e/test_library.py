"""The library's README, followed to the letter by another site, in a real Chromium."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from browser import STEP_MS, chromium, spoken_wav
from process import running_server

expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect

LIBRARY = Path(__file__).parents[2] / "static" / "captions"
PAGE = """<!doctype html><link rel="icon" href="data:">
<button id="start">Start</button><button id="stop">Stop</button><pre id="captions"></pre>
<script type="module">{program}</script>"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def site(folder: Path) -> Iterator[str]:
    """Yields the origin of a web server of these files."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_six_lines_put_captions_on_another_site(tmp_path: Path) -> None:
    (program,) = re.findall(r"^```js\n(.*?)^```", (LIBRARY / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(program.splitlines()) == 6
    shutil.copytree(LIBRARY, tmp_path / "site" / "captions")
    with (
        site(tmp_path / "site") as origin,
        running_server(SOTTO_ENGINE="moonshine", SOTTO_ALLOWED_ORIGINS=origin) as server,
        chromium(spoken_wav(tmp_path)) as browser,
    ):
        program = program.replace("https://captions.example.com", server)
        (tmp_path / "site" / "index.html").write_text(PAGE.format(program=program))
        page = browser.new_page()
        page.set_default_timeout(STEP_MS)
        complaints: list[str] = []
        page.on("console", lambda line: complaints.append(line.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto(origin)
        page.click("#start")
        expect(page.locator("#captions")).to_contain_text("best of times", ignore_case=True, timeout=STEP_MS)
        page.click("#stop")
        expect(page.locator("#captions")).to_contain_text("best of times", ignore_case=True)
    assert complaints == []

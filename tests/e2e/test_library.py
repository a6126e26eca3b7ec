"""The library's README, followed to the letter by another site, in a real Chromium."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from browsers.chromium import STEP_MS, chromium
from process import running_server
from speaker import speaker
from spoken import spoken_wav
from visitor import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page


LIBRARY = Path(__file__).parents[2] / "static" / "captions"
SPEAK, FOLLOW = 0, 1  # the examples, in the README's order
HEAD = '<!doctype html><link rel="icon" href="data:">'
ONLY_POST = """
delete window.WebSocket;
const { start } = MediaRecorder.prototype;
MediaRecorder.prototype.start = function (timeslice) {
  window.recorded = 0;
  this.addEventListener("dataavailable", () => (window.recorded += 1));
  start.call(this, timeslice);
};
"""


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


@contextmanager
def another_site(
    folder: Path, imported: str, init: str = "", example: int = SPEAK, told: str = ""
) -> "Iterator[tuple[Page, str]]":
    """Yields the README's page on a site of its own, and the server; what the console has but `told` fails the test.

    The library is imported from `imported`; {server} in it is the address of the captions server.
    """
    text = (LIBRARY / "README.md").read_text()
    (html,) = re.findall(r"^```html\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    program = re.findall(r"^```js\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[example]
    assert len(program.splitlines()) == 6
    shutil.copytree(LIBRARY, folder / "captions")
    with (
        site(folder) as origin,
        running_server(SOTTO_ENGINE="moonshine", SOTTO_ALLOWED_ORIGINS=origin) as server,
        chromium(spoken_wav(folder)) as browser,
    ):
        program = program.replace("https://captions.example.com", server)
        program = program.replace("./captions/", imported.format(server=server))
        (folder / "index.html").write_text(HEAD + html)
        (folder / "captions.js").write_text(program)
        page = browser.new_page()
        page.set_default_timeout(STEP_MS)
        complaints: list[str] = []
        page.on("console", lambda line: complaints.append(line.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        if init:
            page.add_init_script(init)
        page.goto(origin)
        yield page, server
    assert [line for line in complaints if not (told and line.startswith(told))] == []


def test_six_lines_put_captions_on_another_site(tmp_path: Path) -> None:
    with another_site(tmp_path, "./captions/") as (page, _):
        page.click("#start")
        expect(page.locator("#captions")).to_contain_text("best of times", ignore_case=True)
        page.click("#stop")
        expect(page.locator("#captions")).to_contain_text("best of times", ignore_case=True)


def test_another_site_may_import_the_library_from_the_server_and_post_to_it(tmp_path: Path) -> None:
    with another_site(tmp_path, "{server}/static/captions/", init=ONLY_POST, told="live.blocked") as (page, _):
        page.click("#start")
        page.wait_for_function("window.recorded > 30")  # all of it: 9 s
        page.click("#stop")
        expect(page.locator("#captions")).to_contain_text("best of times", ignore_case=True)


def test_six_lines_follow_a_room_on_another_site(tmp_path: Path) -> None:
    with another_site(tmp_path, "./captions/", example=FOLLOW) as (page, server):
        expect(page).to_have_title("waiting")
        with speaker(server, "keynote") as voice:
            expect(page).to_have_title("live")
            voice.say_the_rest()
        expect(page.locator("#captions")).to_contain_text("best of times", ignore_case=True)
        expect(page).to_have_title("silent")

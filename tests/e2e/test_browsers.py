"""In every real browser: what is said is read, each word once, whatever happens to the line and to the server."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from browsers import BROWSERS
from browsers.tab import Tab, wait_for, wait_for_text
from process import module, server_at

from bench.clip import Speech, silence, two_cities
from bench.process import free_port
from bench.proxy import NOWHERE, Proxy

LEAD_S = 1.0  # of silence, in which a busy machine opens the microphone
SAID_S = 20.6  # to the pause behind "the winter of despair"
CATCH_UP_S = 20.0  # the longest pause between two knocks, and the words that waited

COMPLAINTS = """(() => {
    window.complaints = [];
    for (const kind of ["error", "unhandledrejection", "securitypolicyviolation"]) {
        addEventListener(kind, ({ message, reason, violatedDirective }) =>
            complaints.push(`${kind}: ${message ?? reason ?? violatedDirective}`));
    }
})()"""


@pytest.fixture(scope="module", params=BROWSERS)
def tab(request: pytest.FixtureRequest) -> Iterator[Tab]:
    with BROWSERS[request.param]() as tab:
        yield tab


@pytest.fixture(scope="module")
def speech() -> Speech:
    return silence(LEAD_S) + two_cities().until(SAID_S) + silence(3.0)


@pytest.fixture(scope="module")
def wav(speech: Speech, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    speech.write(folder)
    return folder / "speech.wav"


@pytest.fixture(scope="module")
def settings(wav: Path) -> Iterator[dict[str, str]]:
    """Of a server whose engine knows every word of the clip and when it is said, so that one is never misheard."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with module("bench.upstream", str(wav.parent), f"--port={port}", at=f"{url}/readyz"):
        yield {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": f"{url}/v1", "WHISPER_MODEL": "whisper-1"}


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def test_every_word_is_read_once_though_the_line_is_cut_and_the_server_killed_in_mid_sentence(
    tab: Tab, speech: Speech, wav: Path, settings: dict[str, str]
) -> None:
    port = free_port()
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Proxy(port)) as line,
        ExitStack() as servers,
    ):
        server = servers.enter_context(server_at(port, **settings))
        tab.open(line.url)
        tab.run(COMPLAINTS)
        wait_for(tab, "document.querySelector('#language').options.length")  # the page is at work
        tab.speak(wav, press="#button")
        wait_for_text(tab, "#captions", "the worst")

        line.target = NOWHERE
        portal.call(line.cut)
        wait_for_text(tab, "#clock", "5 s waiting")
        assert "I am still recording" in tab.run("document.querySelector('#notice').innerText")
        line.target = port
        wait_for_text(tab, "#captions", "the season", CATCH_UP_S)

        server.kill()
        wait_for(tab, "document.body.dataset.state === 'offline'")
        servers.enter_context(server_at(port, **settings))
        wait_for_text(tab, "#finals", "despair", CATCH_UP_S)
        tab.click("#button")
        wait_for(tab, "document.body.dataset.state === 'done'")
        read = words(tab.run("document.querySelector('#finals').innerText"))
    assert read == words(speech.text)
    assert tab.run("complaints") == []

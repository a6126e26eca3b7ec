"""A session from the command line over lines that break, with the real server."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from api.conftest import Process, process
from websockets.asyncio.server import ServerConnection, serve

from bench.proxy import Proxy
from server.cli.line import KEEPALIVE_S, Line, Message, pause
from server.cli.target import Failed, Target

from .conftest import KEY

WEBM = (Path(__file__).parents[1] / "recordings" / "chromium-webm-opus.webm").read_bytes()
HALF = len(WEBM) // 2
START = {"type": "start", "language": "en", "interim": True}
PATIENCE_S = 60.0  # a busy machine needs a tenth of it


class Speaker:
    """Says half of the recording, waits until that is answered, and says the other half after `meanwhile`."""

    def __init__(self, url: str, meanwhile: Callable[[], None] = lambda: None, token: str = "") -> None:
        self.told: list[Message] = []
        self._meanwhile = meanwhile
        self._answered = asyncio.Event()
        self._line = Line(Target(url, token), START, self._show)

    def _show(self, message: Message) -> None:
        self.told.append(message)
        if message["type"] in ("partial", "final"):
            self._answered.set()

    async def _sound(self) -> AsyncIterator[bytes]:
        yield WEBM[:HALF]
        await self._answered.wait()
        self._meanwhile()
        yield WEBM[HALF:]

    async def speak(self) -> str:
        async with asyncio.timeout(PATIENCE_S):
            await self._line.speak(self._sound())
        return " ".join(message["text"] for message in self.told if message["type"] == "final").lower()

    def kinds(self) -> list[str]:
        return [kind for kind in (message["type"] for message in self.told) if kind in ("down", "up")]


def every_word_once(text: str) -> None:
    assert [text.count(word) for word in ("best", "worst", "wisdom", "foolishness")] == [1, 1, 1, 1], text


def test_from_the_first_sound_to_the_last_word(server: Process):
    async def story() -> None:
        speaker = Speaker(server.url, token=KEY)
        every_word_once(await speaker.speak())
        assert speaker.kinds() == []

    asyncio.run(story())


def test_a_line_that_breaks_in_mid_sentence_goes_on_where_it_was(server: Process):
    async def story() -> None:
        async with Proxy(server.port) as proxy:
            speaker = Speaker(proxy.url, proxy.cut, KEY)
            every_word_once(await speaker.speak())
            assert speaker.kinds() == ["down", "up"]

    asyncio.run(story())


def test_a_server_that_cannot_go_on_is_told_again_what_was_not_final(server: Process, tmp_path):
    async def story() -> None:
        with process(tmp_path, SOTTO_API_KEYS=KEY, SOTTO_SECRET="another secret of the tests") as another:
            async with Proxy(server.port) as proxy:

                def change_servers() -> None:
                    proxy.target = another.port
                    proxy.cut()

                every_word_once(await Speaker(proxy.url, change_servers, KEY).speak())

    asyncio.run(story())


def test_a_server_with_little_patience_is_told_in_time_that_somebody_is_there():
    async def impatient(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(json.dumps({"type": "ready", "limits": {"idle_s": 0.3}}))
        async with asyncio.timeout(KEEPALIVE_S / 2):
            assert json.loads(await socket.recv()) == {"type": "keepalive"}
        await socket.send('{"type":"done"}')

    async def nothing_yet() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async def story() -> None:
        async with serve(impatient, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            await Line(Target(url), START, print).speak(nothing_yet())

    asyncio.run(story())


def test_sound_that_fails_costs_no_word_before_it_and_is_told(server: Process):
    async def sound() -> AsyncIterator[bytes]:
        yield WEBM
        raise OSError("the disk is gone")

    told: list[Message] = []
    line = Line(Target(server.url, KEY), START, told.append)
    with pytest.raises(OSError, match="the disk is gone"):
        asyncio.run(line.speak(sound()))
    every_word_once(" ".join(message["text"] for message in told if message["type"] == "final").lower())


@pytest.mark.parametrize("token, why", [("", "--token gives a key"), ("wrong", "got something else")])
def test_who_may_not_is_told_why(server: Process, token, why):
    with pytest.raises(Failed, match=why):
        asyncio.run(Speaker(server.url, token=token).speak())


def test_where_there_is_no_server_nobody_waits_for_one(server: Process):
    for url, why in (("http://127.0.0.1:1", "cannot reach"), (f"{server.url}/nothing", "answered 404")):
        with pytest.raises(Failed, match=why):
            asyncio.run(Speaker(url).speak())


def test_pauses_grow_from_none_to_seven_seconds():
    assert pause(0) == 0.0 and 0.2 <= pause(1) <= 0.3
    assert all(5.6 <= pause(tries) <= 8.4 for tries in range(20, 999, 50))

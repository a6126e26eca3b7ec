"""Somebody who speaks in a room: a recording of a browser, sent in pieces as the test wants it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

RECORDING = Path(__file__).parent / "recordings" / "chromium-webm-opus.webm"
HALF = 20_000  # bytes: four seconds, "It was the best of times, it was the worst of times"
STEP_S = 20.0


class Speaker:
    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._unsaid = RECORDING.read_bytes()

    def say_half(self) -> None:
        self._say(self._unsaid[:HALF])

    def say_the_rest(self) -> None:
        """The last words too; then the session is over."""
        self._say(self._unsaid)
        self._socket.send('{"type":"stop"}')
        while json.loads(self._socket.recv(STEP_S))["type"] != "done":
            pass

    def _say(self, said: bytes) -> None:
        self._unsaid = self._unsaid[len(said) :]
        self._socket.send(said)


@contextmanager
def speaker(url: str, room: str) -> Iterator[Speaker]:
    """In the room when the block begins."""
    with connect(f"{url.replace('http', 'ws')}/api/captions?room={room}") as socket:
        assert json.loads(socket.recv(STEP_S))["type"] == "ready"
        yield Speaker(socket)

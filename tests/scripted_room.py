"""A room that says what the test wants it to say, to a page in a browser."""

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page, WebSocketRoute

NO_EVENTS = "fetch = () => Promise.reject(new TypeError())"  # then there is no other way to a room than a WebSocket


class Room:
    """`on(page)` lets it speak in place of the server: `told` at once, and then what is `say`ed."""

    def __init__(self, *told: dict, close: int | None = None) -> None:
        self._told = told
        self._close = close
        self._routes: list[WebSocketRoute] = []

    def on(self, page: "Page") -> None:
        page.route_web_socket("**/api/rooms/**", self._answer)

    def _answer(self, route: "WebSocketRoute") -> None:
        self._routes.append(route)
        self.say(*self._told)
        if self._close:
            route.close(code=self._close)

    def say(self, *messages: dict) -> None:
        for message in messages:
            self._routes[-1].send(json.dumps(message))


def there(**about: object) -> dict:
    return {"type": "room", "room": "hall", "epoch": "e1", "live": True, "degraded": False, **about}


def final(offset: int, text: str = "It was the best of times.", session: str = "s_a") -> dict:
    times = {"utterance": offset, "start": float(offset), "end": offset + 1.0}
    return {"type": "final", "offset": offset, "session": session, **times, "text": text, "words": [], "language": "en"}


def partial(utterance: int, text: str) -> dict:
    times = {"utterance": utterance, "start": float(utterance), "end": utterance + 1.0}
    return {"type": "partial", "session": "s_a", **times, "text": text, "stable": 0}


def error(code: str) -> dict:
    return {"type": "error", "error": {"code": code, "message": code, "param": None, "retry_after_s": None}}

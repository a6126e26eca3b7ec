"""The server that a command talks to, and what the two tell people when something goes wrong."""

import sys
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

LOCAL = "http://127.0.0.1:8000"
SERVER, TOKEN = "SOTTO_SERVER", "SOTTO_TOKEN"  # in the environment; the server's settings know them, and pass over them

INTERRUPTED = 130  # the exit code of what Ctrl-C ended, as shells have it


class Unread(Exception):
    """Nobody reads any more what is written."""


class Failed(Exception):
    """What went wrong, for people, in one line."""


@dataclass(frozen=True, slots=True)
class Target:
    """`url` is http:// or https://."""

    url: str
    token: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def address(self, path: str, scheme: str = "http") -> str:
        """`scheme` is http or ws; the server's own tells whether it is encrypted. Raises Failed."""
        kind, colon, rest = self.url.rstrip("/").partition("://")
        if kind not in ("http", "https") or not (colon and rest) or not _is_address(self.url):
            raise Failed(f"expected a server such as {LOCAL}, got {self.url}")
        return f"{kind.replace('http', scheme)}://{rest}/{path}"


def _is_address(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:  # [ without ], or no port that there can be
        return False


def fault(error: dict[str, Any]) -> str:
    """The server's error object in a line."""
    hint = "; --token gives a key or a token" if error.get("code") == "auth.missing" else ""
    return printable(f"{error.get('message') or error.get('code')}{hint}")


def printable(text: str) -> str:
    """Without what a terminal would take for an order."""
    return "".join(character if character.isprintable() else " " for character in text)


def complain(sentence: str) -> None:
    print(f"sotto: {sentence}", file=sys.stderr, flush=True)

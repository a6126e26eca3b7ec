"""A line that is drawn again and again, on a terminal; anywhere else only what is said for good."""

import shutil
from typing import TextIO

from ..speech.cues import width
from .target import Unread, printable

CLEAR = "\r\x1b[K"  # back to the beginning of the line, and away with it (ECMA-48)
BAR = 30  # characters


class Screen:
    """The terminal behind a stream; where there is none, nothing is drawn."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = False
        self.live = stream.isatty()

    def draw(self, text: str) -> None:
        """In place of what was drawn before; of what is too long the end."""
        if self.live:
            self._write(CLEAR + fitted(printable(text), shutil.get_terminal_size().columns - 1))
            self._drawn = True

    def say(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        self._write(printable(text) + "\n")

    def clear(self) -> None:
        if self._drawn:
            self._write(CLEAR)
            self._drawn = False

    def _write(self, text: str) -> None:
        put(text, self._stream)


def put(text: str, stream: TextIO) -> None:
    """At once. Raises Unread."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        raise Unread from None


def bar(done: float) -> str:
    """`done` is 0 to 1."""
    full = round(BAR * min(1.0, max(0.0, done)))
    return f"[{'#' * full}{'.' * (BAR - full)}]"


def clock(seconds: float) -> str:
    """1:02:03, or 2:03."""
    whole = int(seconds)
    hours = f"{whole // 3600}:{whole // 60 % 60:02}" if whole >= 3600 else str(whole // 60)
    return f"{hours}:{whole % 60:02}"


def fitted(text: str, columns: int) -> str:
    """As much of the end of a text as goes into so many columns."""
    start = max(0, len(text) - columns)
    while width(text[start:]) > columns:
        start += 1
    return text[start:]

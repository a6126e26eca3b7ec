"""`sotto live`: sound to a server as it comes, captions back."""

import asyncio
import signal
import sys
from argparse import Namespace
from contextlib import suppress
from typing import Any

from ..errors import SottoError, UnsupportedFormat
from .line import Line, Message
from .screen import Screen
from .source import Source, identify
from .target import INTERRUPTED, Failed, Target, complain, printable


def run(arguments: Namespace) -> int:
    """The exit code."""
    piped = arguments.file == "-"
    if piped and (sys.stdin is None or sys.stdin.isatty()):  # None: whoever started us has closed it
        complain("expected a file, or sound on standard input: arecord -f S16_LE -r 16000 | sotto live")
        return 2
    samples = {"encoding": arguments.encoding, "sample_rate": arguments.rate, "channels": arguments.channels}
    try:
        with open(sys.stdin.fileno() if piped else arguments.file, "rb", buffering=0, closefd=not piped) as file:
            source = identify(file, {key: value for key, value in samples.items() if value is not None})
            return asyncio.run(caption(arguments, source))
    except OSError as error:
        complain(f"{arguments.file}: {error.strerror or error}")
    except UnsupportedFormat as error:
        complain(f"{error}; `sotto transcribe` reads other files, and --rate tells that these are samples")
    except (SottoError, Failed) as error:
        complain(str(error))
    return 1


async def caption(arguments: Namespace, source: Source) -> int:
    """To the last word, or to the second Ctrl-C. Raises Failed."""
    screen = Screen(sys.stdout)
    line = Line(Target(arguments.server, arguments.token), start(arguments, source, screen.live), Shown(screen).show)
    speaking = asyncio.create_task(line.speak(source.chunks()))

    def interrupt() -> None:
        if line.ended:
            speaking.cancel()
        else:
            line.stop()

    with suppress(NotImplementedError):  # on Windows Ctrl-C ends at once
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
    try:
        await speaking
    except asyncio.CancelledError:
        return INTERRUPTED
    finally:
        screen.clear()
    return 0


def start(arguments: Namespace, source: Source, interim: bool) -> Message:
    """The first message."""
    named: Message = {name: getattr(arguments, name) for name in ("language", "prompt", "room")}
    wishes: dict[str, Any] = {**named, "audio": source.audio}
    return {"type": "start", "interim": interim, **{key: value for key, value in wishes.items() if value}}


class Shown:
    """What the server says, for people: captions to the screen, all else to standard error."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def show(self, message: Message) -> None:
        match message["type"]:
            case "partial":
                self._screen.draw(message["text"])
            case "final" if message["text"]:
                self._screen.say(message["text"])
            case "warning":
                self._note(printable(message["message"]))
            case "down":
                self._note(f"{message['message']}; what is said is kept")
            case "up":
                self._note("the line is up again")

    def _note(self, sentence: str) -> None:
        self._screen.clear()
        complain(sentence)

"""`sotto transcribe`: files to a server, transcripts back."""

import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import httpx2

from ..speech import subtitles
from ..speech.types import Word
from .screen import Screen, bar, clock, put
from .target import Failed, Target, complain, fault

SUFFIXES = {"text": ".txt", "srt": ".srt", "vtt": ".vtt", "json": ".json"}
TIMEOUT = httpx2.Timeout(10, write=60, read=600)  # seconds; a busy server may begin with a file late
PATIENCE_S = 600.0  # seconds in which a server that has no room is asked again
PAUSE_S = 5.0  # seconds between two tries, where the server does not say

Show = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Final:
    """A stretch of a file and what was said in it; seconds."""

    start: float
    end: float
    text: str
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Transcript:
    text: str
    finals: list[Final]
    whole: dict[str, Any]  # the server's answer

    def written(self, format: str) -> str:
        match format:
            case "srt":
                return subtitles.srt(self.finals)
            case "vtt":
                return subtitles.vtt(self.finals)
            case "json":
                return json.dumps(self.whole, ensure_ascii=False, indent=2) + "\n"
        return f"{self.text}\n"


class Busy(Failed):
    """The server has no room now; `after` is in how many seconds to come back."""

    def __init__(self, message: str, after: float) -> None:
        super().__init__(message)
        self.after = after


def run(arguments: Namespace) -> int:
    """The exit code."""
    target = Target(arguments.server, arguments.token)
    fields = {"language": arguments.language, "prompt": arguments.prompt, "format": "verbose_json"}
    screen = Screen(sys.stderr)
    failed = 0
    try:
        outputs = [output(Path(file), arguments) for file in arguments.files]
        with httpx2.Client(timeout=TIMEOUT, headers={**target.headers, "Accept": "text/event-stream"}) as client:
            for file, there in zip(arguments.files, outputs, strict=True):
                try:
                    refuse_to_overwrite(there, arguments.force)
                    address = target.address("api/transcribe")
                    transcript = transcribed(
                        client, address, Path(file), {k: v for k, v in fields.items() if v}, screen
                    )
                    write(transcript.written(arguments.format), there)
                except (Failed, OSError) as error:
                    screen.clear()
                    complain(f"{file}: {told(error)}")
                    failed += 1
    except Failed as error:
        complain(str(error))
        return 2
    return 1 if failed else 0


# -- where to ------------------------------------------------------------------------------------------------------


def output(file: Path, arguments: Namespace) -> Path | None:
    """Where this file's transcript goes; None is standard output. Raises Failed."""
    several = len(arguments.files) > 1
    if not file.name:
        raise Failed(f"expected files, got {file}")
    beside = file.with_suffix(SUFFIXES[arguments.format])
    if arguments.output is None:
        return beside if several else None
    if arguments.output == "-":
        return None
    there = Path(arguments.output)
    if there.is_dir():
        return there / beside.name
    if several:
        raise Failed(f"expected a folder for {len(arguments.files)} transcripts, got {there}")
    return there


def refuse_to_overwrite(there: Path | None, force: bool) -> None:
    """Before hours are spent on the transcript."""
    if there and there.exists() and not force:
        raise Failed(f"{there} is there already; --force writes over it")


def write(text: str, there: Path | None) -> None:
    if there is None:
        put(text, sys.stdout)
    else:
        there.write_text(text, encoding="utf-8")


# -- one file ------------------------------------------------------------------------------------------------------


def transcribed(
    client: httpx2.Client,
    address: str,
    file: Path,
    fields: dict[str, str],
    screen: Screen,
    wait: Callable[[float], None] = time.sleep,
) -> Transcript:
    """What the server makes of a file; waits for a server that has no room. Raises Failed or OSError."""

    def show(text: str) -> None:
        screen.draw(f"{file.name} {text}")

    waited = 0.0
    try:
        while True:
            try:
                with Sending(file, show) as opened:
                    return asked(client, address, opened, fields, show)
            except Busy as busy:
                if waited >= PATIENCE_S:
                    raise
                show(f"{busy}; trying again in {busy.after:g} s")
                wait(busy.after)
                waited += busy.after
    except httpx2.ConnectError as error:
        raise Failed(f"cannot reach {address}: {error}") from None
    except httpx2.TimeoutException:
        raise Failed(f"no answer from {address} in time") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise Failed(f"the line to {address} broke: {error}") from None
    finally:
        screen.clear()


class Sending(FileIO):
    """A file that shows how much of it was read."""

    def __init__(self, path: Path, show: Show) -> None:
        super().__init__(path)
        self._show = show
        self._size = max(1, os.fstat(self.fileno()).st_size)

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self._show(f"{bar(self.tell() / self._size)} sent")
        return data


def asked(client: httpx2.Client, address: str, file: Sending, fields: dict[str, str], show: Show) -> Transcript:
    name = Path(str(file.name)).name.encode(errors="replace").decode()  # names on disk need not be text
    with client.stream("POST", address, data=fields, files={"file": (name, file)}) as answer:
        if answer.status_code != 200:
            answer.read()
            raise refusal(answer)
        try:
            return heard(events(answer.iter_bytes()), show)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Failed(f"{address} told something that cannot be read; is it a Sotto?") from None


def heard(events: Iterator[dict[str, Any]], show: Show) -> Transcript:
    """Raises Failed, and all that comes of events that are none."""
    finals = []
    for event in events:
        match event["type"]:
            case "progress":
                show(progress(event["done_s"], event["duration_s"]))
            case "final":
                words = tuple(Word(word["text"], word["start"], word["end"]) for word in event["words"])
                finals.append(Final(event["start"], event["end"], event["text"], words))
            case "done":
                whole = {key: value for key, value in event.items() if key != "type"}
                return Transcript(event["transcript"], finals, whole)
            case "error":
                raise Failed(fault(event["error"]))
    raise Failed("the server's answer has no end")


def events(pieces: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """Server-Sent Events of one line each, which a line feed ends: to httpx2 other characters of a text do so, too."""
    begun: list[bytes] = []
    for piece in pieces:
        *ends, rest = piece.split(b"\n")
        for end in ends:
            line = b"".join([*begun, end])
            begun.clear()
            if line.startswith(b"data:"):
                yield json.loads(line.removeprefix(b"data:"))
        begun.append(rest)


def refusal(answer: httpx2.Response) -> Failed:
    try:
        error = answer.json()["error"]
        message = fault(error)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Failed(f"{answer.url} answered {answer.status_code}; is it a Sotto?")
    if answer.status_code in (429, 503) and error.get("retryable"):
        return Busy(message, error.get("retry_after_s") or PAUSE_S)
    return Failed(message)


def progress(done_s: float, duration_s: float | None) -> str:
    if not duration_s:
        return clock(done_s)
    return f"{bar(done_s / duration_s)} {clock(done_s)} of {clock(duration_s)}"


def told(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)

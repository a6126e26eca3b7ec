"""Small engines for the tests of the edge. They listen to nothing but the length of what they are given."""

import threading

from server.engines.base import EngineError, Speech
from server.speech.types import Hypothesis


class Counts:
    """Answers with a number for each half second: "zero one two", so that a longer stretch has a longer text."""

    name = "counts"
    wants_samples = True
    languages: frozenset[str] | None = frozenset({"en", "de"})
    paid = False
    partial_interval = 0.5
    longest = 30.0
    context = 0.0

    def __init__(self) -> None:
        self.asked: list[Speech] = []
        self.closed = False

    def transcribe(self, speech: Speech) -> Hypothesis:
        self.asked.append(speech)
        return Hypothesis(" ".join(NUMBERS[: round(2 * (speech.end - speech.start))]), language=speech.language or "en")

    def close(self) -> None:
        self.closed = True


NUMBERS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
]  # fmt: skip


class Refuses(Counts):
    """Answers nothing, and says that asking again is of no use."""

    def transcribe(self, speech: Speech) -> Hypothesis:
        raise EngineError("the key is wrong", retryable=False)


class Breaks(Counts):
    """Has a fault of its own at every partial, and reads finals."""

    def transcribe(self, speech: Speech) -> Hypothesis:
        if not speech.final:
            raise ZeroDivisionError("nobody expects this")
        return super().transcribe(speech)


class Waits(Counts):
    """Answers finals only after `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.begun, self.asked_for_final = threading.Event(), threading.Event(), threading.Event()

    def transcribe(self, speech: Speech) -> Hypothesis:
        self.begun.set()
        if speech.final:
            self.asked_for_final.set()
        if speech.final and not self.go.wait(20):
            raise EngineError("nobody said go")
        return super().transcribe(speech)


class Hesitates(Counts):
    """Answers finals of what began before `border` (seconds) only when a later one was asked for."""

    def __init__(self, border: float) -> None:
        super().__init__()
        self.border = border
        self.later = threading.Event()

    def transcribe(self, speech: Speech) -> Hypothesis:
        if speech.final and speech.start > self.border:
            self.later.set()
        elif speech.final and not self.later.wait(20):
            raise EngineError("nothing later came")
        return super().transcribe(speech)

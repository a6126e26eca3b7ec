"""Small honest stand-ins for the outer world."""

import threading
from collections import deque
from collections.abc import Callable

import numpy as np

from server.audio.clip import Clip
from server.engines.base import Speech
from server.speech.types import RATE, Hypothesis, Samples

Answer = str | Hypothesis | BaseException | Callable[[Speech], Hypothesis]


class Silence:
    """A stretch of nothing, for engines that do not listen."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds

    def samples(self) -> Samples:
        return np.zeros(round(self._seconds * RATE), np.float32)

    def clip(self) -> Clip:
        raise LookupError("silence has no packets")


class ScriptedEngine:
    """An engine that answers what it is told to, in order, and "ok" when it was told no more.

    An exception is raised; a function is called in the engine's thread. `hold` lets no call return before `release`.
    """

    wants_samples = True
    languages: frozenset[str] | None = None
    paid = False
    partial_interval = 1.0
    longest = 30.0
    context = 0.0

    def __init__(self, *answers: Answer, name: str = "scripted") -> None:
        self.name = name
        self.heard: list[Speech] = []
        self.running = self.most = 0  # calls at once, now and ever
        self.closed = False
        self._answers = deque(answers)
        self._changed = threading.Condition()
        self._open = threading.Event()
        self._open.set()

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def wait_for(self, calls: int) -> None:
        """Blocks until so many calls have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.heard) >= calls, timeout=10)

    def transcribe(self, speech: Speech) -> Hypothesis:
        with self._changed:
            self.heard.append(speech)
            answer = self._answers.popleft() if self._answers else "ok"
            self.running += 1
            self.most = max(self.most, self.running)
            self._changed.notify_all()
        try:
            self._open.wait()
            if isinstance(answer, BaseException):
                raise answer
            if isinstance(answer, str):
                return Hypothesis(answer)
            return answer if isinstance(answer, Hypothesis) else answer(speech)
        finally:
            with self._changed:
                self.running -= 1

    def close(self) -> None:
        self.closed = True

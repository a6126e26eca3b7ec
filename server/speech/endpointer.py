"""Where somebody starts to speak, pauses, and has finished."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from .types import FRAME_S, Frame

HYSTERESIS = 0.15  # of the probability: a wavering voice crosses one threshold, and not both


class Edge(Enum):
    NONE = auto()
    START = auto()  # it is speech, and began at `Endpointer.onset`
    PAUSE = auto()  # a short silence; it may be the end
    END = auto()  # silence for long enough


class State(Enum):
    SILENCE = auto()
    ONSET = auto()  # voiced, but still too short to be speech
    SPEECH = auto()
    PAUSE = auto()


@dataclass(slots=True)
class Endpointer:
    """Turns probabilities of speech into edges.

    Two thresholds (hysteresis) keep a wavering voice from flickering. How long a silence must last to be the end is
    asked at each silent frame (`hang`, seconds), because it depends on what was said.
    """

    on: float = 0.5
    off: float = 0.5 - HYSTERESIS
    voiced_to_open: float = 0.2  # seconds: a cough or a click is shorter
    pause: float = 0.15  # seconds
    onset: float = 0.0
    voice_end: float = 0.0  # end of the latest voiced frame
    voiced: float = 0.0  # seconds voiced since the onset
    state: State = State.SILENCE

    def listen(self, threshold: float) -> None:
        """Voice begins at this probability, and ends a little below."""
        self.on, self.off = threshold, max(0.0, threshold - HYSTERESIS)

    def push(self, frame: Frame, hang: Callable[[], float]) -> Edge:
        end = frame.time + FRAME_S
        if frame.speech >= (self.on if self.state is State.SILENCE else self.off):
            return self._voice(frame.time, end)
        quiet = end - self.voice_end
        if self.state is State.ONSET and quiet >= 2 * self.pause:
            self.state = State.SILENCE
        elif self.state is State.SPEECH and quiet >= self.pause:
            self.state = State.PAUSE
            return Edge.PAUSE
        elif self.state is State.PAUSE and quiet >= hang():
            self.state = State.SILENCE
            return Edge.END
        return Edge.NONE

    def force(self) -> Edge:
        """No more audio is coming for now: what is open ends, and even a short onset counts as speech."""
        state, self.state = self.state, State.SILENCE
        if state is State.ONSET and self.voiced >= self.voiced_to_open / 2:
            return Edge.START
        return Edge.END if state in (State.SPEECH, State.PAUSE) else Edge.NONE

    def _voice(self, start: float, end: float) -> Edge:
        if self.state is State.SILENCE:
            self.state, self.onset, self.voiced = State.ONSET, start, 0.0
        self.voice_end = end
        self.voiced += end - start
        if self.state is State.ONSET and self.voiced >= self.voiced_to_open:
            self.state = State.SPEECH
            return Edge.START
        if self.state is State.PAUSE:
            self.state = State.SPEECH
        return Edge.NONE

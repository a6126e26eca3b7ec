"""Cut long audio at its silences into pieces an engine takes, and leave the long silences out.

All speech is in exactly one piece: where somebody speaks on, two pieces meet at the same sample.
"""

import io
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..audio.clip import Clip
from ..speech.types import FRAME, FRAME_S, RATE, Samples

ON, OFF = 0.5, 0.35  # probability at which speech begins, and below which it ends: as in live captions
PRE_ROLL = round(0.3 / FRAME_S)  # frames kept before speech: soft beginnings are found late
POST_ROLL = round(0.3 / FRAME_S)  # frames kept after it
LONG_SILENCE = round(2.0 / FRAME_S)  # frames; a shorter pause stays inside its piece, where it helps the engine
FEWEST_VOICED = 4  # frames (128 ms): less between two long silences is a click, not a word
SMOOTH = 11  # frames (350 ms) over which a place to cut is judged: the length of a breath

Probabilities = NDArray[np.float32]  # one per 32 ms
Hear = Callable[[Samples], Probabilities]  # speech in every frame these samples complete; whole frames only


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the file that goes to the engine at once, kept as 16 bits because several wait in memory."""

    start: float  # seconds from the beginning of the file
    pcm: NDArray[np.int16]  # whole frames
    voices: NDArray[np.bool_]  # one per frame: does somebody speak

    @property
    def end(self) -> float:
        return self.start + len(self.pcm) / RATE

    @property
    def voiced(self) -> float:
        """Seconds in which somebody speaks."""
        return int(self.voices.sum()) * FRAME_S

    def halves(self) -> "tuple[Piece, Piece]":
        """Two pieces, cut where it is softest around the middle."""
        frames = self.pcm.reshape(-1, FRAME)
        edge = len(frames) // 4
        at = edge + _weakest(np.abs(frames[edge:-edge].astype(np.float32)).max(axis=1))
        first = Piece(self.start, self.pcm[: at * FRAME], self.voices[:at])
        return first, Piece(self.start + at * FRAME_S, self.pcm[at * FRAME :], self.voices[at:])

    def samples(self) -> Samples:
        """All of it as float32, mono, 16 kHz."""
        return self.pcm.astype(np.float32) / np.float32(32768)

    def clip(self) -> Clip:
        """All of it as a WAV file of 16 bits."""
        data = io.BytesIO()
        with wave.open(data, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(self.pcm.astype("<i2").tobytes())
        return Clip(data.getvalue(), ".wav", self.start)


class Splitter:
    """The speech of a file in order, in pieces of at most `longest` seconds; no piece where nobody speaks.

    What it is given is float32, mono, 16 kHz, of any length. It holds no more than one piece besides.
    """

    def __init__(self, hear: Hear, longest: float) -> None:
        self._hear = hear
        self._most = max(int(longest / FRAME_S), 2 * SMOOTH)
        self._held = _Held()
        self._rest = np.zeros(0, np.float32)  # less than a frame

    @property
    def start(self) -> float:
        """Seconds up to which nothing is to come any more: where the next piece could begin."""
        return self._held.first * FRAME_S

    def push(self, samples: Samples) -> list[Piece]:
        """The pieces that are whole now."""
        sound = np.concatenate([self._rest, samples])
        whole, self._rest = np.split(sound, [len(sound) // FRAME * FRAME])
        return list(self._cut(whole))

    def finish(self) -> list[Piece]:
        """What is left; the last frame is filled up with silence."""
        pieces = self.push(np.zeros(-len(self._rest) % FRAME, np.float32))
        if self._held.heard:
            pieces.append(self._held.take(len(self._held.frames) - max(0, self._held.quiet - POST_ROLL)))
        return pieces

    def _cut(self, whole: Samples) -> Iterator[Piece]:
        held = self._held
        pcm = np.clip(np.rint(whole * 32768), -32768, 32767).astype(np.int16).reshape(-1, FRAME)
        for frame, speech in zip(pcm, self._hear(whole).tolist(), strict=True):
            held.add(frame, speech)
            if not held.heard:
                held.wait()
            elif held.quiet >= LONG_SILENCE:
                yield held.take(len(held.frames) - held.quiet + POST_ROLL)
            elif len(held.frames) >= self._most:
                yield held.take(held.weakest())


class _Held:
    """The frames that are read and not given out yet."""

    def __init__(self) -> None:
        self.first = 0  # number of the first frame held
        self.frames: list[NDArray[np.int16]] = []
        self.speech: list[float] = []
        self.voices: list[bool] = []  # does somebody speak, with the hysteresis of ON and OFF
        self.voiced = 0  # frames in which somebody does
        self.enough = FEWEST_VOICED  # such frames that are worth a request
        self.quiet = 0  # frames of silence at the end

    @property
    def heard(self) -> bool:
        return self.voiced >= self.enough

    def add(self, frame: NDArray[np.int16], speech: float) -> None:
        voice = speech >= (OFF if self.quiet == 0 and self.voices else ON)
        self.frames.append(frame)
        self.speech.append(speech)
        self.voices.append(voice)
        self.voiced += voice
        self.quiet = 0 if voice else self.quiet + 1

    def wait(self) -> None:
        """Nobody speaks: keep only what would be the beginning of a piece."""
        self._drop(len(self.frames) - PRE_ROLL - FEWEST_VOICED)
        self.enough = FEWEST_VOICED

    def take(self, count: int) -> Piece:
        """Give out the first frames."""
        piece = Piece(self.first * FRAME_S, np.concatenate(self.frames[:count]), np.array(self.voices[:count]))
        self._drop(count)
        self.enough = 1  # after a cut within speech the end of a word, however short, belongs to it
        return piece

    def weakest(self) -> int:
        """The frame in the second half before which a cut hurts least: little speech, and softly spoken."""
        half = len(self.frames) // 2
        loudness = np.array([np.abs(frame).max() for frame in self.frames[half:]], np.float32)
        hurt = np.array(self.speech[half:], np.float32) + loudness / np.float32(32768)
        return half + _weakest(hurt)

    def _drop(self, count: int) -> None:
        if count > 0:
            self.voiced -= sum(self.voices[:count])
            self.first += count
            del self.frames[:count], self.speech[:count], self.voices[:count]
            self.quiet = min(self.quiet, len(self.frames))


def _weakest(hurt: NDArray[np.float32]) -> int:
    """The middle of the breath that is the least to be cut through."""
    return SMOOTH // 2 + int(np.argmin(np.convolve(hurt, np.ones(SMOOTH), "valid")))

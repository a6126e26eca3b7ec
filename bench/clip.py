"""What is spoken in the benchmark: clips with the time of every word, joined to one stretch of audio."""

import json
import wave
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

RATE = 16_000  # samples per second
PAUSE_S = 1.5  # silence behind each clip: long enough for every endpoint
FIRST_S = 10.6  # of the second clip: to the end of a phrase
HERE = Path(__file__).parent
SHARED = HERE.parents[1] / "shared" / "clips"  # more aligned clips, beside the project for its developers

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Spoken:
    """A word of the reference, in seconds of its clip."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Speech:
    """Mono audio, float32 at 16 kHz, and the words in it."""

    samples: Samples
    words: tuple[Spoken, ...]

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    def until(self, end: float) -> "Speech":
        """The beginning, up to a time in seconds."""
        return Speech(self.samples[: int(end * RATE)], tuple(w for w in self.words if w.end <= end))

    def __add__(self, other: "Speech") -> "Speech":
        shift = self.seconds
        words = (replace(w, start=w.start + shift, end=w.end + shift) for w in other.words)
        return Speech(np.concatenate([self.samples, other.samples]), (*self.words, *words))

    def write(self, folder: Path) -> None:
        """As speech.wav and speech.json, for the upstream."""
        with wave.open(str(folder / "speech.wav"), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes((self.samples * 32767).astype("<i2").tobytes())
        words = [{"word": w.text, "start": w.start, "end": w.end} for w in self.words]
        (folder / "speech.json").write_text(json.dumps({"words": words}))


def read(wav: Path, aligned: Path) -> Speech:
    """A 16-bit mono WAV of any rate and the JSON with its word times."""
    with wave.open(str(wav)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    words = json.loads(aligned.read_text())["words"]
    return Speech(
        samples if rate == RATE else soxr.resample(samples, rate, RATE),
        tuple(Spoken(w["word"], w["start"], w["end"]) for w in words),
    )


def silence(seconds: float) -> Speech:
    return Speech(np.zeros(int(seconds * RATE), np.float32), ())


def two_cities() -> Speech:
    """44 s read aloud (LibriVox, public domain); the audio is inside the wheel that carries the embedded engine."""
    spec = find_spec("moonshine_voice")  # finds the folder without importing the package
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the audio is part of the package moonshine-voice==0.1.0: pip install it")
    return read(Path(spec.origin).parent / "assets" / "two_cities.wav", HERE / "clips" / "two_cities.json")


def speech(quick: bool = False) -> Speech:
    """What a benchmark session says: about a minute, or 25 s when it should be quick."""
    pause = silence(PAUSE_S)
    whole = two_cities()
    if (SHARED / "jfk.wav").is_file():
        first = read(SHARED / "jfk.wav", SHARED / "jfk.json")
    else:
        first = whole.until(FIRST_S)
    return first + pause + (whole.until(FIRST_S) if quick else whole) + pause

"""What is spoken into a browser's microphone."""

import wave
from importlib.util import find_spec
from pathlib import Path

import pytest

CLIP_S = 8.5  # in the pause after "foolishness" (8.22 s to 8.80 s)
CLIP_TEXT = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness,"
)


def spoken_wav(folder: Path) -> Path:
    """The first sentence of the LibriVox reading inside the moonshine-voice wheel, cut in a pause."""
    spec = find_spec("moonshine_voice")
    if spec is None or spec.origin is None:
        pytest.skip("moonshine-voice is not installed")
    target = folder / "two_cities8.wav"
    with wave.open(str(Path(spec.origin).parent / "assets" / "two_cities.wav")) as source:
        parameters, samples = source.getparams(), source.readframes(int(CLIP_S * source.getframerate()))
    with wave.open(str(target), "wb") as clip:
        clip.setparams(parameters)
        clip.writeframes(samples)
    return target

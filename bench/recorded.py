"""A stream a browser really recorded, with the arrival of its chunks, and where its words are in it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from .clip import RATE, SHARED, Samples, Speech, read, two_cities
from .stream import Chunk
from .upstream import decode

COARSE = 2000  # samples per second in which the sound is compared


def load(path: Path) -> tuple[Speech, list[Chunk]]:
    """The recording and its JSON: `chunks` are [[bytes, arrival in ms], …], `clip` says what was spoken.

    The recorder began before or after the clip did: the sound tells. Raises ValueError for a recording with a pause.
    """
    about, data = json.loads(path.with_suffix(".json").read_text()), path.read_bytes()
    if any(action[1] == "pause" for action in about.get("actions", [])):
        raise ValueError(f"expected a recording without a pause, got {path.name}")
    name = about["clip"]
    clip = two_cities().until(20.0) if name == "two_cities20" else read(SHARED / f"{name}.wav", SHARED / f"{name}.json")
    samples = decode(data)
    shift = _lag(coarse(samples), coarse(clip.samples))
    words = (replace(w, start=w.start + shift, end=w.end + shift) for w in clip.words)
    inside = tuple(w for w in words if w.start >= 0 and w.end <= len(samples) / RATE)
    chunks, at = [], 0
    for size, arrival_ms in about["chunks"]:
        chunks.append(Chunk((arrival_ms - about["chunks"][0][1]) / 1000, data[at : at + size]))
        at += size
    return Speech(samples, inside), chunks


def _lag(heard: Samples, clip: Samples) -> float:
    """Seconds of the recording before the clip begins; negative where its beginning is missing."""
    size = 1 << (len(heard) + len(clip)).bit_length()
    like = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(clip, size)), size)
    best = int(np.argmax(like))
    return (best if best < size // 2 else best - size) / COARSE


def coarse(samples: Samples) -> Samples:
    """Low-passed by a moving average over two new samples, then decimated."""
    step = RATE // COARSE
    total = np.concatenate([[0.0], np.cumsum(samples, dtype=np.float64)])
    starts = np.arange(0, len(samples) // step * step, step)
    ends = np.minimum(starts + 2 * step, len(samples))
    return np.asarray((total[ends] - total[starts]) / (2 * step), np.float32)

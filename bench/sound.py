"""Where a stretch of sound lies in a recording, also when a browser's filters, its gain control and a codec changed it.

They turn the phase and the loudness, so waveforms do not compare; what is compared is how loud each band is when.
"""

import numpy as np

from .clip import RATE, Samples

STEP = 160  # samples between two frames: 10 ms, which is how exact the place is
WINDOW = 512  # samples of a frame: 32 ms, as speech is commonly looked at
EDGES = np.geomspace(4, 128, 21).astype(int)  # of 20 bands, 125 Hz to 4 kHz, in steps of RATE / WINDOW
RANGE_DB = 40.0  # below the loudest; what is softer a noise suppressor may have taken away
LEAST_LIKE = 0.5  # correlation; 0.9 and more is usual, of noise 0.1


class Sound:
    """A recording to look in: mono, 16 kHz."""

    def __init__(self, samples: Samples) -> None:
        self._bands = bands(samples)
        self._size = 1 << (2 * self._bands.shape[1]).bit_length()
        self._spectrum = np.fft.rfft(self._bands, self._size)
        zeros = np.zeros((len(self._bands), 1))
        self._sums = np.hstack([zeros, np.cumsum(self._bands, axis=1)])
        self._squares = np.hstack([zeros, np.cumsum(self._bands**2, axis=1)])

    def find(self, samples: Samples) -> float | None:
        """Where the stretch begins, in seconds; None where nothing is like it. What is longer is cut off."""
        part = bands(samples)[:, : self._bands.shape[1]]
        part -= part.mean(axis=1, keepdims=True)
        length = part.shape[1]
        places = self._bands.shape[1] - length + 1
        # Pearson's correlation at every place: the part has no mean, so only that of the recording is left to take out.
        product = np.fft.irfft((self._spectrum * np.conj(np.fft.rfft(part, self._size))).sum(axis=0), self._size)
        sums = self._sums[:, length:] - self._sums[:, :-length]
        squares = self._squares[:, length:] - self._squares[:, :-length]
        energy = (squares - sums**2 / length).sum(axis=0) * (part**2).sum()
        like = product[:places] / np.sqrt(np.maximum(energy, 1.0))
        best = int(np.argmax(like))
        return best * STEP / RATE if like[best] > LEAST_LIKE else None


def bands(samples: Samples) -> np.ndarray:
    """Loudness in dB, one row for each band, one column for each step."""
    padded = np.pad(samples, WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STEP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames)) ** 2
    loudness = 10 * np.log10(np.add.reduceat(power, EDGES, axis=1)[:, :-1] + 1e-9)
    return np.maximum(loudness, loudness.max() - RANGE_DB).T

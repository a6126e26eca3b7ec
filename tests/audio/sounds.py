"""Sounds made of numbers, packed as any codec, and what the stages make of them."""

import io
from pathlib import Path

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from server.audio.clip import Clip
from server.audio.decoder import Decoder
from server.audio.packet import Packet, Track, layout
from server.speech.types import RATE, Samples

# codec → encoder, the sample format it takes, and its full scale
ENCODERS: dict[str, tuple[str, str, float]] = {
    "opus": ("libopus", "flt", 1),
    "aac": ("aac", "fltp", 1),
    "pcm_u8": ("pcm_u8", "u8", 127),
    "pcm_s16le": ("pcm_s16le", "s16", 2**15 - 1),
    "pcm_s24le": ("pcm_s24le", "s32", 2**31 - 128),
    "pcm_s32le": ("pcm_s32le", "s32", 2**31 - 128),
    "pcm_f32le": ("pcm_f32le", "flt", 1),
    "pcm_f64le": ("pcm_f64le", "dbl", 1),
    "pcm_mulaw": ("pcm_mulaw", "s16", 2**15 - 1),
    "pcm_alaw": ("pcm_alaw", "s16", 2**15 - 1),
}
DTYPES = {"u8": "u1", "s16": "<i2", "s32": "<i4", "flt": "<f4", "fltp": "<f4", "dbl": "<f8"}


def tone(seconds: float, rate: int = RATE, hz: float = 440.0, level: float = 0.5) -> Samples:
    time = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def noise(seconds: float, rate: int = RATE, level: float = 0.1) -> Samples:
    return (level * np.random.default_rng(1).standard_normal(round(seconds * rate))).astype(np.float32)


def sweep(seconds: float, rate: int = RATE, level: float = 0.5) -> Samples:
    """A tone that rises, so that every moment is unlike every other."""
    time = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * (200 * time + 1200 / seconds * time**2))).astype(np.float32)


def encode(codec: str, sound: Samples, rate: int, channels: int = 1) -> tuple[Track, list[Packet]]:
    """The same sound on every channel, as packets of one codec frame, of PCM 20 ms."""
    name, format, scale = ENCODERS[codec]
    encoder = AudioCodecContext.create(name, "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = rate, layout(channels), format
    encoder.open()
    step = encoder.frame_size or rate // 50
    values = sound * scale + (128 if format == "u8" else 0)
    planes = np.repeat(values[None].astype(DTYPES[format]), channels, axis=0)
    found: list[bytes] = []
    for start in range(0, planes.shape[1] // step * step, step):
        part = planes[:, start : start + step]
        packed = np.ascontiguousarray(part if format == "fltp" else part.T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(packed, format, layout(channels))
        frame.sample_rate, frame.pts = rate, start
        found += map(bytes, encoder.encode(frame))
    found += [] if codec.startswith("pcm") else map(bytes, encoder.encode(None))
    packets = [Packet(i * step / rate, data, 0, None) for i, data in enumerate(found)]
    return Track(codec, rate, channels, encoder.extradata or b""), packets


def decode(track: Track, packets: list[Packet]) -> Samples:
    decoder = Decoder(track)
    for packet in packets:
        decoder.decode(packet)
    return decoder.finish()


def play(clip: Clip) -> Samples:
    """What any player hears of a file: 16 kHz mono."""
    return hear(clip.data)


def hear(file: bytes | Path, format: str | None = None) -> Samples:
    resampler, pieces = av.AudioResampler(format="flt", layout="mono", rate=RATE), [np.zeros(0, np.float32)]
    with av.open(io.BytesIO(file) if isinstance(file, bytes) else str(file), format=format) as container:
        for frame in (*container.decode(audio=0), None):
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    return np.concatenate(pieces)


def level(samples: Samples) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2))) if len(samples) else 0.0


def likeness(part: Samples, whole: Samples, around: float, slack: float = 0.1) -> tuple[float, float]:
    """How much `part` is like the best place of `whole` within `slack` of a time: (correlation, its time); seconds."""
    first = max(0, round((around - slack) * RATE))
    field = whole[first : first + len(part) + round(2 * slack * RATE)]
    size = len(part) + len(field)
    cross = np.fft.irfft(np.fft.rfft(field, size) * np.conj(np.fft.rfft(part, size)), size)
    lags = cross[: max(1, len(field) - len(part) + 1)]
    energy = np.concatenate([[0.0], np.cumsum(field.astype(np.float64) ** 2)])
    ends = np.minimum(np.arange(len(lags)) + len(part), len(field))
    norms = np.sqrt((energy[ends] - energy[: len(lags)]) * np.sum(part.astype(np.float64) ** 2)) + 1e-9
    best = int(np.argmax(lags / norms))
    return float(lags[best] / norms[best]), (first + best) / RATE

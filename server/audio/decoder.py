"""Packets in, 16 kHz mono float32 out, on a time line without holes."""

from dataclasses import dataclass

import av
import numpy as np
import soxr
from av.audio.codeccontext import AudioCodecContext

from ..errors import AudioCorrupt, UnsupportedFormat
from ..speech.types import RATE, Samples
from .packet import Packet, Track, layout

CODECS = {  # what a live stream may bring, and what turns its integer samples into -1 … 1
    "opus": 1.0,
    "aac": 1.0,
    "pcm_u8": 2.0**-7,
    "pcm_s16le": 2.0**-15,
    "pcm_s24le": 2.0**-31,  # FFmpeg hands 24 bits out in the upper part of 32
    "pcm_s32le": 2.0**-31,
    "pcm_f32le": 1.0,
    "pcm_f64le": 1.0,
    "pcm_mulaw": 2.0**-15,
    "pcm_alaw": 2.0**-15,
}
SMALLEST_GAP = 0.1  # seconds; time stamps of real recorders jitter by less than one Opus frame (60 ms)
LARGEST_GAP = 5.0  # seconds of silence put in for what was lost: the length comes from the peer
HOPELESS = 50  # packets in a row that do not decode: this is not the codec it claims to be


@dataclass(frozen=True, slots=True)
class Pcm:
    """What one packet became: where it begins (seconds of the stream), its samples, and what was missing before it."""

    start: float
    samples: Samples
    gap: float = 0.0


class Decoder:
    """One track's decoder and resampler. Raises UnsupportedFormat at once, AudioCorrupt when nothing decodes."""

    def __init__(self, track: Track) -> None:
        if track.codec not in CODECS:
            raise UnsupportedFormat(f"expected one of {', '.join(CODECS)}, got the codec {track.codec}", param="file")
        self._scale = CODECS[track.codec]
        codec = AudioCodecContext.create(track.codec, "r")
        assert isinstance(codec, AudioCodecContext)
        self._codec = codec
        self._codec.thread_count = 1
        self._codec.extradata = track.private or None
        if track.codec.startswith("pcm_"):
            self._codec.sample_rate = track.rate
            self._codec.layout = av.AudioLayout(layout(track.channels))
        self._rate = 0
        self._resampler: soxr.ResampleStream | None = None
        self._fed = 0.0  # seconds that went into the resampler
        self._expected: float | None = None  # container time at which the next packet should begin
        self._failures = 0

    def decode(self, packet: Packet) -> Pcm:
        """Samples (n,) that this packet completed; a few milliseconds stay in the resampler until the next one."""
        sound = self._sound(packet.data)
        if sound is None:
            return Pcm(self._fed, np.zeros(0, np.float32))
        gap = self._gap(packet.time, len(sound) / self._rate)
        out = self._resample(np.zeros(round(gap * self._rate), np.float32)) if gap else None
        start = self._fed
        samples = self._resample(sound)
        return Pcm(start, samples if out is None else np.concatenate([out, samples]), gap)

    def flush(self) -> Samples:
        """What the resampler still holds, at the end of a track."""
        if self._resampler is None:
            return np.zeros(0, np.float32)
        rest: Samples = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        self._resampler = None
        return rest

    def _sound(self, data: bytes) -> Samples | None:
        """Decoded mono at the codec's own rate, or None for a packet that makes no sense."""
        try:
            frames = self._codec.decode(av.Packet(data))
        except av.FFmpegError:
            frames = []
        if not frames:
            # WebKit's last fragment repeats its moof over bytes that are no packets: drop them without noise.
            self._failures += 1
            if self._failures >= HOPELESS:
                raise AudioCorrupt(f"none of the last {HOPELESS} packets could be decoded", param="file")
            return None
        self._failures = 0
        return np.concatenate([self._mono(frame) for frame in frames])

    def _mono(self, frame: av.AudioFrame) -> Samples:
        if frame.sample_rate != self._rate or self._resampler is None:
            self._rate = frame.sample_rate
            self._resampler = soxr.ResampleStream(self._rate, RATE, 1, dtype="float32")
        planes = frame.to_ndarray()
        if not frame.format.is_planar:
            planes = planes.reshape(-1, frame.layout.nb_channels).T
        mono: Samples = planes[0] if len(planes) == 1 else planes.mean(axis=0)
        if frame.format.name.startswith("u8"):
            mono = mono.astype(np.float32) - 128
        return np.ascontiguousarray(mono, np.float32) * np.float32(self._scale) if self._scale != 1.0 else mono

    def _gap(self, time: float, duration: float) -> float:
        """Seconds missing before this packet. Each jump counts by itself, so a drifting clock adds up to none."""
        expected, self._expected = self._expected, time + duration
        if expected is None or time - expected < SMALLEST_GAP:
            return 0.0
        return min(time - expected, LARGEST_GAP)

    def _resample(self, sound: Samples) -> Samples:
        assert self._resampler is not None
        self._fed += len(sound) / self._rate
        resampled: Samples = self._resampler.resample_chunk(np.ascontiguousarray(sound, np.float32))
        return resampled

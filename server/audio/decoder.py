"""Packets in, 16 kHz mono float32 out, on a time line without holes."""

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import soxr
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

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
SMALLEST_LOSS = 0.005  # seconds; where something is known to be lost, whatever is more than rounding is a gap
LARGEST_GAP = 5.0  # seconds of silence put in for what was lost: the length comes from the peer
MOST_SILENCE = 10.0  # seconds put in for losses before as much sound has come: a few bytes must not make hours
BATCH = 0.25  # seconds resampled at once: half the cost of doing it packet by packet, and it bounds what waits
HOPELESS = 50  # packets in a row that do not decode: this is not the codec it claims to be


@dataclass(frozen=True, slots=True)
class Decoded:
    """Where a packet's sound begins, in seconds of the track, and how many seconds of silence stand before it."""

    start: float
    gap: float = 0.0


class Decoder:
    """One track's decoder and resampler. Raises UnsupportedFormat at once, AudioCorrupt when nothing decodes.

    `midway`: the first packet is not the track's first, so nothing of it is the encoder's delay.
    """

    def __init__(self, track: Track, *, midway: bool = False) -> None:
        if track.codec not in CODECS:
            raise UnsupportedFormat(f"expected one of {', '.join(CODECS)}, got the codec {track.codec}", param="file")
        self.time = 0.0  # seconds of the track so far, silence for gaps included
        self._scale = CODECS[track.codec]
        codec = AudioCodecContext.create(track.codec, "r")
        assert isinstance(codec, AudioCodecContext)
        self._codec = codec
        self._codec.thread_count = 1
        private = track.private
        if midway and track.codec == "opus":
            private = private[:10] + bytes(2) + private[12:]  # FFmpeg leaves out the pre-skip (RFC 7845, section 5.1)
        self._codec.extradata = private or None
        if track.codec.startswith("pcm_"):
            self._codec.sample_rate = track.rate
            self._codec.layout = av.AudioLayout(layout(track.channels))
        self._rate = 0  # of what waits and of the resampler; 0 before the first packet
        self._waiting: list[Samples] = []
        self._waiting_s = 0.0
        self._resampler: soxr.ResampleStream | None = None
        self._ready: list[Samples] = []  # at 16 kHz
        self._expected: float | None = None  # container time at which the next packet should begin
        self._spare = MOST_SILENCE  # seconds of silence that time stamps may still ask for
        self._failures = 0
        self._lost = False  # since the last packet that was decoded

    def lose(self) -> None:
        """Bytes are missing here: the next packet may come after a gap too small to be told from jitter."""
        self._lost = True

    def decode(self, packet: Packet) -> Decoded | None:
        """Decode one packet; None for one that makes no sense. `take` gives its sound."""
        frames = self._frames(packet.data)
        if not frames:
            self.lose()
            return None
        gap = self._gap(packet.time, sum(frame.samples / frame.sample_rate for frame in frames))
        if gap:
            self._push(np.zeros(round(gap * self._rate), np.float32), self._rate)
        start = self.time
        for frame in frames:
            self._spare = min(MOST_SILENCE, self._spare + frame.samples / frame.sample_rate)
            self._push(_mono(frame, self._scale), frame.sample_rate)
        return Decoded(start, gap)

    def take(self) -> Samples:
        """The samples (n,) decoded since the last call; up to 35 ms stay in the resampler until more comes."""
        self._resample()
        ready, self._ready = self._ready, []
        return np.concatenate(ready) if ready else np.zeros(0, np.float32)

    def finish(self) -> Samples:
        """The last samples (n,), at the end of the track."""
        self._resample(last=True)
        return self.take()

    def _frames(self, data: bytes) -> list[av.AudioFrame]:
        try:
            frames = [frame for frame in self._codec.decode(av.Packet(data)) if frame.samples] if data else []
        except av.FFmpegError:
            frames = []
        # WebKit's last fragment repeats its moof over bytes that are no packets: drop them without noise.
        self._failures = 0 if frames else self._failures + 1
        if self._failures >= HOPELESS:
            raise AudioCorrupt(f"none of the last {HOPELESS} packets could be decoded", param="file")
        return frames

    def _gap(self, time: float, duration: float) -> float:
        """Seconds missing before this packet. Each jump counts by itself, so a drifting clock adds up to none."""
        expected, self._expected = self._expected, time + duration
        smallest, self._lost = SMALLEST_LOSS if self._lost else SMALLEST_GAP, False
        if expected is None or time - expected < smallest:
            return 0.0
        gap = min(time - expected, LARGEST_GAP, self._spare)
        self._spare -= gap
        return gap

    def _push(self, sound: Samples, rate: int) -> None:
        if rate != self._rate:  # also in mid-stream: AAC tells its SBR only after some packets
            self._resample(last=True)
            self._rate, self._resampler = rate, soxr.ResampleStream(rate, RATE, 1, dtype="float32")
        self._waiting.append(sound)
        self.time += len(sound) / rate
        self._waiting_s += len(sound) / rate
        if self._waiting_s >= BATCH:
            self._resample()

    def _resample(self, last: bool = False) -> None:
        if self._resampler is None or not (self._waiting or last):
            return
        sound = np.concatenate([*self._waiting, np.zeros(0, np.float32)])
        self._waiting, self._waiting_s = [], 0.0
        # A damaged packet may decode to a thousand times full scale.
        self._ready.append(np.clip(self._resampler.resample_chunk(sound, last=last), -1.0, 1.0))
        if last:
            self._rate, self._resampler = 0, None


def _mono(frame: av.AudioFrame, scale: float) -> Samples:
    """The mean of a frame's channels, (n,), each of them -1 … 1."""
    channels = _channels(frame)
    mono: Samples = np.add.reduce(channels, axis=0, dtype=np.float32)
    mono *= np.float32(scale / len(channels))
    return mono


def _channels(frame: av.AudioFrame) -> list[NDArray[Any]]:
    if frame.format.name == "fltp":  # Opus and AAC, packet after packet: a third of the time of to_ndarray
        return [np.frombuffer(memoryview(plane), np.float32, frame.samples) for plane in frame.planes]
    channels: NDArray[Any] = frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T
    if channels.dtype == np.uint8:
        channels = channels.astype(np.float32) - 128
    elif channels.dtype.kind == "f":  # raw floats from a peer: one NaN would deafen the detector for ever
        channels = np.nan_to_num(np.clip(channels, -1.0, 1.0))
    return list(channels)

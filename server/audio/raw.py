"""PCM: headerless streams, and the packets of every other PCM stream."""

from collections.abc import Callable

from ..errors import RequestInvalid
from .packet import Packet, Track
from .reader import ByteReader, Parser

ENCODINGS = {
    "pcm_s16le": "pcm_s16le",
    "pcm_f32le": "pcm_f32le",
    "pcm_mulaw": "pcm_mulaw",
    "mulaw": "pcm_mulaw",
    "pcm_alaw": "pcm_alaw",
    "alaw": "pcm_alaw",
}
SAMPLE_SIZES = {  # bytes
    "pcm_u8": 1,
    "pcm_s16le": 2,
    "pcm_s24le": 3,
    "pcm_s32le": 4,
    "pcm_f32le": 4,
    "pcm_f64le": 8,
    "pcm_mulaw": 1,
    "pcm_alaw": 1,
}
RATE_MIN, RATE_MAX = 8000, 192_000  # Hz
CHANNELS_MAX = 8
PACKETS_PER_S = 10  # at least: a packet is at most 100 ms, as much as a decoder should hold back


def parse(encoding: str, rate: int, channels: int) -> Callable[[ByteReader], Parser]:
    """A parser for raw PCM; raises RequestInvalid, telling what may be asked for."""
    codec = ENCODINGS.get(encoding)
    if codec is None:
        raise RequestInvalid(f"expected encoding {', '.join(ENCODINGS)}, got {encoding[:40]}", param="audio")
    if not RATE_MIN <= rate <= RATE_MAX:
        raise RequestInvalid(f"expected a sample rate of {RATE_MIN} to {RATE_MAX} Hz, got {rate}", param="audio")
    if not 1 <= channels <= CHANNELS_MAX:
        raise RequestInvalid(f"expected 1 to {CHANNELS_MAX} channels, got {channels}", param="audio")
    track = Track(codec, rate, channels)

    def raw(reader: ByteReader) -> Parser:
        yield track
        yield from packets(reader, track)

    return raw


def packets(reader: ByteReader, track: Track, frame: int = 0, end: int | None = None) -> Parser:
    """Yield PCM from one sample frame up to another (None: without end), as it arrives, in whole frames.

    Time counts in sample frames, since PCM carries no other. A packet is its own boundary.
    """
    size = SAMPLE_SIZES[track.codec] * track.channels
    most = track.rate // PACKETS_PER_S
    while end is None or frame < end:
        count = min(reader.ready // size, most)
        if end is not None:
            count = min(count, end - frame)
        if not count:
            yield None
            continue
        at = reader.at
        yield Packet(frame / track.rate, reader.take(count * size), at, at)
        frame += count

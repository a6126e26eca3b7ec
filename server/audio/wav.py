"""RIFF/WAVE demuxer for streams, whose sizes cannot be trusted: a live writer never goes back to correct them."""

import struct
from dataclasses import replace

from ..errors import UnsupportedFormat
from .packet import Track
from .raw import CHANNELS_MAX, RATE_MAX, RATE_MIN, SAMPLE_SIZES, packets
from .reader import HEADER_MAX, ByteReader, Lost, Parser, Read, corrupt

PCM, FLOAT, ALAW, MULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
CODECS = {
    (PCM, 8): "pcm_u8",
    (PCM, 16): "pcm_s16le",
    (PCM, 24): "pcm_s24le",
    (PCM, 32): "pcm_s32le",
    (FLOAT, 32): "pcm_f32le",
    (FLOAT, 64): "pcm_f64le",
    (ALAW, 8): "pcm_alaw",
    (MULAW, 8): "pcm_mulaw",
}
RIFFS = (b"RIFF", b"RF64")
ENDLESS = (0, 0xFFFFFFFF)  # what writers put into a size they do not know
# What may follow the data. A size that lied is told by anything else there: then the data simply goes on.
TRAILING = {b"LIST", b"INFO", b"id3 ", b"ID3 ", b"cue ", b"fact", b"PEAK", b"bext", b"iXML", b"_PMX", b"smpl", b"junk"}


def parse(reader: ByteReader) -> Parser:
    """Yield the track of a WAV stream and its packets; a RIFF after the data begins a new track.

    Raises AudioCorrupt and UnsupportedFormat.
    """
    while True:
        try:
            track, size = yield from _header(reader)
        except Lost as lost:
            raise corrupt("WAV", lost) from None
        yield track
        if size in ENDLESS:
            yield from packets(reader, track)
        frame = SAMPLE_SIZES[track.codec] * track.channels
        frames = size // frame
        yield from packets(reader, track, 0, frames)
        rest = size % frame + size % 2
        name = (yield from reader.peek(rest + 8))[rest : rest + 4]
        if name not in TRAILING and name not in RIFFS:
            yield from packets(reader, track, frames)
        yield from reader.skip(rest)
        while name not in RIFFS:
            size = int.from_bytes((yield from reader.read(8))[4:], "little")
            yield from reader.skip(size + size % 2)
            name = yield from reader.peek(4)


def _header(reader: ByteReader) -> Read[tuple[Track, int]]:
    """Read up to the data; returns the track and the size the data claims to have."""
    start = reader.at
    head = yield from reader.read(12)
    if head[:4] not in RIFFS or head[8:] != b"WAVE":
        raise Lost(f"expected RIFF … WAVE, got {head.hex(' ')}")
    track: Track | None = None
    while True:
        name, size = struct.unpack("<4sI", (yield from reader.read(8)))
        if name == b"data":
            if track is None:
                raise Lost("expected fmt before the data")
            return replace(track, header=reader.at), size
        if reader.at - start + size > HEADER_MAX:
            raise Lost(f"expected the data within {HEADER_MAX} bytes, got chunk {name!r} of {size}")
        if name == b"fmt ":
            track = _track((yield from reader.read(size)))
            yield from reader.skip(size % 2)
        else:
            yield from reader.skip(size + size % 2)


def _track(fmt: bytes) -> Track:
    if len(fmt) < 16:
        raise Lost(f"expected a fmt of at least 16 bytes, got {len(fmt)}")
    tag, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", fmt)
    if tag == EXTENSIBLE and len(fmt) >= 40:
        tag = int.from_bytes(fmt[24:26], "little")  # the first two bytes of the sub-format's GUID
    codec = CODECS.get((tag, bits))
    if codec is None:
        raise UnsupportedFormat(
            f"expected PCM, float, mu-law or A-law in WAV, got tag {tag}, {bits} bits", param="file"
        )
    if not 1 <= channels <= CHANNELS_MAX or not RATE_MIN <= rate <= RATE_MAX:
        raise Lost(f"expected 1 to {CHANNELS_MAX} channels at {RATE_MIN} to {RATE_MAX} Hz, got {channels} at {rate}")
    if frame != SAMPLE_SIZES[codec] * channels:
        raise Lost(f"expected sample frames of {SAMPLE_SIZES[codec] * channels} bytes, got {frame}")
    return Track(codec, rate, channels)

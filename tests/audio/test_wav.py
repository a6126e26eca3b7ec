"""RIFF/WAVE as a stream, with every lie about its size."""

import io
import struct
import wave

import pytest

from server.audio import wav
from server.audio.packet import Item, Packet, Track
from server.audio.reader import Demuxer
from server.errors import AudioCorrupt, UnsupportedFormat

SOUND = bytes(range(256)) * 20


def fmt(tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16, extra: bytes = b"") -> bytes:
    frame = channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits) + extra


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body


def riff(*chunks: bytes, name: bytes = b"RIFF") -> bytes:
    return chunk(name, b"WAVE" + b"".join(chunks), size=0xFFFFFFFF)


def demux(data: bytes) -> list[Item]:
    return Demuxer(wav.parse).feed(data)


def sound(items: list[Item]) -> bytes:
    return b"".join(item.data for item in items if isinstance(item, Packet))


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, len(SOUND), 1000, 1001, 2_000_000_000])
def test_all_sound_is_heard_whatever_the_size_claims(size: int) -> None:
    data = riff(chunk(b"fmt ", fmt()), chunk(b"data", SOUND, size))
    demuxer = Demuxer(wav.parse)
    items = [item for byte in data for item in demuxer.feed(bytes([byte]))]
    assert items[0] == Track("pcm_s16le", 16_000, 1, b"", 44)
    assert sound(items) == SOUND == sound(demux(data))
    for packet in items[1:]:
        assert isinstance(packet, Packet)
        assert packet == Packet((packet.boundary - 44) / 32_000, packet.data, packet.boundary, packet.boundary)


def test_chunks_around_the_sound_are_skipped() -> None:
    odd = chunk(b"LIST", b"odd") + b"\0"
    data = riff(odd, chunk(b"fmt ", fmt()), odd, chunk(b"data", SOUND), odd, chunk(b"cue ", bytes(4)))
    assert sound(demux(data)) == SOUND


def test_a_second_file_in_the_stream_is_a_second_track() -> None:
    data = riff(chunk(b"fmt ", fmt()), chunk(b"data", SOUND))
    assert [item.header for item in demux(data * 2) if isinstance(item, Track)] == [44, len(data) + 44]
    assert sound(demux(data * 2)) == SOUND * 2


@pytest.mark.parametrize(
    ("tag", "bits", "codec"),
    [
        (1, 8, "pcm_u8"),
        (1, 16, "pcm_s16le"),
        (1, 24, "pcm_s24le"),
        (1, 32, "pcm_s32le"),
        (3, 32, "pcm_f32le"),
        (3, 64, "pcm_f64le"),
        (6, 8, "pcm_alaw"),
        (7, 8, "pcm_mulaw"),
    ],
)
def test_every_usual_encoding_is_read_plain_and_extensible(tag: int, bits: int, codec: str) -> None:
    extra = struct.pack("<HHIH", 22, bits, 3, tag) + bytes(14)
    for head in (fmt(tag, 2, 48_000, bits), fmt(0xFFFE, 2, 48_000, bits, extra)):
        track, *packets = demux(riff(chunk(b"fmt ", head), chunk(b"data", bytes(48_000)), name=b"RF64"))
        assert isinstance(track, Track) and (track.codec, track.rate, track.channels) == (codec, 48_000, 2)
        assert all(len(packet.data) <= 4800 * 2 * bits // 8 for packet in packets if isinstance(packet, Packet))
        assert sound(packets) == bytes(48_000)


def test_a_file_of_the_standard_library_is_read() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setparams((2, 2, 44_100, 0, "NONE", ""))
        written.writeframes(SOUND)
    assert sound(demux(file.getvalue())) == SOUND


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (riff(chunk(b"data", SOUND)), AudioCorrupt),
        (riff(chunk(b"fmt ", fmt()[:10])), AudioCorrupt),
        (riff(chunk(b"fmt ", fmt(channels=0))), AudioCorrupt),
        (riff(chunk(b"fmt ", fmt(rate=1))), AudioCorrupt),
        (riff(chunk(b"fmt ", fmt()[:12] + b"\1\0\x10\0")), AudioCorrupt),
        (riff(chunk(b"LIST", b"", size=1 << 30)), AudioCorrupt),
        (riff(chunk(b"fmt ", fmt(tag=0x55))), UnsupportedFormat),
        (riff(chunk(b"fmt ", fmt(bits=12))), UnsupportedFormat),
        (b"RIFF\0\0\0\0AVI ", AudioCorrupt),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error, match="expected"):
        demux(data)

"""Ogg Opus: pages made by hand, for what no recording here has."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.audio import ogg
from server.audio.ogg import CONTINUED, FIRST, LAST, opus_samples
from server.audio.packet import Damage, Item, Packet, Track
from server.audio.reader import Demuxer
from server.errors import AudioCorrupt, UnsupportedFormat

PRE_SKIP = 312
OPUS_HEAD = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, PRE_SKIP, 48_000, 0, 0)
FRAME = b"\xf8\1\2\3"  # one packet of 20 ms: 960 samples
LONG = b"\xf8" + bytes(599)


def checksum(data: bytes) -> int:
    """Ogg's CRC bit by bit, as RFC 3533 tells it."""
    crc = 0
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


def page(
    sequence: int, granule: int, *packets: bytes, flags: int = 0, serial: int = 7, segments: bytes | None = None
) -> bytes:
    if segments is None:
        segments = b"".join(b"\xff" * (len(data) // 255) + bytes([len(data) % 255]) for data in packets)
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, serial, sequence, 0, len(segments))
    whole = head + segments + b"".join(packets)
    return whole[:22] + struct.pack("<I", checksum(whole)) + whole[26:]


HEAD = page(0, 0, OPUS_HEAD, flags=FIRST) + page(1, 0, b"OpusTags" + bytes(20))


def demux(data: bytes) -> list[Item]:
    demuxer = Demuxer(ogg.parse)
    items = [item for byte in data for item in demuxer.feed(bytes([byte]))]
    assert items == Demuxer(ogg.parse).feed(data)
    return items


def times(data: bytes) -> list[float]:
    """In samples, from the first that is heard."""
    return [round(item.time * 48_000) for item in demux(data) if isinstance(item, Packet)]


def test_a_page_tells_when_its_last_packet_ends() -> None:
    data = HEAD + page(2, 1920, FRAME, FRAME)
    assert demux(data)[0] == Track("opus", 48_000, 1, OPUS_HEAD, len(HEAD))
    assert demux(data)[2] == Packet((960 - PRE_SKIP) / 48_000, FRAME, len(HEAD), len(data) - len(FRAME))


def test_a_packet_over_three_pages_lies_nowhere_together() -> None:
    first = page(2, 960, FRAME, LONG[:255], segments=b"\4\xff")
    middle = page(3, -1, LONG[255:510], flags=CONTINUED, segments=b"\xff")
    data = HEAD + first + middle + page(4, 2880, LONG[510:], FRAME, flags=CONTINUED)
    *_, long, last = demux(data)
    assert long == Packet((960 - PRE_SKIP) / 48_000, LONG, len(HEAD), None)
    assert isinstance(last, Packet) and last.boundary == len(HEAD + first + middle)


def test_a_packet_whose_beginning_is_lost_is_left_out_and_the_others_keep_their_times() -> None:
    data = HEAD + page(2, 960, FRAME) + page(4, 4800, LONG[255:], FRAME, flags=CONTINUED)
    assert times(data) == [-PRE_SKIP, 3840 - PRE_SKIP]


def test_a_lost_page_is_a_gap_and_no_damage() -> None:
    data = HEAD + page(2, 960, FRAME) + page(5, 3840, FRAME)
    assert times(data) == [-PRE_SKIP, 2880 - PRE_SKIP]
    assert not [item for item in demux(data) if isinstance(item, Damage)]


def test_the_last_page_may_end_within_a_packet() -> None:
    before = page(2, 960, FRAME)
    data = HEAD + before + page(3, 2000, FRAME, FRAME, flags=LAST)
    assert times(data) == [-PRE_SKIP, 960 - PRE_SKIP, 1920 - PRE_SKIP]
    assert {item.boundary for item in demux(data) if isinstance(item, Packet)} == {len(HEAD)}


def test_a_damaged_page_is_skipped_and_said_once() -> None:
    bad = bytearray(page(3, 1920, FRAME))
    bad[-1] ^= 1
    good = page(4, 2880, FRAME)
    data = HEAD + page(2, 960, FRAME) + bytes(bad) + good
    assert times(data) == [-PRE_SKIP, 1920 - PRE_SKIP]
    assert [item for item in demux(data) if isinstance(item, Damage)] == [Damage(len(data) - len(good))]


def test_other_streams_in_between_are_ignored() -> None:
    head = page(0, 0, b"\x80theora", flags=FIRST, serial=8) + page(0, 0, OPUS_HEAD, flags=FIRST)
    tags = page(1, 0, b"\x81theora", serial=8) + page(1, 0, b"OpusTags" + bytes(20))
    assert times(head + tags + page(2, 0, bytes(300), serial=8) + page(2, 960, FRAME)) == [-PRE_SKIP]


def test_tags_may_be_long() -> None:
    tags = b"OpusTags" + bytes(2000)
    head = page(0, 0, OPUS_HEAD, flags=FIRST) + page(1, -1, tags[:1020], segments=b"\xff" * 4)
    head += page(2, 0, tags[1020:], flags=CONTINUED)
    track, packet = demux(head + page(3, 960, FRAME))
    assert isinstance(track, Track) and track.header == len(head)
    assert isinstance(packet, Packet) and packet.data == FRAME


def test_a_chained_stream_is_a_new_track() -> None:
    link = HEAD + page(2, 960, FRAME)
    other = link.replace(HEAD, page(0, 0, OPUS_HEAD, flags=FIRST, serial=9) + page(1, 0, b"OpusTags", serial=9))
    other = other[: -len(page(2, 960, FRAME))] + page(2, 960, FRAME, serial=9)
    assert [type(item) for item in demux(link + other)] == [Track, Packet, Track, Packet]


@pytest.mark.parametrize(
    ("magic", "name"), [(b"\x01vorbis", "Vorbis"), (b"\x7fFLAC", "FLAC"), (b"Speex   ", "Speex"), (b"what?", "77 68")]
)
def test_a_codec_we_cannot_read_is_named(magic: bytes, name: str) -> None:
    with pytest.raises(UnsupportedFormat, match=f"got {name}"):
        demux(page(0, 0, magic, flags=FIRST) + page(1, 0, b"more"))


@pytest.mark.parametrize(
    "data",
    [
        page(0, 0, b"OpusHead", flags=FIRST) + page(1, 0, b"OpusTags"),
        page(2, 960, FRAME),
        b"OggS" + bytes(60),
        page(0, 0, OPUS_HEAD, flags=FIRST) * 20,
        b"OpusHead" * 8,
    ],
)
def test_a_broken_header_is_corrupt(data: bytes) -> None:
    with pytest.raises(AudioCorrupt):
        demux(data)


def test_false_page_heads_cost_no_more_than_bytes() -> None:
    # Each head promises a page of 65 kB, whose checksum would be taken for nothing.
    false_head = struct.pack("<4sBBqIIIB", b"OggS", 0, 0, 0, 0, 0, 0, 255) + b"\xff" * 255
    demuxer = Demuxer(ogg.parse)
    demuxer.feed(HEAD)
    for _ in range(200):
        assert demuxer.feed(false_head * 40) == []
    assert any(isinstance(item, Packet) for item in demuxer.feed(bytes(140_000) + page(2, 960, FRAME)))


@pytest.mark.parametrize(
    ("packet", "milliseconds"),
    [
        (b"\x08", 20),
        (b"\x18", 60),
        (b"\x60", 10),
        (b"\x80", 2.5),
        (b"\xf8", 20),
        (b"\xfb\x03", 60),
        (b"\xf9", 40),
        (b"", 0),
    ],
)
def test_an_opus_packet_tells_how_long_it_is(packet: bytes, milliseconds: float) -> None:
    assert opus_samples(packet) == milliseconds * 48


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=1, max_size=250), st.integers(0, 3000))
def test_one_changed_bit_anywhere_in_a_page_is_noticed(data: bytes, bit: int) -> None:
    good, after = page(2, 960, data), page(3, 1920, FRAME)
    at = bit % (8 * len(good))
    bad = bytearray(good)
    bad[at // 8] ^= 1 << at % 8
    packets = [item for item in Demuxer(ogg.parse).feed(HEAD + bad + after + bytes(70_000)) if isinstance(item, Packet)]
    assert [packet.data for packet in packets] == [FRAME]

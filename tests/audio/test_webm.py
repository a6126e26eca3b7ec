"""WebM: elements made by hand, for what no recording here has."""

import struct

import pytest

from server.audio import webm
from server.audio.packet import Damage, Item, Packet, Track
from server.audio.reader import HEADER_MAX, Demuxer
from server.errors import AudioCorrupt, UnsupportedFormat

OPUS_HEAD = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, 312, 48_000, 0, 0)
FRAME = b"\xf8\1\2\3"  # one Opus packet of 20 ms, says its first byte
ENDLESS = b"\1" + b"\xff" * 7


def element(number: int, body: bytes | int | float, size: bytes | None = None) -> bytes:
    if isinstance(body, int):
        body = body.to_bytes(4)
    elif isinstance(body, float):
        body = struct.pack(">d", body)
    return number.to_bytes((number.bit_length() + 7) // 8) + (size or (0x10000000 | len(body)).to_bytes(4)) + body


def entry(number: int = 1, kind: int = 2, codec: bytes = b"A_OPUS", private: bytes = OPUS_HEAD, bits: int = 0) -> bytes:
    audio = element(webm.SAMPLING_FREQUENCY, 48_000.0) + element(webm.CHANNELS, 1) + element(webm.BIT_DEPTH, bits)
    return element(
        webm.TRACK_ENTRY,
        element(webm.TRACK_NUMBER, number)
        + element(webm.TRACK_TYPE, kind)
        + element(webm.CODEC_ID, codec)
        + element(webm.CODEC_PRIVATE, private)
        + element(webm.AUDIO, audio),
    )


def header(*entries: bytes, scale: int = 1_000_000) -> bytes:
    return (
        element(webm.EBML, element(0x4286, 1))
        + element(webm.SEGMENT, b"", ENDLESS)
        + element(webm.INFO, element(webm.TIMESTAMP_SCALE, scale))
        + element(webm.TRACKS, b"".join(entries or [entry()]))
    )


def cluster(ticks: int, *blocks: bytes) -> bytes:
    return element(webm.CLUSTER, b"", ENDLESS) + element(webm.TIMESTAMP, ticks) + b"".join(blocks)


def block(ticks: int, data: bytes = FRAME, number: int = 1, flags: int = 0x80) -> bytes:
    return element(webm.SIMPLE_BLOCK, struct.pack(">BhB", 0x80 | number, ticks, flags) + data)


def demux(data: bytes) -> list[Item]:
    demuxer = Demuxer(webm.parse)
    items = [item for byte in data for item in demuxer.feed(bytes([byte]))]
    assert items == Demuxer(webm.parse).feed(data)
    return items


def times(data: bytes) -> list[float]:
    return [round(item.time, 6) for item in demux(data) if isinstance(item, Packet)]


def test_a_packet_knows_its_time_its_bytes_and_its_cluster() -> None:
    head = header()
    data = head + cluster(1000, block(0), block(20))
    track, _, packet = demux(data)
    assert track == Track("opus", 48_000, 1, OPUS_HEAD, len(head))
    assert packet == Packet(1.02, FRAME, len(head), len(data) - len(FRAME))


def test_blocks_of_other_tracks_are_skipped_however_large() -> None:
    picture = block(0, bytes(200_000), number=2)
    head = header(entry(2, kind=1, codec=b"V_VP8"), entry(1), entry(3, codec=b"A_VORBIS"))
    assert times(head + cluster(0, picture, block(0), block(5, number=3), picture, block(20))) == [0.0, 0.02]


def test_the_timestamp_scale_counts() -> None:
    assert times(header(scale=100_000) + cluster(50, block(10), block(210))) == [0.006, 0.026]


def test_a_block_group_is_a_block_with_more_around_it() -> None:
    group = element(webm.BLOCK_GROUP, element(webm.BLOCK, b"\x81\0\x05\0" + FRAME) + element(0x9B, 20))
    assert times(header() + cluster(0, group, block(25))) == [0.005, 0.025]


@pytest.mark.parametrize(
    ("flags", "head"),
    [(0x84, b"\2"), (0x82, b"\2\4\4"), (0x86, b"\2\x84\xbf")],  # fixed, Xiph, EBML (a size, then its difference)
)
def test_laced_packets_come_one_by_one_with_their_own_times(flags: int, head: bytes) -> None:
    data = header() + cluster(0, block(0, head + FRAME * 3, flags=flags), block(60))
    assert times(data) == [0.0, 0.02, 0.04, 0.06]
    packets = [item for item in demux(data) if isinstance(item, Packet)]
    assert [packet.data for packet in packets] == [FRAME] * 4
    assert all(packet.at is not None and data[packet.at :].startswith(FRAME) for packet in packets)


@pytest.mark.parametrize(
    ("codec", "bits", "name"),
    [(b"A_PCM/FLOAT/IEEE", 32, "pcm_f32le"), (b"A_PCM/INT/LIT", 16, "pcm_s16le"), (b"A_AAC", 0, "aac")],
)
def test_pcm_and_aac_are_read_too(codec: bytes, bits: int, name: str) -> None:
    track, packet = demux(header(entry(codec=codec, private=b"\x11\x90", bits=bits)) + cluster(0, block(0, bytes(960))))
    assert isinstance(track, Track) and (track.codec, track.rate, track.channels) == (name, 48_000, 1)
    assert isinstance(packet, Packet) and packet.data == bytes(960)


def test_a_codec_we_cannot_read_is_named() -> None:
    with pytest.raises(UnsupportedFormat, match="got A_VORBIS"):
        demux(header(entry(codec=b"A_VORBIS")))
    with pytest.raises(UnsupportedFormat, match="expected an audio track"):
        demux(header(entry(kind=1, codec=b"V_VP9")))


def test_a_broken_header_is_corrupt() -> None:
    with pytest.raises(AudioCorrupt, match="OpusHead"):
        demux(header(entry(private=b"")))
    with pytest.raises(AudioCorrupt, match="WebM"):
        demux(header()[:5] + bytes(100))


def test_a_header_that_never_comes_is_corrupt_and_not_kept() -> None:
    demuxer = Demuxer(webm.parse)
    demuxer.feed(header()[:20])
    with pytest.raises(AudioCorrupt):
        for _ in range(HEADER_MAX // 10_000 + 2):
            demuxer.feed(element(0xEC, bytes(10_000)))


def test_time_that_runs_back_or_leaps_is_damage_until_the_next_cluster() -> None:
    for ticks in (-500, 3_600_000):
        good, bad, next_good = cluster(1000, block(0)), cluster(1000 + ticks, block(20)), cluster(1040, block(0))
        data = header() + good + bad + next_good
        assert times(data) == [1.0, 1.04]
        assert demux(data)[2] == Damage(len(data) - len(next_good))


def test_a_block_that_swallowed_a_cluster_is_damage_and_the_cluster_is_not_lost() -> None:
    cut_short = block(0, bytes(400))[:-300]  # the chunk with the rest was lost
    data = header() + cluster(0, cut_short) + cluster(500, *(block(20 * n) for n in range(40)))
    assert times(data) == [round(0.5 + n / 50, 6) for n in range(40)]


def test_a_restarted_recorder_is_a_new_track_whose_time_begins_anew() -> None:
    one = header() + cluster(0, block(0), block(20))
    assert times(one + one) == [0.0, 0.02] * 2
    tracks = [item for item in demux(one + one) if isinstance(item, Track)]
    assert [track.header for track in tracks] == [len(header()), len(one) + len(header())]

"""Fragmented MP4: boxes made by hand, for what no recording here has."""

import struct

import pytest

from server.audio import mp4
from server.audio.packet import Damage, Item, Packet, Track
from server.audio.reader import Demuxer
from server.errors import AudioCorrupt, UnsupportedFormat

TICKS_PER_S = 48_000
FTYP = struct.pack(">I4s4sI", 16, b"ftyp", b"iso5", 0)
DOPS = struct.pack(">BBHIhB", 0, 1, 312, 48_000, 0, 0)
OPUS_HEAD = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, 312, 48_000, 0, 0)
SIZES = 0x200  # flag of a trun: each sample has its own


def box(name: bytes, *children: bytes) -> bytes:
    body = b"".join(children)
    return struct.pack(">I4s", 8 + len(body), name) + body


def esds(kind: int, indication: int = 0x40) -> bytes:
    config = struct.pack(">H", kind << 11 | 3 << 7 | 1 << 3 if kind < 31 else 31 << 11 | (kind - 32) << 5)
    info = b"\x05\x80\x80\x80" + bytes([len(config)]) + config
    decoder = b"\x04" + bytes([13 + len(info), indication]) + bytes(12) + info
    return box(b"esds", bytes(4), b"\x03" + bytes([3 + len(decoder)]), bytes(3), decoder)


def sample_entry(codec: bytes, private: bytes) -> bytes:
    return box(codec, bytes(8), struct.pack(">HHIHHHHHH", 0, 0, 0, 1, 16, 0, 0, TICKS_PER_S, 0), private)


OPUS = sample_entry(b"Opus", box(b"dOps", DOPS))


def trak(entry: bytes = OPUS, number: int = 1, handler: bytes = b"soun", edits: bytes = b"") -> bytes:
    stsd = box(b"stsd", struct.pack(">II", 0, 1), entry)
    return box(
        b"trak",
        box(b"tkhd", struct.pack(">III", 0, 0, 0), struct.pack(">I", number), bytes(64)),
        edits,
        box(
            b"mdia",
            box(b"mdhd", bytes(12), struct.pack(">I", TICKS_PER_S), bytes(8)),
            box(b"hdlr", bytes(8), handler, bytes(13)),
            box(b"minf", box(b"stbl", stsd)),
        ),
    )


def trex(number: int = 1, duration: int = 0, size: int = 0) -> bytes:
    return box(b"trex", struct.pack(">IIIIII", 0, number, 1, duration, size, 0))


def moov(*traks: bytes, trex: bytes = trex()) -> bytes:
    return FTYP + box(b"moov", box(b"mvhd", bytes(100)), *(traks or [trak()]), box(b"mvex", trex))


def fragment(ticks: int, samples: list[bytes], number: int = 1, before: bytes = b"", lead: bytes = b"") -> bytes:
    """A moof and its mdat: sizes in the trun, a default duration in the tfhd, `before` first in the mdat."""
    sizes = b"".join(struct.pack(">I", len(sample)) for sample in samples)

    def moof(offset: int) -> bytes:
        return box(
            b"moof",
            box(b"mfhd", struct.pack(">II", 0, 1)),
            lead,
            box(
                b"traf",
                box(b"tfhd", struct.pack(">III", 0x20008, number, 960)),
                box(b"tfdt", struct.pack(">IQ", 1 << 24, ticks)),
                box(b"trun", struct.pack(">III", SIZES | 1, len(samples), offset), sizes),
            ),
        )

    return moof(len(moof(0)) + 8 + len(before)) + box(b"mdat", before, *samples)


def demux(data: bytes) -> list[Item]:
    demuxer = Demuxer(mp4.parse)
    items = [item for byte in data for item in demuxer.feed(bytes([byte]))]
    assert items == Demuxer(mp4.parse).feed(data)
    return items


def packets(data: bytes) -> list[tuple[float, bytes]]:
    return [(round(item.time, 6), item.data) for item in demux(data) if isinstance(item, Packet)]


def test_a_sample_comes_out_as_it_arrives_not_with_its_fragment() -> None:
    head, data = moov(), fragment(48_000, [b"one", b"three"])
    demuxer = Demuxer(mp4.parse)
    first = demuxer.feed(head + data[:-5])
    assert first == [
        Track("opus", 48_000, 1, OPUS_HEAD, len(head)),
        Packet(1.0, b"one", len(head), len(head + data) - 8),
    ]
    assert demuxer.feed(data[-5:]) == [Packet(1.02, b"three", len(head), len(head + data) - 5)]


def test_a_little_endian_dops_is_understood() -> None:
    dops = struct.pack("<BBHIhB", 0, 1, 312, 48_000, 0, 0)  # GStreamer's, and so WebKitGTK's
    (track,) = demux(moov(trak(sample_entry(b"Opus", box(b"dOps", dops)))))
    assert isinstance(track, Track) and track.private == OPUS_HEAD


def test_defaults_of_the_trex_hold_where_the_fragment_tells_nothing() -> None:
    run = box(b"trun", struct.pack(">III", 1, 3, 76))
    traf = box(b"traf", box(b"tfhd", struct.pack(">II", 0, 1)), run)
    moof = box(b"moof", box(b"mfhd", struct.pack(">II", 0, 1)), traf)
    twice = (moof + box(b"mdat", b"aabbcc")) * 2
    assert len(moof) + 8 == 76
    assert [time for time, _ in packets(moov(trex=trex(duration=480, size=2)) + twice)] == [n / 100 for n in range(6)]


def test_a_video_track_is_ignored_within_the_same_fragment() -> None:
    video = trak(sample_entry(b"avc1", b""), number=2, handler=b"vide")
    lead = box(b"traf", box(b"tfhd", struct.pack(">II", 0x20000, 2)), box(b"trun", struct.pack(">II", 0, 9)))
    assert packets(moov(video, trak()) + fragment(0, [b"one"], before=bytes(9000), lead=lead)) == [(0.0, b"one")]


def test_an_edit_list_moves_the_beginning() -> None:
    edits = box(b"edts", box(b"elst", struct.pack(">IIIiIIiI", 0, 2, 5, -1, 1 << 16, 0, 960, 1 << 16)))
    assert packets(moov(trak(edits=edits)) + fragment(960, [b"one"])) == [(0.0, b"one")]


def test_only_the_second_of_two_equal_moofs_has_samples() -> None:
    data = fragment(0, [b"one"])
    moof = data[: -len(box(b"mdat", b"one"))]
    items = demux(moov() + moof + data)
    assert [type(item) for item in items] == [Track, Packet]
    assert packets(moov() + moof + data) == [(0.0, b"one")]


def test_the_same_header_again_is_no_new_recording_unless_time_begins_anew() -> None:
    again = demux(moov() + fragment(0, [b"a", b"b"]) + moov() + fragment(1920, [b"c"]))
    assert [type(item) for item in again] == [Track, Packet, Packet, Packet]
    anew = demux(moov() + fragment(0, [b"a", b"b"]) + moov() + fragment(0, [b"c"]))
    assert [type(item) for item in anew] == [Track, Packet, Packet, Track, Packet]


def test_an_absolute_base_survives_lost_bytes() -> None:
    head = moov()

    def based(ticks: int, at: int, sample: bytes) -> bytes:
        tfhd = box(b"tfhd", struct.pack(">IIQI", 0x9, 1, at, 960))
        tfdt = box(b"tfdt", struct.pack(">II", 0, ticks))
        trun = box(b"trun", struct.pack(">IIII", SIZES | 1, 1, 108, len(sample)))
        return box(b"moof", box(b"mfhd", bytes(8)), box(b"traf", tfhd, tfdt, trun)) + box(b"mdat", sample)

    one = based(0, len(head), b"one")
    two = based(960, len(head + one), b"two")
    assert packets(head + one + two) == [(0.0, b"one"), (0.02, b"two")]
    assert packets(head + two) == [(0.02, b"two")]


def test_a_sample_that_swallowed_a_moof_is_damage_and_the_fragment_is_not_lost() -> None:
    cut_short = fragment(0, [b"one", bytes(4000)])[:-3800]
    good = fragment(9600, [b"two" * 2000])
    data = moov() + cut_short + good
    assert packets(data) == [(0.0, b"one"), (0.2, b"two" * 2000)]
    assert demux(data)[2] == Damage(len(data) - len(good))


@pytest.mark.parametrize(
    ("entry", "error", "message"),
    [
        (sample_entry(b"mp4a", esds(42)), UnsupportedFormat, "audio object type 42"),
        (sample_entry(b"mp4a", esds(2, indication=0x6B)), UnsupportedFormat, "indication 6b"),
        (sample_entry(b"fLaC", b""), UnsupportedFormat, "got fLaC"),
        (sample_entry(b"Opus", b""), AudioCorrupt, "MP4"),
        (sample_entry(b"mp4a", box(b"esds", b"")), AudioCorrupt, "MP4"),
    ],
)
def test_a_codec_we_cannot_read_is_named(entry: bytes, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        demux(moov(trak(entry)))


def test_aac_lc_is_read_with_its_private_data() -> None:
    (track,) = demux(moov(trak(sample_entry(b"mp4a", esds(2)))))
    assert isinstance(track, Track) and (track.codec, track.rate, track.private) == ("aac", 48_000, b"\x11\x88")


@pytest.mark.parametrize("data", [FTYP + box(b"moov", trak()), FTYP + box(b"mdat", b"sound")])
def test_a_plain_file_is_refused_since_only_fragments_can_be_live(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat, match="expected fragmented MP4"):
        demux(data)


def test_a_huge_or_senseless_box_is_corrupt_before_anything_is_kept() -> None:
    for bad in (struct.pack(">I4s", 1 << 30, b"moov"), struct.pack(">I4s", 3, b"free"), b"garbage!"):
        with pytest.raises(AudioCorrupt, match="expected an MP4 box"):
            demux(FTYP + bad)
    with pytest.raises(AudioCorrupt, match="moov within"):
        Demuxer(mp4.parse).feed(FTYP + box(b"free", bytes(600_000)) * 2)

"""The container is told by its first bytes; and what holds for the recordings of every browser."""

import io
from collections.abc import Callable, Iterable
from itertools import accumulate, pairwise
from random import Random
from typing import Protocol

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.audio import probe
from server.audio.packet import Damage, Item, Packet, Track
from server.audio.reader import Demuxer
from server.errors import SottoError, UnsupportedFormat

MADE = ["made-aac.mp4", "made-opus.mp4", "made.ogg", "made.webm"]
LOST_S = 3.0  # seconds that may go with a lost chunk of about 1 s: itself, and up to where reading can begin again


Make = Callable[[str], bytes]


class Recording(Protocol):
    name: str
    data: bytes
    chunks: list[int]  # sizes


def demux(chunks: Iterable[bytes]) -> list[Item]:
    demuxer = Demuxer(probe.parse)
    return [item for chunk in chunks for item in demuxer.feed(chunk)]


def packets(items: list[Item]) -> list[Packet]:
    return [item for item in items if isinstance(item, Packet)]


def split(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    ends = [0, *accumulate(sizes), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


def test_the_cuts_of_the_stream_change_nothing(recording: Recording) -> None:
    whole = demux([recording.data])
    random = Random(recording.name)
    assert demux(split(recording.data, recording.chunks)) == whole
    assert demux(split(recording.data, [1] * 6000)) == whole
    assert demux(split(recording.data, (random.choice([0, 1, 2, 9, 300, 5000]) for _ in range(400)))) == whole


def test_the_packets_of_a_recording_are_sound_and_in_order(recording: Recording) -> None:
    track, *rest = demux([recording.data])
    assert isinstance(track, Track)
    assert rest == packets(rest)
    assert all(0.01 < b.time - a.time < 0.07 for a, b in pairwise(rest))
    assert abs(rest[0].time) < 0.03
    for packet in rest:
        assert packet.at is None or recording.data[packet.at : packet.at + len(packet.data)] == packet.data


def test_the_packets_decode_to_sound_as_long_as_their_times_say(recording: Recording) -> None:
    track, *rest = demux([recording.data])
    codec = av.CodecContext.create(track.codec, "r")
    codec.extradata, codec.sample_rate = track.private, track.rate
    codec.layout = "mono" if track.channels == 1 else "stereo"
    heard = seconds(frame for packet in rest for frame in codec.decode(av.Packet(packet.data)))
    assert heard == pytest.approx(rest[-1].time - rest[0].time, abs=0.07)
    if not recording.name.startswith("webkit"):  # its repeated moofs, of which FFmpeg reads the samples of both
        with av.open(io.BytesIO(recording.data)) as file:
            assert heard == pytest.approx(seconds(file.decode(audio=0)), abs=0.07)


def seconds(frames: Iterable[av.AudioFrame]) -> float:
    return sum(frame.samples / frame.sample_rate for frame in frames)


def test_a_lost_chunk_is_a_gap_and_the_rest_goes_on(recording: Recording) -> None:
    chunks = split(recording.data, recording.chunks)
    whole = packets(demux(chunks))
    for lost in (len(chunks) // 3, len(chunks) // 2, len(chunks) * 3 // 4):
        left = packets(demux([*chunks[:lost], *chunks[lost + 1 :]]))
        assert_goes_on(whole, left, len(chunks[lost]) / len(recording.data) * whole[-1].time)


def test_a_chunk_of_garbage_is_damage_and_the_rest_goes_on(recording: Recording) -> None:
    chunks = split(recording.data, recording.chunks)
    whole = packets(demux(chunks))
    middle = len(chunks) // 2
    garbage = Random(7).randbytes(len(chunks[middle]) + 3)
    items = demux([*chunks[:middle], garbage, *chunks[middle + 1 :]])
    assert_goes_on(whole, packets(items), len(garbage) / len(recording.data) * whole[-1].time)


def assert_goes_on(whole: list[Packet], left: list[Packet], lost_s: float) -> None:
    assert (left[-1].time, left[-1].data) == (whole[-1].time, whole[-1].data)
    times = {packet.time for packet in left}
    missing = [packet.time for packet in whole if packet.time not in times]
    assert not missing or missing[-1] - missing[0] < lost_s + LOST_S


def test_reading_again_at_a_boundary_gives_the_same_packets(recording: Recording) -> None:
    track, *rest = demux([recording.data])
    boundaries = sorted({packet.boundary for packet in rest})
    for boundary in {boundaries[0], *Random(3).sample(boundaries, 2), *boundaries[-2:]}:
        again, *resumed = demux([recording.data[: track.header], recording.data[boundary:]])
        expected = [packet for packet in rest if packet.boundary >= boundary]
        assert again == track
        assert [(packet.time, packet.data) for packet in resumed] == [(packet.time, packet.data) for packet in expected]
        moved = boundary - track.header
        assert [packet.boundary + moved for packet in resumed] == [packet.boundary for packet in expected]


def test_a_second_recording_in_the_same_stream_is_a_second_track(recording: Recording) -> None:
    once = demux([recording.data])
    twice = demux([recording.data * 2])
    assert [item.time for item in packets(twice)] == [item.time for item in packets(once)] * 2
    assert [type(item) for item in twice] == [type(item) for item in once] * 2


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(MADE), data=st.data())
def test_no_damage_raises_anything_but_our_errors_or_depends_on_the_cuts(
    made: Make, name: str, data: st.DataObject
) -> None:
    stream = bytearray(made(name))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(stream) - 1))
        match data.draw(st.sampled_from(["set", "delete", "insert", "repeat"])):
            case "set":
                stream[at] = data.draw(st.integers(0, 255))
            case "delete":
                del stream[at : at + data.draw(st.integers(1, 3000))]
            case "insert":
                stream[at:at] = data.draw(st.binary(max_size=50))
            case _:
                stream[at:at] = stream[max(0, at - 700) : at]
    sizes = data.draw(st.lists(st.integers(0, 2000), max_size=40))
    assert outcome([bytes(stream)]) == outcome(split(bytes(stream), sizes))


def outcome(chunks: list[bytes]) -> tuple[list[Item], str | None]:
    demuxer, items = Demuxer(probe.parse), []
    try:
        for chunk in [*chunks, b""]:  # once more: what was found before a fault is returned before it is raised
            items += demuxer.feed(chunk)
    except SottoError as error:
        return items, str(error)
    return items, None


@pytest.mark.parametrize("name", MADE)
def test_damage_after_the_header_never_stops_the_stream(made: Make, name: str) -> None:
    data, random = made(name), Random(name)
    track, *rest = demux([data])
    for _ in range(60):
        at = random.randrange(rest[0].boundary, len(data) * 2 // 3)
        cut = random.choice([1, 5, 400])
        items = demux([data[:at], random.randbytes(random.choice([0, 1, 40])), data[at + cut :]])
        assert packets(items)[-1].data == rest[-1].data
        assert packets(items)[-1].time == pytest.approx(rest[-1].time)


def test_garbage_is_looked_through_once(made: Make) -> None:
    # Heads that promise much and hold nothing cost no more time than bytes do: at a square of it this would hang.
    for name, head in (
        ("made.webm", b"\x1fC\xb6u\xff\xe7\x81\0\xa3\x40\xff"),
        ("made.ogg", b"OggS\0\0" + b"\xff" * 60),
    ):
        first = made(name)[:5000]
        demuxer = Demuxer(probe.parse)
        demuxer.feed(first)
        for _ in range(40):
            assert not packets(demuxer.feed(head * (10_000 // len(head))))[1:]


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81", ".webm"),
        (b"\0\0\0\x20ftypmp42", ".mp4"),
        (b"OggS\0\2\0\0", ".ogg"),
        (b"RIFF\0\0\0\0WAVE", ".wav"),
        (b"RIFF\0\0\0\0WA", None),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86", None),
        (b"", None),
    ],
)
def test_the_first_bytes_tell_the_suffix(head: bytes, suffix: str | None) -> None:
    assert probe.suffix(head) == suffix


@pytest.mark.parametrize(
    "page", [b"<html><body>", b"ffconcat version 1.0", b"RIFF\0\0\0\0AVI LIST", b"ID3\4\0\0\0\0\0\0\0\0"]
)
def test_what_is_no_recording_is_refused_with_its_first_bytes(page: bytes) -> None:
    demuxer = Demuxer(probe.parse)
    with pytest.raises(UnsupportedFormat, match=f"got bytes starting {page[:4].hex(' ')}"):
        for byte in page:
            demuxer.feed(bytes([byte]))
    with pytest.raises(UnsupportedFormat):
        demuxer.feed(b"more")


def test_damage_tells_where_sense_begins_again(made: Make) -> None:
    data = made("made.webm")
    boundaries = sorted({packet.boundary for packet in packets(demux([data]))})
    damaged = data[: boundaries[2]] + bytes(100) + data[boundaries[2] :]
    assert [item for item in demux([damaged]) if isinstance(item, Damage)] == [Damage(boundaries[2] + 100)]

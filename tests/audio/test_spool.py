"""The temporary file of a recording stays short, stays playable, and gives back exactly what went in."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sounds import hear, likeness

from server.audio import probe
from server.audio.packet import Packet, Track
from server.audio.reader import Demuxer
from server.audio.spool import Spool
from server.errors import AudioTooLarge
from server.speech.types import RATE

HEADER = b"header"
TRACK = Track("opus", 48_000, 1)
SIZE = 1000  # bytes of a packet here, and 0.25 s


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path, ".webm", slack=4 * SIZE)
    begin(spool)
    yield spool
    spool.close()


def begin(spool: Spool) -> None:
    spool.write(HEADER)
    spool.keep_header(len(HEADER))


def data(number: int) -> bytes:
    return number.to_bytes(4) * (SIZE // 4)


def add(spool: Spool, numbers: range, track: Track = TRACK) -> None:
    for number in numbers:
        at = len(HEADER) + number * SIZE
        spool.write(data(number))
        spool.note(track, Packet(0.0, data(number), at, at), number / 4)


def numbers(spool: Spool, start: float, end: float) -> list[int]:
    track, packets = spool.cut(start, end)
    assert all(found == data(round(time * 4)) for time, found in packets)
    assert (track is None) is not bool(packets)
    return [round(time * 4) for time, _ in packets]


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [(0, 5, range(20)), (1.0, 2.0, range(4, 8)), (1.1, 2.01, range(4, 9)), (-3, 0.1, [0]), (4.9, 9, [19]), (7, 8, [19])]
    + [(-2, -1, []), (-1, 0, [])],
)
def test_a_cut_has_the_packets_that_sound_between_two_times(
    spool: Spool, start: float, end: float, found: list[int]
) -> None:
    add(spool, range(20))
    assert numbers(spool, start, end) == list(found)


def test_an_empty_spool_has_nothing_to_cut(spool: Spool) -> None:
    assert spool.cut(0, 10) == (None, [])
    spool.forget(10)


def test_what_is_forgotten_leaves_the_file_and_the_rest_is_where_it_was(spool: Spool) -> None:
    add(spool, range(40))
    spool.forget(8.1)
    assert spool.path.read_bytes() == HEADER + b"".join(map(data, range(32, 40)))
    assert numbers(spool, 0, 100) == list(range(32, 40))
    add(spool, range(40, 60))
    spool.forget(12.0)
    assert numbers(spool, 12.6, 13.3) == [50, 51, 52, 53]


def test_the_file_is_not_written_anew_for_every_packet(spool: Spool) -> None:
    add(spool, range(8))
    spool.forget(0.9)
    spool.path.read_bytes().index(data(0))
    assert numbers(spool, 0, 1) == [3]


def test_packets_before_the_same_boundary_are_kept_together(spool: Spool) -> None:
    boundary = len(HEADER)
    for number in range(20):
        spool.write(data(number))
        spool.note(TRACK, Packet(0.0, data(number), boundary, len(HEADER) + number * SIZE), number / 4)
    spool.forget(4.9)
    assert numbers(spool, 4.9, 5) == [19]
    assert spool.path.read_bytes() == HEADER + b"".join(map(data, range(20)))


def test_a_packet_that_does_not_lie_together_is_remembered_whole(spool: Spool) -> None:
    spool.write(b"head of a packet, page head, tail of a packet")
    spool.note(TRACK, Packet(0.0, data(0), len(HEADER), None), 0.0)
    assert numbers(spool, 0, 1) == [0]


def test_one_cut_has_one_track_the_later_one(spool: Spool) -> None:
    add(spool, range(4))
    other = Track("opus", 48_000, 2)
    add(spool, range(4, 8), other)
    assert numbers(spool, 0, 2) == [4, 5, 6, 7] and spool.cut(0, 2)[0] is other
    assert numbers(spool, 0, 1) == [0, 1, 2, 3] and spool.cut(0, 1)[0] is TRACK


def test_hours_take_seconds_on_the_disk_and_in_memory(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ".webm", slack=100 * SIZE)
    begin(spool)
    largest = 0
    for number in range(4 * 3600):
        add(spool, range(number, number + 1))
        spool.forget(number / 4 - 10)
        largest = max(largest, spool._end - spool._dropped, len(spool._entries))
    assert largest < 150 * SIZE and len(spool._entries) < 50
    assert spool.path.stat().st_size < 150 * SIZE
    spool.close()


def test_a_stream_of_junk_does_not_fill_the_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ".webm", largest=10 * SIZE)
    add(spool, range(2))
    with pytest.raises(AudioTooLarge, match="got 10000 bytes"):
        for _ in range(20):
            spool.write(b"?" * SIZE)
            spool.forget(100.0)
    assert spool.path.stat().st_size <= 10 * SIZE
    spool.close()


def test_keep_keeps_everything(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "elsewhere", ".webm", keep=tmp_path / "s_1", slack=0, largest=SIZE)
    begin(spool)
    add(spool, range(40))
    spool.forget(9)
    assert numbers(spool, 9, 10) == [36, 37, 38, 39]
    spool.close()
    assert (tmp_path / "s_1.webm").read_bytes() == HEADER + b"".join(map(data, range(40)))


def test_another_thread_may_cut_while_the_stream_goes_on(spool: Spool) -> None:
    newest = threading.Event()

    def write() -> None:
        for number in range(20, 1000):
            add(spool, range(number, number + 1))
            spool.forget(number / 4 - 10)
        newest.set()

    add(spool, range(20))
    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    while not newest.is_set():
        found = numbers(spool, 0, 1000)
        assert found == list(range(found[0], found[-1] + 1)) and found[-1] >= seen
        seen = found[-1]
    writer.join()
    assert numbers(spool, 249, 250) == [996, 997, 998, 999]


def test_it_is_deleted_however_often_it_is_closed(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ".ogg")
    assert [path.suffix for path in tmp_path.iterdir()] == [".ogg"]
    spool.close()
    spool.close()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_does_not_keep_the_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ".webm")
    with open("/dev/full", "w+b") as full:
        os.dup2(full.fileno(), spool._file.fileno())
    spool.write(b"?")  # still in Python's buffer
    spool.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["made.webm", "made.ogg", "made-aac.mp4"])
def test_the_file_plays_by_itself_after_forgetting(tmp_path: Path, made: Callable[[str], bytes], name: str) -> None:
    recording = made(name)
    spool = Spool(tmp_path, Path(name).suffix, slack=0)
    demuxer = Demuxer(probe.parse)
    for at in range(0, len(recording), 700):
        spool.write(recording[at : at + 700])
        for item in demuxer.feed(recording[at : at + 700]):
            match item:
                case Track():
                    track = item
                    spool.keep_header(item.header)
                case Packet():
                    spool.note(track, item, item.time)
                    spool.forget(min(item.time, 2.2))
    assert spool.path.stat().st_size < 0.7 * len(recording)
    whole = hear(recording)
    rest = hear(spool.path, format={".webm": "matroska", ".ogg": "ogg", ".mp4": "mp4"}[Path(name).suffix])
    assert 1.7 < len(rest) / RATE < 2.9
    alike, at = likeness(rest[RATE // 5 :], whole, around=len(whole) / RATE - len(rest) / RATE + 0.2)
    assert alike > 0.95, at
    spool.close()

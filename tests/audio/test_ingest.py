"""Bytes become frames on one true time line, whatever the stream does; and every stretch can be had again."""

import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import onnxruntime
import pytest
from openai_server import two_cities
from sounds import encode, level, likeness, play, sweep

from server.audio import raw
from server.audio.clip import mux
from server.audio.ingest import Gap, Heard, Ingest, Splice
from server.audio.packet import Place, Track
from server.audio.vad import load_model
from server.errors import AudioCorrupt, SottoError, UnsupportedFormat
from server.speech.types import FRAME, FRAME_S, RATE, Frame, Samples

Open = Callable[..., Ingest]
Make = Callable[[str], bytes]


@pytest.fixture(scope="module")
def model() -> onnxruntime.InferenceSession:
    return load_model()


@pytest.fixture
def ingest(model: onnxruntime.InferenceSession, tmp_path: Path) -> Iterator[Open]:
    """Opens one; afterwards its folder is empty."""
    opened: list[Ingest] = []

    def open(**how: object) -> Ingest:
        opened.append(Ingest(model, tmp_path, **how))  # type: ignore[arg-type]
        return opened[-1]

    yield open
    for each in opened:
        each.close()
    assert not list(tmp_path.iterdir())


def pcm_of(sound: Samples) -> bytes:
    return (sound * (2**15 - 1)).astype("<i2").tobytes()


def wav(sound: Samples, channels: int = 1, rate: int = RATE) -> bytes:
    """A recording made of a clip."""
    track, packets = encode("pcm_s16le", sound, rate, channels)
    return mux(track, [(packet.time, packet.data) for packet in packets]).data


def hear(ingest: Ingest, data: bytes, size: int = 1000) -> list[Heard]:
    heard = [item for at in range(0, len(data), size) for item in ingest.feed(data[at : at + size])]
    return heard + ingest.finish()


def frames(heard: list[Heard]) -> list[Frame]:
    """Of these, in order and without a hole, each 32 ms after the one before."""
    found = [item for item in heard if isinstance(item, Frame)]
    assert all(b.time - a.time == pytest.approx(FRAME_S) for a, b in pairwise(found))
    assert all(f.time == round(f.time / FRAME_S) * FRAME_S and f.samples.shape == (FRAME,) for f in found)
    return found


def sound(heard: list[Heard]) -> Samples:
    return np.concatenate([frame.samples for frame in frames(heard)])


def of(kind: type[Gap] | type[Splice], heard: list[Heard]) -> list[Heard]:
    return [item for item in heard if isinstance(item, kind)]


MADE = pytest.mark.parametrize("name", ["made.webm", "made.ogg", "made-aac.mp4", "made-opus.mp4"])


@MADE
def test_any_cuts_of_the_stream_give_the_same_frames(ingest: Open, made: Make, name: str) -> None:
    data, random = made(name), Random(name)
    whole = hear(ingest(), data, len(data))
    assert len(frames(whole)) == pytest.approx(4 / FRAME_S, abs=3) and frames(whole)[0].time == 0.0
    for largest in (40, 3000):
        other, heard, at = ingest(), [], 0
        while at < len(data):
            size = random.randrange(largest)
            heard += other.feed(data[at : at + size])
            at += size
        heard += other.finish()
        assert [f.time for f in frames(heard)] == [f.time for f in frames(whole)]
        np.testing.assert_allclose(sound(heard), sound(whole), atol=1e-4)
        np.testing.assert_allclose([f.speech for f in frames(heard)], [f.speech for f in frames(whole)], atol=0.02)


def test_a_voice_is_heard_and_silence_is_not(ingest: Open) -> None:
    heard = frames(hear(ingest(), wav(np.concatenate([np.zeros(2 * RATE, np.float32), two_cities()[: 6 * RATE]]))))
    assert np.mean([f.speech > 0.5 for f in heard if f.time > 2.5]) > 0.6
    assert max(f.speech for f in heard if f.time < 1.9) < 0.5


@pytest.mark.parametrize("encoding", ["pcm_s16le", "mulaw"])
def test_raw_pcm_needs_no_header(ingest: Open, tmp_path: Path, encoding: str) -> None:
    rate = 8000 if encoding == "mulaw" else 24_000
    codec = "pcm_mulaw" if encoding == "mulaw" else encoding
    data = b"".join(packet.data for packet in encode(codec, sweep(3.0, rate), rate)[1])
    stream = ingest(parse=raw.parse(encoding, rate, 1), suffix=".raw")
    heard = hear(stream, data, 777)
    assert len(sound(heard)) / RATE == pytest.approx(3.0, abs=FRAME_S)
    assert [path.suffix for path in tmp_path.iterdir()] == [".raw"]
    clip = stream.cut(1.0, 2.0).clip()
    assert clip.suffix == ".wav" and likeness(play(clip), sound(heard), clip.start)[0] > 0.95


@MADE
@pytest.mark.parametrize("first", [0.3, 0.5])
@pytest.mark.parametrize("size", [1500, 4000])
def test_after_a_lost_chunk_the_time_line_is_still_true(
    ingest: Open, made: Make, name: str, first: float, size: int
) -> None:
    data = made(name)
    at = round(len(data) * first)
    whole = sound(hear(ingest(), data))
    heard = hear(ingest(), data[:at] + data[at + size :])
    lost = sound(heard)
    gaps = [item for item in heard if isinstance(item, Gap) and item.seconds]
    assert 0.1 < sum(gap.seconds for gap in gaps) < 2.5
    assert len(lost) / RATE == pytest.approx(len(whole) / RATE, abs=0.05)
    tail = slice(-RATE, -RATE // 10)
    alike, at_s = likeness(lost[tail], whole, len(whole) / RATE - 1.0)
    assert alike > 0.9 and at_s == pytest.approx(len(lost) / RATE - 1.0, abs=0.05)
    for gap in gaps:
        assert level(lost[round((gap.time + 0.05) * RATE) : round((gap.time + gap.seconds - 0.05) * RATE)]) < 0.01


@MADE
def test_a_stream_goes_on_after_a_damaged_middle(ingest: Open, made: Make, name: str) -> None:
    data, random = bytearray(made(name)), Random(name)
    for at in range(len(data) // 3, len(data) // 3 + 1500):
        data[at] = random.randrange(256)
    heard = hear(ingest(), bytes(data))
    assert of(Gap, heard)
    assert frames(heard)[-1].time == pytest.approx(4.0, abs=0.1)
    assert level(sound(heard)[-RATE:]) > 0.01


def test_a_new_recorder_goes_on_in_time(ingest: Open, made: Make, tmp_path: Path) -> None:
    stream = ingest()
    heard = [*stream.feed(made("made.webm")), *stream.splice(), *stream.feed(made("made.ogg")), *stream.finish()]
    (splice,) = of(Splice, heard)
    assert isinstance(splice, Splice) and splice.time == pytest.approx(4.0, abs=0.05)
    assert frames(heard)[-1].time == pytest.approx(8.0, abs=0.1)
    assert {path.suffix for path in tmp_path.iterdir()} == {".webm", ".ogg"}
    before, after = stream.cut(2.0, 3.0), stream.cut(6.0, 7.0)
    for cut in (before, after):
        assert likeness(play(cut.clip())[RATE // 10 :], sound(heard), cut.clip().start + 0.1)[0] > 0.95


@MADE
def test_a_second_header_in_the_stream_is_a_new_recorder(ingest: Open, made: Make, name: str) -> None:
    heard = hear(ingest(), made(name) * 2)
    (splice,) = of(Splice, heard)
    assert isinstance(splice, Splice) and splice.time == pytest.approx(4.0, abs=0.05)
    assert frames(heard)[-1].time == pytest.approx(8.0, abs=0.1)
    assert not [gap for gap in of(Gap, heard) if isinstance(gap, Gap) and gap.seconds]


def test_what_was_said_before_a_second_header_is_cut_as_it_was_recorded(ingest: Open) -> None:
    stream = ingest()
    heard = stream.feed(wav(sweep(2.0)) + wav(sweep(2.0, 48_000), 2, 48_000)) + stream.finish()
    for start, channels in ((0.5, 1), (2.5, 2)):
        cut = stream.cut(start, start + 1.0)
        assert cut.track is not None and cut.track.channels == channels
        clip = cut.clip()
        assert likeness(play(clip), sound(heard), clip.start)[0] > 0.95


def test_flushed_all_that_came_was_heard_but_for_less_than_a_frame_and_the_time_line_goes_on(ingest: Open) -> None:
    stream, frame = ingest(parse=raw.parse("pcm_s16le", 24_000, 1), suffix=".s16le"), 2 * round(FRAME_S * 24_000)
    held = stream.feed(bytes(20 * frame))
    assert len(held) < 20 == len(held + (rest := stream.flush()))
    assert len(frames(held + rest + stream.feed(bytes(20 * frame)) + stream.finish())) == 40


def test_a_recorder_that_never_sends_does_not_hide_the_one_before(ingest: Open) -> None:
    stream = ingest()
    stream.feed(wav(sweep(2.01)))
    stream.splice()
    last = frames(stream.finish())[-1]
    assert stream.cut(1.0, last.time + FRAME_S).clip().start == pytest.approx(1.0, abs=0.1)


@MADE
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (1.5, 3.1), (0.3, 3.9)])
def test_samples_and_clip_of_a_cut_are_the_same_sound(
    ingest: Open, made: Make, name: str, start: float, end: float
) -> None:
    stream = ingest()
    hear(stream, made(name))
    cut = stream.cut(start, end)
    clip, samples = cut.clip(), cut.samples()
    assert start - 0.1 <= clip.start <= start + 0.001
    assert len(samples) / RATE == pytest.approx(end - start, abs=FRAME_S)
    assert len(play(clip)) / RATE == pytest.approx(end - start, abs=0.13)
    warm = play(clip)[RATE // 10 : -RATE // 20]
    alike, at = likeness(warm, samples, clip.start + 0.1 - start)
    assert alike > 0.9 and at + start == pytest.approx(clip.start + 0.1, abs=0.05)


def test_a_cut_of_what_nobody_heard_is_empty(ingest: Open) -> None:
    stream = ingest()
    assert not len(stream.cut(0, 1).samples())
    stream.feed(wav(sweep(1.0)))
    cut = stream.cut(7, 8)
    assert not len(cut.samples())
    with pytest.raises(LookupError):
        stream.cut(-2, -1).clip()


def test_forgetting_bounds_memory_and_files(ingest: Open, tmp_path: Path) -> None:
    stream = ingest()
    for number in range(5):
        stream.feed(wav(sweep(2.0)))
        stream.forget(2.0 * number + 1.0)
        assert len(stream._kept) < 2.0 / FRAME_S + 2
        assert len(list(tmp_path.iterdir())) == 1
        stream.splice()
    stream.feed(wav(sweep(2.0)))
    assert len(stream.cut(9.2, 11.0).samples()) / RATE == pytest.approx(1.8, abs=2 * FRAME_S)


def test_what_an_engine_may_still_ask_for_is_not_forgotten(ingest: Open) -> None:
    stream = ingest()
    heard = stream.feed(wav(sweep(4.0)))
    stream.forget(2.0)
    cut = stream.cut(2.0, 3.0)
    assert len(cut.samples()) / RATE == pytest.approx(1.0, abs=FRAME_S)
    assert likeness(play(cut.clip()), sound(heard), 2.0)[0] > 0.99


def test_an_engine_that_wants_files_costs_no_samples(ingest: Open) -> None:
    stream = ingest(keep_samples=False)
    stream.feed(wav(sweep(4.0)))
    assert not stream._kept and not len(stream.cut(1, 2).samples())
    assert len(play(stream.cut(1, 2).clip())) / RATE == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("data", "error"),
    [(b"<html><body>", UnsupportedFormat), (b"\x1a\x45\xdf\xa3" + bytes(5000), AudioCorrupt)]
    + [(b"ffconcat version 1.0\nfile /etc/passwd\n", UnsupportedFormat), (b"OggS" + bytes(5000), AudioCorrupt)],
)
def test_what_is_no_audio_is_told_and_leaves_no_file(
    ingest: Open, tmp_path: Path, data: bytes, error: type[SottoError]
) -> None:
    stream = ingest()
    with pytest.raises(error):
        for _ in range(2):  # a demuxer gives what it found first, and its fault the next time
            stream.feed(data)
    assert stream.finish() == []
    stream.close()
    stream.close()
    assert not list(tmp_path.iterdir())


def test_what_was_heard_before_a_fault_is_not_lost(ingest: Open) -> None:
    silent = Track("opus", 48_000, 1, encode("opus", sweep(0.1, 48_000), 48_000)[0].private)
    junk = mux(silent, [(i * 0.02, b"\xff\xff\xff") for i in range(60)]).data
    track, packets = encode("opus", sweep(2.0, 48_000), 48_000)
    good = mux(track, [(packet.time, packet.data) for packet in packets]).data
    stream = ingest()
    with pytest.raises(AudioCorrupt, match="50 packets"):
        stream.feed(good + junk)
    assert len(sound(stream.finish())) / RATE == pytest.approx(2.0, abs=0.1)


def test_the_end_is_filled_up_to_a_whole_frame(ingest: Open) -> None:
    heard = hear(ingest(), wav(sweep(1.0)))
    assert len(sound(heard)) == -(-RATE // FRAME) * FRAME
    assert level(sound(heard)[RATE - 200 : RATE]) > 0.2 and not sound(heard)[RATE + 50 :].any()


def test_numbers_that_are_none_do_not_deafen_the_session(ingest: Open) -> None:
    stream = ingest(parse=raw.parse("pcm_f32le", RATE, 1), suffix=".raw")
    stream.feed(np.array([np.nan, np.inf, -np.inf, 3e38] * 1000, "<f4").tobytes())
    heard = frames(stream.feed(two_cities()[: 6 * RATE].astype("<f4").tobytes()) + stream.finish())
    assert np.mean([frame.speech > 0.5 for frame in heard]) > 0.6


def test_a_session_needs_no_more_memory_the_longer_it_lasts(ingest: Open) -> None:
    stream = ingest(parse=raw.parse("pcm_s16le", RATE, 1), suffix=".raw", keep_samples=False)
    second = pcm_of(two_cities()[:RATE])

    def minutes(count: int) -> int:
        for _ in range(60 * count):
            stream.forget(stream.time - 10)
            stream.feed(second)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        early = minutes(1)
        assert minutes(2) < min(early + 20_000, 1_000_000)
    finally:
        tracemalloc.stop()


def test_recorders_that_are_announced_and_never_come_hold_no_files(tmp_path: Path) -> None:
    ingest = Ingest(load_model(), tmp_path)
    for _ in range(50):
        ingest.feed(bytes.fromhex("1a45dfa3 9f 4286 81 01 42f7 81 01"))  # the beginning of a WebM header
        ingest.splice()
    assert len(list(tmp_path.iterdir())) <= 1
    ingest.close()


# -- beginning again -----------------------------------------------------------------------------------------------


@MADE
@pytest.mark.parametrize("time", [0.0, 0.7, 1.5, 2.31, 3.2])
def test_from_a_place_on_the_sound_is_where_it_was(ingest: Open, made: Make, name: str, time: float) -> None:
    data = made(name)
    first = ingest()
    whole = hear(first, data)
    place = first.place(time)
    assert place.time <= max(0.0, time - 0.4) and place.recording == 0
    second = ingest(origin=place)
    again = [frame for frame in hear(second, data[: place.header] + data[place.bytes :]) if isinstance(frame, Frame)]
    assert frames(whole)[-1].time == pytest.approx(again[-1].time, abs=FRAME_S / 2)
    heard = np.concatenate([frame.samples for frame in again if frame.time >= time])
    begin = next(frame.time for frame in again if frame.time >= time)
    like, where = likeness(heard, sound(whole), begin)
    assert like > 0.95 and where == pytest.approx(begin, abs=2 / RATE)
    assert second.place(3.9).bytes == first.place(3.9).bytes
    assert second.place(3.9).header == first.place(3.9).header


def test_after_a_header_that_nobody_announced_one_begins_before_it(ingest: Open, made: Make) -> None:
    data = made("made.webm")
    stream = ingest()
    hear(stream, data + data)
    place = stream.place(7.0)
    assert place.header < place.bytes < len(data)
    again = hear(ingest(origin=place), (data + data)[: place.header] + (data + data)[place.bytes :])
    assert [f for f in again if isinstance(f, Frame)][-1].time == pytest.approx(8.0, abs=0.2)


def test_the_place_in_a_second_recording_counts_from_its_first_byte(ingest: Open, made: Make) -> None:
    stream = ingest()
    stream.feed(made("made.webm"))
    stream.splice()
    assert stream.place(stream.time) == Place(1, time=pytest.approx(stream.time))  # type: ignore[arg-type]
    stream.feed(made("made.ogg"))
    stream.finish()
    assert stream.place(2.0).recording == 0
    place = stream.place(6.5)
    assert place.recording == 1 and 0 < place.header < place.bytes < len(made("made.ogg"))

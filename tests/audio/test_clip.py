"""A clip is a small file that plays by itself: the same packets, the same sound, the right suffix."""

import io
from typing import Protocol

import av
import numpy as np
import pytest
from openai_server import MAGIC
from sounds import ENCODERS, decode, encode, hear, level, likeness, play, sweep

from server.audio import probe
from server.audio.clip import Clip, mux
from server.audio.decoder import Decoder
from server.audio.packet import Packet, Track
from server.audio.reader import Demuxer
from server.speech.types import RATE, Samples

SUFFIXES = {"opus": ".webm", "aac": ".m4a"}
WARM_UP = 0.1  # seconds until a decoder that begins in mid-stream sounds like one that was there from the beginning


class Recording(Protocol):
    data: bytes


Timed = list[tuple[float, bytes]]


def read(data: bytes) -> tuple[Track, Timed, Samples]:
    """A recording's track, its packets with their times, and what it sounds like."""
    track, *packets = Demuxer(probe.parse).feed(data)
    assert isinstance(track, Track)
    decoder, timed = Decoder(track), []
    for packet in packets:
        assert isinstance(packet, Packet)
        if decoded := decoder.decode(packet):
            timed.append((decoded.start, packet.data))
    return track, timed, decoder.finish()


def between(timed: Timed, start: float, end: float) -> Timed:
    return [(time, data) for time, data in timed if start <= time < end]


def raw(clip: Clip) -> list[bytes]:
    with av.open(io.BytesIO(clip.data)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def assert_suffix_fits(clip: Clip) -> None:
    at, magic = MAGIC[clip.suffix]
    assert clip.data[at : at + len(magic)] == magic


def test_every_stretch_of_every_recording_sounds_like_the_whole(recording: Recording) -> None:
    track, timed, whole = read(recording.data)
    length = len(whole) / RATE
    for start, end in ((0.0, 2.0), (length / 3, length / 3 + 1.5), (length - 1.2, length)):
        packets = between(timed, start, end)
        clip = mux(track, packets)
        assert clip.start == packets[0][0]
        assert clip.suffix == SUFFIXES[track.codec]
        assert_suffix_fits(clip)
        assert raw(clip) == [data for _, data in packets]
        sound = play(clip)
        assert len(sound) / RATE == pytest.approx(packets[-1][0] - packets[0][0], abs=0.1)
        warm = sound[round(WARM_UP * RATE) :]
        if level(warm) > 0.001:
            alike, at = likeness(warm, whole, clip.start + WARM_UP)
            assert alike > 0.95
            assert at == pytest.approx(clip.start + WARM_UP, abs=0.05)


@pytest.mark.parametrize("codec", ENCODERS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_codec_makes_a_file_of_its_own_kind(codec: str, channels: int) -> None:
    rate = 8000 if codec in ("pcm_mulaw", "pcm_alaw") else 48_000
    track, packets = encode(codec, sweep(2.0, rate), rate, channels)
    timed = [(10 + packet.time, packet.data) for packet in packets][20:60]
    clip = mux(track, timed)
    assert clip.suffix == SUFFIXES.get(codec, ".wav")
    assert_suffix_fits(clip)
    assert clip.start == timed[0][0]
    assert b"".join(raw(clip)) == b"".join(data for _, data in timed)
    with av.open(io.BytesIO(clip.data)) as file:
        assert file.streams.audio[0].codec_context.channels == channels
        assert next(file.demux(audio=0)).pts in (None, 0)
    whole = decode(track, packets)
    warm = round(WARM_UP * RATE)
    alike, at = likeness(play(clip)[warm:], whole, clip.start - 10 + WARM_UP)
    assert alike > 0.95
    assert at == pytest.approx(clip.start - 10 + WARM_UP, abs=0.05)


def test_one_packet_is_enough() -> None:
    track, packets = encode("opus", sweep(1.0, 48_000), 48_000)
    clip = mux(track, [(3.0, packets[5].data)])
    assert raw(clip) == [packets[5].data] and clip.start == 3.0


def test_a_gap_in_time_moves_what_follows() -> None:
    track, packets = encode("opus", sweep(1.0, 48_000), 48_000)
    timed = [(p.time + (4.0 if i >= 20 else 0.0), p.data) for i, p in enumerate(packets)]
    with av.open(io.BytesIO(mux(track, timed).data)) as file:
        times = [float(packet.pts * packet.time_base) for packet in file.demux(audio=0) if packet.pts is not None]
    assert np.diff(times).max() == pytest.approx(4.02, abs=0.002)
    assert times == sorted(times)


def test_a_clip_is_not_much_larger_than_its_packets() -> None:
    for codec in ("opus", "aac", "pcm_s16le"):
        track, packets = encode(codec, sweep(3.0, 48_000), 48_000)
        timed = [(packet.time, packet.data) for packet in packets]
        assert len(mux(track, timed).data) < sum(len(data) + 16 for _, data in timed) + 1500


def test_a_clip_is_not_heard_as_something_else() -> None:
    track, packets = encode("pcm_s16le", sweep(1.0), RATE)
    assert len(hear(mux(track, [(p.time, p.data) for p in packets]).data, format="wav")) == RATE

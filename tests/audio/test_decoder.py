"""Packets become 16 kHz mono on a time line without holes, whatever codec, level and damage they come with."""

import threading
from pathlib import Path

import numpy as np
import pytest
from sounds import ENCODERS, decode, encode, level, noise, tone

from server.audio.decoder import BATCH, HOPELESS, LARGEST_GAP, Decoder
from server.audio.packet import Packet, Track
from server.errors import AudioCorrupt, UnsupportedFormat
from server.speech.types import RATE, Samples

CODEC_DELAY = 0.07  # seconds; AAC begins two frames early and fills up the last one
RATES = {"opus": 48_000, "aac": 44_100, "pcm_mulaw": 8000, "pcm_alaw": 8000}


def pcm(sound: Samples, time: float = 0.0, codec: str = "<i2") -> Packet:
    values = sound * (2**15 - 1) if codec == "<i2" else sound
    return Packet(time, values.astype(codec).tobytes(), 0, None)


def hz(samples: Samples) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))))) * RATE / len(samples)


@pytest.mark.parametrize("codec", ENCODERS)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_every_codec_keeps_level_length_and_pitch(codec: str, channels: int) -> None:
    rate = RATES.get(codec, 48_000)
    heard = decode(*encode(codec, tone(1.0, rate), rate, channels))
    assert heard.dtype == np.float32
    assert len(heard) / RATE == pytest.approx(1.0, abs=0.001 if codec.startswith("pcm") else CODEC_DELAY)
    middle = heard[RATE // 4 : RATE * 3 // 4]
    bass = 1 if (codec, channels) == ("aac", 6) else 0  # its sixth channel has no room for 440 Hz
    assert level(middle) == pytest.approx(0.5 / 2**0.5 * (1 - bass / 6), rel=0.03)
    assert hz(middle) == pytest.approx(440, abs=3)
    assert abs(middle.mean()) < 0.01


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 44_100, 96_000, 192_000])
def test_every_rate_comes_out_at_16_khz(rate: int) -> None:
    heard = decode(*encode("pcm_s16le", tone(1.0, rate), rate))
    assert len(heard) == pytest.approx(rate // 50 * 50 / rate * RATE, abs=2)
    assert hz(heard) == pytest.approx(440, abs=2)


def test_opposite_channels_cancel_and_different_ones_are_averaged() -> None:
    left, right = tone(0.5), -tone(0.5)
    assert level(decode(Track("pcm_s16le", RATE, 2), [pcm(np.stack([left, right], 1))])) < 0.001
    assert level(decode(Track("pcm_s16le", RATE, 2), [pcm(np.stack([left, 0 * left], 1))])) == pytest.approx(
        level(left) / 2, rel=0.02
    )


def test_samples_do_not_depend_on_when_they_are_taken() -> None:
    track, packets = encode("opus", noise(2.0, 48_000), 48_000)
    decoder, pieces = Decoder(track), []
    for packet in packets:
        decoder.decode(packet)
        pieces.append(decoder.take())
    pieces.append(decoder.finish())
    np.testing.assert_allclose(np.concatenate(pieces), decode(track, packets), atol=1e-4)


def test_nearly_everything_can_be_taken_at_once() -> None:
    decoder = Decoder(Track("pcm_s16le", 48_000, 1))
    decoder.decode(pcm(tone(BATCH / 2, 48_000)))
    assert len(decoder.take()) / RATE == pytest.approx(BATCH / 2, abs=0.04)


@pytest.mark.parametrize("codec", ["opus", "aac"])
def test_a_damaged_packet_is_dropped_without_noise(codec: str, capfd: pytest.CaptureFixture[str]) -> None:
    track, packets = encode(codec, tone(2.0, 48_000, level=0.3), 48_000)
    decoder = Decoder(track)
    damaged = Packet(1.0, b"\xff\xff\xff", 0, None)
    assert [decoder.decode(p) is None for p in (*packets[:40], damaged, *packets[40:])].index(True) == 40
    assert np.abs(decoder.finish()).max() < 1.2 * np.abs(decode(track, packets)).max()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("codec", ["opus", "aac"])
def test_whatever_damage_decodes_to_it_is_no_louder_than_full_scale(codec: str) -> None:
    track, packets = encode(codec, tone(2.0, 48_000), 48_000)
    random = np.random.default_rng(3)
    decoder = Decoder(track)
    for packet in packets * 5:
        data = np.frombuffer(packet.data, np.uint8).copy()
        data[random.integers(len(data), size=3)] = random.integers(256, size=3)
        decoder.decode(Packet(0, data.tobytes(), 0, None))
    heard = decoder.finish()
    assert len(heard) and np.isfinite(heard).all() and np.abs(heard).max() <= 1.0


def test_fifty_undecodable_packets_in_a_row_are_no_audio_but_forty_nine_are_a_mishap() -> None:
    track, packets = encode("aac", tone(0.2, 48_000), 48_000)
    decoder = Decoder(track)
    for _ in range(2):
        assert all(decoder.decode(Packet(0, b"\xff" * 8, 0, None)) is None for _ in range(HOPELESS - 1))
        assert decoder.decode(packets[1]) is not None
    for _ in range(HOPELESS - 1):
        decoder.decode(Packet(0, b"", 0, None))
    with pytest.raises(AudioCorrupt, match="50 packets"):
        decoder.decode(Packet(0, b"\xff" * 8, 0, None))


@pytest.mark.parametrize(("missing", "silence"), [(0.05, 0.0), (0.25, 0.25), (4.0, 4.0), (300.0, LARGEST_GAP)])
def test_missing_time_becomes_silence_up_to_a_limit(missing: float, silence: float) -> None:
    decoder = Decoder(Track("pcm_s16le", RATE, 1))
    decoder.decode(pcm(tone(0.5)))
    after = decoder.decode(pcm(tone(0.5), 0.5 + missing))
    assert after is not None
    assert (after.gap, after.start) == (pytest.approx(silence), pytest.approx(0.5 + silence))
    heard = decoder.finish()
    assert len(heard) / RATE == pytest.approx(1 + silence, abs=0.001) and decoder.time == pytest.approx(1 + silence)
    if silence:
        assert level(heard[round(0.51 * RATE) : round((0.49 + silence) * RATE)]) < 0.001


@pytest.mark.parametrize("missing", [0.02, 0.06])
def test_where_a_packet_is_known_to_be_lost_its_time_is_kept_however_short(missing: float) -> None:
    decoder = Decoder(Track("pcm_s16le", RATE, 1))
    time = 0.0
    for round in range(10):
        decoder.decode(pcm(tone(0.1), time))
        if round % 2:
            decoder.lose()
        else:
            decoder.decode(Packet(time + 0.1, b"", 0, None))
        time += 0.1 + missing
    decoded = decoder.decode(pcm(tone(0.1), time))
    assert decoded is not None and decoded.start == pytest.approx(time)


def test_what_is_lost_once_does_not_make_jitter_a_gap_later() -> None:
    decoder = Decoder(Track("pcm_s16le", RATE, 1))
    for time, gap in ((0.0, 0.0), (0.13, 0.03), (0.26, 0.0)):
        decoded = decoder.decode(pcm(tone(0.1), time))
        assert decoded is not None and decoded.gap == pytest.approx(gap)
        if not time:
            decoder.lose()


def test_a_clock_that_drifts_a_millisecond_a_packet_adds_up_to_no_gap() -> None:
    decoder = Decoder(Track("pcm_s16le", RATE, 1))
    silence = bytes(2 * RATE // 4)
    gaps = 0.0
    for i in range(2400):
        decoded = decoder.decode(Packet(i * 0.251, silence, 0, None))
        assert decoded is not None
        gaps += decoded.gap
    assert gaps == 0.0 and decoder.time == pytest.approx(600)


def test_time_that_runs_backward_or_stands_still_is_no_gap() -> None:
    decoder = Decoder(Track("pcm_s16le", RATE, 1))
    for time in (0.0, 0.0, -7.0, -6.9):
        decoded = decoder.decode(pcm(tone(0.1), time))
        assert decoded is not None and decoded.gap == 0.0
    assert decoder.time == pytest.approx(0.4)


def test_a_codec_we_do_not_speak_is_refused_with_those_we_do() -> None:
    with pytest.raises(UnsupportedFormat, match=r"opus.*got the codec vorbis"):
        Decoder(Track("vorbis", 48_000, 1))


def test_no_session_starts_a_thread() -> None:
    def tasks() -> set[str]:
        return {path.name for path in Path("/proc/self/task").glob("*")} or {str(threading.active_count())}

    streams = [encode(codec, tone(0.5, 48_000), 48_000, 2) for codec in ("opus", "aac", "pcm_s16le")]
    before = tasks()
    for track, packets in streams:
        assert len(decode(track, packets))
        assert tasks() <= before


def test_the_sample_rate_may_change_in_mid_stream() -> None:
    slow, fast = (encode("aac", tone(1.0, rate), rate) for rate in (24_000, 48_000))
    decoder = Decoder(slow[0])
    for packet in slow[1]:
        decoder.decode(packet)
    # The encoder's second stream by the first one's decoder: ADTS heads tell each packet's rate.
    again = Decoder(Track("aac", 24_000, 1))
    for (track, packets), index in ((slow, 6), (fast, 3)):
        for packet in packets:
            assert again.decode(Packet(0, adts(packet.data, index), 0, None)) is not None, track
    heard = again.finish()
    assert len(heard) / RATE == pytest.approx(again.time, abs=0.001) and again.time == pytest.approx(2.0, abs=0.2)
    for part in (heard[4000:12_000], heard[20_000:28_000]):
        assert level(part) == pytest.approx(0.5 / 2**0.5, rel=0.05) and hz(part) == pytest.approx(440, abs=4)


def adts(data: bytes, rate_index: int) -> bytes:
    """An AAC packet with a head of its own (ISO/IEC 14496-3, 1.A.3), which tells its sample rate."""
    size = len(data) + 7
    head = 0xFFF1 << 40 | 1 << 38 | rate_index << 34 | 1 << 30 | size << 13 | 0x7FF << 2
    return head.to_bytes(7) + data


@pytest.mark.parametrize("codec", ["pcm_f32le", "pcm_f64le"])
def test_a_float_that_is_no_number_harms_only_itself(codec: str) -> None:
    sound = np.stack([tone(0.5), tone(0.5)], 1).astype("<f4" if codec == "pcm_f32le" else "<f8")
    sound[100] = [np.nan, 0.0]
    sound[200] = [np.inf, -np.inf]
    sound[300] = [np.finfo(sound.dtype).max] * 2
    heard = decode(Track(codec, RATE, 2), [Packet(0, sound.tobytes(), 0, None)])
    assert np.isfinite(heard).all() and np.abs(heard).max() <= 1.0
    assert level(heard[1000:]) == pytest.approx(0.5 / 2**0.5, rel=0.01)


@pytest.mark.parametrize("data", [b"", b"\0"], ids=["empty", "half a sample"])
def test_a_packet_with_no_whole_sample_is_dropped(data: bytes) -> None:
    assert Decoder(Track("pcm_s16le", RATE, 1)).decode(Packet(0, data, 0, None)) is None


def test_time_stamps_alone_make_no_hours_of_silence() -> None:
    decoder = Decoder(Track("pcm_s16le", 16_000, 1))
    total = 0.0
    for i in range(500):
        decoder.decode(Packet(i * 5.0, bytes(320), 0, 0))
        total += len(decoder.take()) / 16_000
    assert total < 500 * 0.02 * 2 + 10

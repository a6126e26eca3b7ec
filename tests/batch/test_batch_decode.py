"""Whole files of any format become the same sound; what is not audio opens nothing."""

import functools
import io
import json
import os
import struct
import tracemalloc
import wave
import zlib
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
import soxr
from flac import silent
from webm import recorded

from server.batch.decode import OPTIONS, decode
from server.errors import AudioCorrupt, AudioTooLarge, UnsupportedFormat
from server.speech.types import RATE

SOURCE = Path(find_spec("moonshine_voice").origin).parent / "assets" / "two_cities.wav"
SECONDS = 8
ROOT = Path(__file__).parents[2]

FORMATS = {  # file name: container, codec, rate
    "webm opus": ("webm", "libopus", 48_000),
    "webm vorbis": ("webm", "vorbis", 44_100),
    "mp4 aac": ("mp4", "aac", 44_100),
    "mp4 opus": ("mp4", "libopus", 48_000),
    "m4a aac": ("ipod", "aac", 48_000),
    "m4a alac": ("ipod", "alac", 44_100),
    "mov pcm": ("mov", "pcm_s16be", 22_050),
    "ogg opus": ("ogg", "libopus", 48_000),
    "ogg vorbis": ("ogg", "vorbis", 44_100),
    "wav 16 bit": ("wav", "pcm_s16le", 44_100),
    "wav 24 bit": ("wav", "pcm_s24le", 48_000),
    "wav 8 bit": ("wav", "pcm_u8", 16_000),
    "wav float": ("wav", "pcm_f32le", 16_000),
    "wav mulaw": ("wav", "pcm_mulaw", 8_000),
    "mp3": ("mp3", "libmp3lame", 44_100),
    "flac": ("flac", "flac", 48_000),
    "aac": ("adts", "aac", 44_100),
}


@functools.cache
def source() -> np.ndarray:
    with wave.open(str(SOURCE)) as file:
        rate = file.getframerate()
        pcm = np.frombuffer(file.readframes(SECONDS * rate), "<i2").astype(np.float32) / 32768
    return soxr.resample(pcm, rate, RATE)


@functools.cache
def encoded(container: str, codec: str, rate: int, layout: str = "stereo", **options: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container, container_options=options) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        if codec == "vorbis":
            stream.codec_context.options = {"strict": "experimental"}
        frame = av.AudioFrame.from_ndarray(source()[None], format="flt", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(format=stream.format, layout=layout, rate=rate)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return file.getvalue()


def sound_of(data: bytes, longest_s: float = 3600) -> np.ndarray:
    return np.concatenate(list(decode(io.BytesIO(data), longest_s=longest_s)))


def wav(samples: bytes, rate: int = RATE, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as output:
        output.setnchannels(channels)
        output.setsampwidth(2)
        output.setframerate(rate)
        output.writeframes(samples)
    return file.getvalue()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_sound_that_went_in(name):
    expected, sound = source(), sound_of(encoded(*FORMATS[name]))
    assert len(sound) / RATE == pytest.approx(SECONDS, abs=0.08)
    size = 1 << (2 * len(expected)).bit_length()
    likeness = np.fft.irfft(np.fft.rfft(sound, size) * np.conj(np.fft.rfft(expected, size)))
    shift = (int(np.argmax(likeness)) + size // 2) % size - size // 2
    assert abs(shift) / RATE < 0.07  # the encoders' padding
    assert likeness.max() / (np.linalg.norm(sound) * np.linalg.norm(expected)) > 0.9


def test_full_scale_stays_full_scale():
    tone = (np.sin(np.arange(RATE) * 0.1) * 32767).astype("<i2")
    assert np.abs(sound_of(wav(tone.tobytes()))).max() == pytest.approx(1.0, abs=0.02)


def test_channels_are_mixed():
    left_only = np.stack([np.full(RATE, 16384, "<i2"), np.zeros(RATE, "<i2")], axis=1)
    assert sound_of(wav(left_only.tobytes(), channels=2))[8000] == pytest.approx(0.25, abs=0.001)


RECORDINGS = [  # what browsers sent; more of them may lie beside the checkout
    path
    for folder in (ROOT / "tests", ROOT.parent / "shared")
    for path in sorted((folder / "recordings").glob("*.*"))
    if path.suffix in (".webm", ".mp4", ".ogg") and "pause" not in path.name  # whose time of arrival tells no length
]


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name)
def test_every_browsers_recording_is_read_whole(path):
    arrived = json.loads(path.with_suffix(".json").read_text())["chunks"]
    seconds = (arrived[-1][1] - arrived[0][1]) / 1000
    assert len(sound_of(path.read_bytes())) / RATE == pytest.approx(seconds, abs=1.5)


def test_a_hole_in_the_time_line_becomes_silence():
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as output:
        stream = output.add_stream("libopus", rate=48_000, layout="mono")
        for number in range(100):
            frame = av.AudioFrame.from_ndarray(np.full((1, 960), 0.3, np.float32), format="flt", layout="mono")
            frame.sample_rate, frame.pts = 48_000, number * 960 + (144_000 if number >= 50 else 0)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    sound = sound_of(file.getvalue())
    assert len(sound) / RATE == pytest.approx(5.0, abs=0.05)
    assert np.abs(sound[2 * RATE : 3 * RATE]).max() < 1e-3


def test_a_file_that_breaks_off_is_read_up_to_there():
    whole = encoded("webm", "libopus", 48_000)
    assert SECONDS / 2 - 1 < len(sound_of(whole[: len(whole) // 2])) / RATE < SECONDS / 2 + 1


def test_a_longer_file_than_allowed_is_refused_while_it_is_read():
    blocks = decode(io.BytesIO(wav(bytes(2 * RATE * 100))), longest_s=10)
    with pytest.raises(AudioTooLarge, match="at most 10 s"):
        for number, _ in enumerate(blocks):
            assert number <= 10


def test_a_long_file_is_read_in_little_memory(tmp_path):
    path = tmp_path / "long.wav"
    header = wav(b"", rate=8000)
    size = 2 * 8000 * 600
    path.write_bytes(header[:4] + struct.pack("<I", size + 36) + header[8:40] + struct.pack("<I", size))
    os.truncate(path, size + 44)  # a sparse file: silence that takes no disk
    with path.open("rb") as file:
        blocks = decode(file, longest_s=3600)
        next(blocks)
        tracemalloc.start()
        try:
            count = sum(map(len, blocks))
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert count > 598 * RATE
    assert most < 1_000_000  # bytes; the whole would be 38 MB


PNG = b"\x89PNG\r\n\x1a\n" + b"".join(
    struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    for kind, body in [
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(4))),
        (b"IEND", b""),
    ]
)
NOT_AUDIO = {
    "text": b"Call me Ishmael. Some years ago",
    "html": b"<!doctype html><title>413</title>",
    "png": PNG,
    "zip": b"PK\x03\x04" + bytes(40),
    "utf-16 text": "Call me Ishmael".encode("utf-16"),
    "avi": b"RIFF\x00\x10\x00\x00AVI LIST",
    "zeros": bytes(100),
    "one byte": b"\x1a",
    "random": bytes((7 * i * i + 3) % 251 for i in range(4000)),
}


@pytest.mark.parametrize("name", NOT_AUDIO)
def test_what_is_not_audio_is_refused_by_its_first_bytes(name):
    with pytest.raises(UnsupportedFormat, match=f"got bytes starting {NOT_AUDIO[name][:4].hex(' ')}"):
        sound_of(NOT_AUDIO[name])


def test_an_empty_file_is_damaged_audio():
    with pytest.raises(AudioCorrupt, match="empty"):
        sound_of(b"")


@pytest.mark.parametrize("name", ["webm opus", "mp4 aac", "ogg opus", "wav 16 bit", "mp3", "flac", "aac"])
@pytest.mark.parametrize("rest", [b"", bytes(5000), bytes(range(256)) * 20], ids=["nothing", "zeros", "noise"])
def test_a_header_without_its_audio_is_damaged(name, rest):
    with pytest.raises(AudioCorrupt):
        sound_of(encoded(*FORMATS[name])[:12] + rest)


@pytest.mark.parametrize("name", FORMATS)
def test_any_damage_is_either_heard_through_or_told(name):
    whole = encoded(*FORMATS[name])
    random = np.random.default_rng(1)
    for _ in range(6):
        broken = bytearray(whole)
        for at in random.integers(12, len(broken), 40):
            broken[at] ^= int(random.integers(1, 256))
        try:
            assert len(sound_of(bytes(broken), longest_s=120)) > 0
        except (AudioCorrupt, UnsupportedFormat, AudioTooLarge):
            pass


def test_numbers_that_are_none_are_silence():
    header = encoded("wav", "pcm_f32le", RATE, "mono")[: -SECONDS * RATE * 4]
    nonsense = np.array([np.nan, np.inf, -np.inf, 1e38] * 4000, "<f4")
    sound = sound_of(header + nonsense.tobytes())
    assert np.isfinite(sound).all() and np.abs(sound).max() < 2


def test_a_sample_rate_that_would_swell_is_refused():
    with pytest.raises(UnsupportedFormat, match="got 1$"):
        sound_of(wav(bytes(20_000), rate=1))


def test_too_many_samples_a_second_are_refused_whatever_they_are():
    with pytest.raises(UnsupportedFormat, match="8 channels of 192000"):
        sound_of(silent(1, 192_000, channels=8))
    assert len(sound_of(wav(bytes(2 * 8 * 48_000), rate=48_000, channels=8))) == RATE


@pytest.mark.parametrize("declared", [True, False])
def test_what_is_too_long_is_refused_before_any_of_it_is_decoded(declared):
    told = []
    with pytest.raises(AudioTooLarge):
        next(decode(io.BytesIO(silent(13 * 3600, 8000, declared=declared)), longest_s=12 * 3600, length=told.append))
    assert told[0] > 12 * 3600


@pytest.mark.parametrize("name", ["webm opus", "mp4 aac", "ogg vorbis", "wav 16 bit", "mp3", "flac", "aac"])
def test_the_length_is_told_first(name):
    told = []
    next(decode(io.BytesIO(encoded(*FORMATS[name])), longest_s=3600, length=told.append))
    assert told == [pytest.approx(SECONDS, abs=0.1)]


def test_where_counting_takes_too_long_the_header_is_believed(monkeypatch):
    monkeypatch.setattr("server.batch.decode.COUNTING_S", 0.0)
    told = []
    next(decode(io.BytesIO(silent(600, 8000)), longest_s=3600, length=told.append))
    assert told == [pytest.approx(600, abs=10)]
    with pytest.raises(AudioTooLarge):
        next(decode(io.BytesIO(silent(600, 8000)), longest_s=500))


def test_where_there_is_no_header_the_last_cluster_is_believed(monkeypatch):
    monkeypatch.setattr("server.batch.decode.COUNTING_S", 0.0)
    told = []
    next(decode(io.BytesIO(recorded(600)), longest_s=3600, length=told.append))
    assert told == [pytest.approx(600, abs=11)]
    monkeypatch.setattr("server.batch.decode.DOUBTING_S", 0.0)
    with pytest.raises(AudioTooLarge):
        next(decode(io.BytesIO(recorded(600)), longest_s=500))


@pytest.mark.parametrize("scale, seconds", [(1_000_000, 590), (500_000, 295)])
def test_the_last_cluster_tells_its_time_in_the_files_own_ticks(monkeypatch, scale, seconds):
    monkeypatch.setattr("server.batch.decode.COUNTING_S", 0.0)
    told, ticks = [], b"\x2a\xd7\xb1\x83"
    data = recorded(600).replace(ticks + (1_000_000).to_bytes(3), ticks + scale.to_bytes(3))
    next(decode(io.BytesIO(data), longest_s=3600, length=told.append))
    assert told == [pytest.approx(seconds)]


def test_a_header_that_says_too_much_is_not_believed_where_the_packets_are_soon_counted():
    data = bytearray(silent(600, 8000))
    data[21:26] = bytes([data[21] | 0xF, 0xFF, 0xFF, 0xFF, 0xFF])  # samples: 36 bits
    told = []
    next(decode(io.BytesIO(bytes(data)), longest_s=3600, length=told.append))
    assert told == [pytest.approx(600, abs=20)]


def test_no_file_is_refused_for_a_guess_of_its_length(monkeypatch):
    monkeypatch.setattr("server.batch.decode.COUNTING_S", 0.0)
    quiet = bytes.fromhex("fff310c4") + bytes(22)  # MPEG-2 layer III, 8 kbit/s, 22050 Hz: 26 bytes, 26 ms
    mp3 = quiet * 40 + encoded("mp3", "libmp3lame", 22_050, write_xing="0", id3v2_version="0")
    with av.open(io.BytesIO(mp3), format="mp3") as container:
        assert container.duration > 2 * SECONDS * av.time_base  # so FFmpeg is wrong
    told = []
    next(decode(io.BytesIO(mp3), longest_s=SECONDS * 1.5, length=told.append))
    assert told == [pytest.approx(SECONDS + 40 * 0.026, abs=0.1)]


def test_an_hour_in_a_few_kilobytes_is_no_fault():
    data = silent(3600, 8000)
    assert len(data) < 10_000 and len(sound_of(data, longest_s=3700)) >= 3600 * RATE


def test_a_film_without_sound_is_not_audio():
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        output.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        output.mux(stream.encode(None))
    with pytest.raises(UnsupportedFormat, match="got none"):
        sound_of(file.getvalue())


def test_a_codec_that_is_not_listed_is_not_opened():
    with pytest.raises(UnsupportedFormat, match="got adpcm_ima_wav"):
        sound_of(encoded("wav", "adpcm_ima_wav", 22_050, "mono"))


ATTACKS = {
    "concat": "ffconcat version 1.0\nfile '{path}'\n",
    "concat of an address": "ffconcat version 1.0\nfile 'tcp://127.0.0.1:{port}'\n",
    "playlist": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{path}\n#EXT-X-ENDLIST\n",
    "playlist of an address": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:{port}/a.ts\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} TCP/RTP/AVP 0\n",
    "dash": "<MPD><BaseURL>http://127.0.0.1:{port}/</BaseURL></MPD>",
    "rtsp": "rtsp://127.0.0.1:{port}/",
    "path": "{path}",
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("disguise", ["", "ID3", "OggS", "RIFF0000WAVE", "0000ftypmp42", "\x1aE\xdf\xa3"])
def test_a_list_of_other_files_opens_none_of_them(bait, name, disguise):
    secret, door = bait
    text = ATTACKS[name].format(path=secret, port=door.getsockname()[1])
    with pytest.raises(AudioCorrupt if disguise else UnsupportedFormat):
        sound_of(disguise.encode("latin-1") + text.encode())
    with pytest.raises(BlockingIOError):
        door.accept()


def test_an_mp4_whose_samples_lie_in_another_file_does_not_read_it(bait, monkeypatch):
    secret, _ = bait
    film = with_samples_in(secret)
    with av.open(io.BytesIO(film), options={"enable_drefs": "1", "use_absolute_path": "1"}) as fallen_for_it:
        heard = next(fallen_for_it.decode(audio=0)).to_ndarray()
    assert (heard == 16384).any()  # so the attack is real
    with pytest.raises(AudioCorrupt):
        sound_of(film)
    monkeypatch.setitem(OPTIONS, "enable_drefs", "1")
    monkeypatch.setitem(OPTIONS, "use_absolute_path", "1")
    with pytest.raises(AudioCorrupt):  # nor would it if FFmpeg tried
        sound_of(film)


def with_samples_in(path: Path) -> bytes:
    """A QuickTime file whose data reference (an alias record with an absolute path) names another file."""
    place = str(path).replace("/", ":").encode()
    record = bytes(150) + struct.pack(">hH", 2, len(place)) + place + bytes(len(place) % 2) + struct.pack(">hH", -1, 0)
    alias = struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record
    film = encoded("mov", "pcm_s16le", RATE, "mono")
    entry = film.index(b"dref") + 12
    (size,) = struct.unpack_from(">I", film, entry)
    grown = bytearray(film[:entry] + alias + film[entry + size :])
    for name in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        at = grown.rindex(name, 0, entry) - 4
        struct.pack_into(">I", grown, at, struct.unpack_from(">I", grown, at)[0] + len(alias) - size)
    return bytes(grown)

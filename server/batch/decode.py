"""Any audio file → 16 kHz mono, block by block, by a decoder that trusts nothing in the file.

FFmpeg guesses formats, and some of its formats open other files and sockets (`ffconcat`, playlists, SDP). So the
demuxer is named here, from the first bytes; formats, codecs and protocols are white-listed besides; and FFmpeg
reads through a Python file only, so that it has nothing it could open.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import SEEK_END
from itertools import groupby, repeat
from math import inf
from time import monotonic
from typing import BinaryIO, NoReturn

import av
import numpy as np
import soxr
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from numpy.typing import NDArray

from ..errors import AudioCorrupt, AudioTooLarge, UnsupportedFormat
from ..speech.types import RATE, Samples

BLOCK_S = 1.0  # seconds decoded before they are resampled and given out: few calls, little memory
GAP_S = 0.15  # a time stamp this far ahead of the samples is a gap; below it is the jitter of containers
LONGEST_GAP_S = 60.0  # one further ahead is a damaged time stamp, not a silence
RATES = range(4_000, 384_001)  # Hz; outside, a header lies, and a block would be resampled to gigabytes
MOST_SAMPLES = 384_000  # a second, in all channels: 8 of 48 kHz, 2 of 192 kHz
COUNTING_S = 2.0  # seconds in which the packets of a file are counted before it is read: 600,000 of them
DOUBTING_S = 0.5  # … where its header says that it is too long: what is damaged has fewer, and they are what counts
GUESSED = ("mp3", "aac")  # their length is guessed from a few frames, and no file is refused for a guess
MAGIC = 12  # bytes that tell the format
WINDOW = 2_097_152  # bytes at an end of a Matroska file: more than 30 s, and no recorder writes longer Clusters
TIMESTAMP_SCALE = re.compile(rb"\x2a\xd7\xb1([\x81-\x88].{8})", re.DOTALL)  # ns
CLUSTER_TIMESTAMP = re.compile(rb"\x1f\x43\xb6\x75.{1,14}?\xe7([\x81-\x88].{8})", re.DOTALL)  # after its size, or a CRC

PCM = ("u8", "s16le", "s16be", "s24le", "s24be", "s32le", "s32be", "f32le", "f32be", "f64le", "alaw", "mulaw")
CODECS = frozenset({"opus", "vorbis", "aac", "mp3", "mp3float", "flac", "alac", *(f"pcm_{form}" for form in PCM)})
FORMATS = ("matroska", "mov", "ogg", "wav", "mp3", "aac", "flac")

OPTIONS = {
    "format_whitelist": ",".join(FORMATS),
    "codec_whitelist": ",".join(sorted(CODECS)),  # also for the probing, which else opens the decoders of any picture
    "protocol_whitelist": "none",  # no protocol has that name
    "enable_drefs": "0",  # MP4: no samples out of another file
    "use_absolute_path": "0",
}


def decode(
    file: BinaryIO, *, longest_s: float, length: Callable[[float | None], None] = lambda seconds: None
) -> Iterator[Samples]:
    """The first audio track of a seekable binary file as float32 blocks of about a second, mono, 16 kHz.

    It begins at 0 where the file begins; gaps in its time line are filled with silence, damaged packets are left
    out, and a file that breaks off is read up to there. Before the first block `length` gets the seconds that are
    to come, or None. Raises UnsupportedFormat for what is not audio, AudioCorrupt where nothing can be decoded,
    AudioTooLarge before the first block where that is known, else once more than `longest_s` seconds were read.
    """
    file.seek(0)
    demuxer = sniff(file.read(MAGIC))
    too_large = AudioTooLarge(f"expected at most {longest_s:g} s of audio, got more", param="file")
    last = _last_cluster(file) if demuxer == "matroska" else None
    with _open(file, demuxer) as container:
        seconds = _length(container, longest_s, last)
    length(seconds)
    if seconds is not None and seconds > longest_s + BLOCK_S:
        raise too_large
    count = 0
    for block in _resample(_open_and_read(file, demuxer)):
        count += len(block)
        if count > longest_s * RATE:
            raise too_large
        yield block
    if not count:
        raise AudioCorrupt(f"expected audio, got {demuxer} in which nothing can be decoded", param="file")


def sniff(magic: bytes) -> str:
    """FFmpeg's name of the demuxer for a file that begins with these (at least 12) bytes, whatever it is called."""
    match magic:
        case b"":
            raise AudioCorrupt("expected audio, got an empty file", param="file")
        case _ if magic.startswith(b"\x1aE\xdf\xa3"):
            return "matroska"
        case _ if magic[4:8] == b"ftyp":
            return "mov"
        case _ if magic.startswith(b"OggS"):
            return "ogg"
        case _ if magic[:4] in (b"RIFF", b"RF64") and magic[8:12] == b"WAVE":
            return "wav"
        case _ if magic.startswith(b"fLaC"):
            return "flac"
        case _ if magic.startswith(b"ID3") or _is_layer_3(magic):
            return "mp3"
        case _ if len(magic) > 1 and magic[0] == 0xFF and magic[1] & 0xF6 == 0xF0:  # ADTS: sync, layer 0
            return "aac"
    raise UnsupportedFormat(
        f"expected WebM, MP4, Ogg, WAV, MP3, FLAC or AAC, got bytes starting {magic[:4].hex(' ')}", param="file"
    )


def _is_layer_3(magic: bytes) -> bool:
    """An MPEG audio frame header (ISO 11172-3, 2.4.1.3) of layer III, none of its fields forbidden or free."""
    if len(magic) < 4 or magic[0] != 0xFF or magic[1] & 0xE6 != 0xE2 or magic[1] & 0x18 == 0x08:
        return False
    return magic[2] >> 4 not in (0, 15) and magic[2] & 0x0C != 0x0C


Sound = tuple[NDArray[np.float32], int]  # mono samples and their rate in Hz


def _open(file: BinaryIO, demuxer: str) -> InputContainer:
    file.seek(0)
    try:
        return av.open(file, "r", format=demuxer, options=OPTIONS, io_open=_refuse, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise AudioCorrupt(f"expected a whole {demuxer} header, got one that cannot be read", param="file") from error


def _last_cluster(file: BinaryIO) -> float | None:
    """Seconds at which the last Cluster of Matroska (RFC 9559) begins: recorders leave the length out of the header."""
    file.seek(0)
    scales = TIMESTAMP_SCALE.findall(file.read(WINDOW))
    file.seek(max(0, file.seek(0, SEEK_END) - WINDOW))
    times = CLUSTER_TIMESTAMP.findall(file.read(WINDOW))
    if not times:
        return None
    scale, time = _number(scales[0]) if scales else 1_000_000, _number(times[-1])
    return scale * time * 1e-9


def _number(element: bytes) -> int:
    """The value behind its size."""
    return int.from_bytes(element[1 : 1 + element[0] % 16])


def _length(container: InputContainer, longest_s: float, last: float | None) -> float | None:
    """Seconds by the packets, which cannot lie; where counting takes long, by the header or else by the `last` time."""
    stream = _audio(container)
    base = float(stream.time_base or 0)
    origin = (container.start_time or 0) / av.time_base
    header = container.duration / av.time_base if container.duration else last and last - origin
    too_long = header is not None and header > longest_s + BLOCK_S
    guessed = too_long and container.format.name in GUESSED
    give_up = inf if guessed else monotonic() + (DOUBTING_S if too_long else COUNTING_S)
    place = 0.0
    for packet in _packets(container, stream):
        gap = packet.pts * base - origin - place if packet.pts is not None else 0.0
        for seconds in (gap if gap > GAP_S else 0.0, (packet.duration or 0) * base):
            place += seconds if seconds < LONGEST_GAP_S else 0.0  # FFmpeg itself tells a day for the last one of Vorbis
        if place > longest_s + BLOCK_S:
            break
        if monotonic() > give_up:
            return header
    return place or None


def _open_and_read(file: BinaryIO, demuxer: str) -> Iterator[Sound]:
    with _open(file, demuxer) as container:
        yield from _place(_frames(container, _audio(container)), (container.start_time or 0) / av.time_base)


def _refuse(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise AudioCorrupt("expected audio in the file itself, got a reference to another file", param="file")


def _audio(container: InputContainer) -> AudioStream:
    for stream in container.streams.audio:
        codec = stream.codec_context  # None where this FFmpeg has no decoder
        if codec is None or codec.name not in CODECS:
            known = ", ".join(sorted(CODECS))
            raise UnsupportedFormat(f"expected one of {known}, got {codec and codec.name}", param="file")
        if codec.sample_rate:  # MP3 and AAC tell it with the first frame
            _check(codec.sample_rate, codec.channels)
        codec.thread_count = 1  # 0, the default, starts a thread per core
        return stream
    raise UnsupportedFormat("expected an audio track, got none", param="file")


def _check(rate: int, channels: int) -> None:
    if rate not in RATES:
        raise UnsupportedFormat(f"expected {RATES[0]} to {RATES[-1]} Hz, got {rate}", param="file")
    if rate * channels > MOST_SAMPLES:
        raise UnsupportedFormat(
            f"expected at most {MOST_SAMPLES} samples per second, got {channels} channels of {rate}", param="file"
        )


def _packets(container: InputContainer, stream: AudioStream) -> "Iterator[Packet[AudioStream]]":
    """Up to where the file ends, breaks off or is damaged."""
    with suppress(av.FFmpegError):
        yield from container.demux(stream)


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    for packet in _packets(container, stream):
        try:
            yield from packet.decode()
        except av.FFmpegError:  # one damaged packet
            continue


def _place(frames: Iterator[AudioFrame], origin: float) -> Iterator[Sound]:
    """Mono samples, with silence where the time stamps leave a gap."""
    position = 0.0
    for frame in frames:
        _check(frame.sample_rate, frame.layout.nb_channels)
        gap = frame.time - origin - position if frame.time is not None else 0.0
        if GAP_S < gap < LONGEST_GAP_S:
            for seconds in (*repeat(BLOCK_S, int(gap)), gap % BLOCK_S):
                yield np.zeros(round(seconds * frame.sample_rate), np.float32), frame.sample_rate
            position += gap
        yield _mono(frame), frame.sample_rate
        position += frame.samples / frame.sample_rate


def _mono(frame: AudioFrame) -> NDArray[np.float32]:
    """The mean of the channels, -1 … 1."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype.kind == "f":  # a damaged float may be anything
        samples = np.clip(np.nan_to_num(samples), -1.0, 1.0)
    mono: NDArray[np.float64] = samples.mean(axis=0, dtype=np.float64)
    if samples.dtype.kind == "f":
        return mono.astype(np.float32)
    middle = 128 if samples.dtype == np.uint8 else 0
    return ((mono - middle) / 2.0 ** (8 * samples.dtype.itemsize - 1)).astype(np.float32)


def _resample(sounds: Iterator[Sound]) -> Iterator[Samples]:
    """Blocks at 16 kHz; the rate may change on the way, as it does in chained Ogg."""
    for rate, run in groupby(sounds, key=lambda sound: sound[1]):
        resampler = soxr.ResampleStream(rate, RATE, 1, dtype="float32")
        waiting: list[NDArray[np.float32]] = []
        size = 0
        for samples, _ in run:
            waiting.append(samples)
            size += len(samples)
            if size >= BLOCK_S * rate:
                yield resampler.resample_chunk(np.concatenate(waiting))
                waiting, size = [], 0
        yield resampler.resample_chunk(np.concatenate([*waiting, np.zeros(0, np.float32)]), last=True)

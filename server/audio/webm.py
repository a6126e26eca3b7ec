"""WebM (Matroska, RFC 9559) demuxer for live recordings.

MediaRecorder writes Segment and Cluster with unknown size and never goes back, so the parser walks the elements
flat: it enters masters and ignores their end. Each Cluster carries its absolute time, so it is where reading can
begin again, after damage or after a reconnect.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import replace

from ..errors import UnsupportedFormat
from .ogg import OPUS_RATE, opus_head, opus_samples
from .packet import Damage, Packet, Track
from .reader import ELEMENT_MAX, HEADER_MAX, ByteReader, Lost, Parser, Read, advances, corrupt

EBML, SEGMENT, INFO, TRACKS, CLUSTER = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
TIMESTAMP, SIMPLE_BLOCK, BLOCK_GROUP, BLOCK = 0xE7, 0xA3, 0xA0, 0xA1
TIMESTAMP_SCALE, TRACK_ENTRY, TRACK_NUMBER, TRACK_TYPE, AUDIO = 0x2AD7B1, 0xAE, 0xD7, 0x83, 0xE1
CODEC_ID, CODEC_PRIVATE, DEFAULT_DURATION, CONTENT_ENCODINGS = 0x86, 0x63A2, 0x23E383, 0x6D80
SAMPLING_FREQUENCY, CHANNELS, BIT_DEPTH = 0xB5, 0x9F, 0x6264

# Elements nobody here needs, and the most bytes they may claim: what claims more, or is in no table, is damage.
SKIPPED = {
    0xEC: ELEMENT_MAX,  # Void
    0xBF: 4,  # CRC-32
    0xA7: 8,  # Position
    0xAB: 8,  # PrevSize
    0x5854: 1024,  # SilentTracks
    0x9B: 8,  # BlockDuration
    0xFB: 8,  # ReferenceBlock
    0xFA: 8,  # ReferencePriority
    0x75A1: ELEMENT_MAX,  # BlockAdditions
    0x75A2: 8,  # DiscardPadding
    0xA4: 1024,  # CodecState
    0x8E: 1024,  # Slices
    0x114D9B74: ELEMENT_MAX,  # SeekHead
    0x1C53BB6B: ELEMENT_MAX,  # Cues
    0x1254C367: ELEMENT_MAX,  # Tags
    0x1043A770: ELEMENT_MAX,  # Chapters
    0x1941A469: 16 * ELEMENT_MAX,  # Attachments
}
UNKNOWN = 1 << 62  # the size of an element that ends where its parent's next one begins; larger than any limit

TRACK_TYPE_AUDIO = 2
TRACK_NUMBER_MAX = 126  # what fits in the one byte every recorder uses for it in a block
OTHER_BLOCK_MAX = 16 << 20  # bytes; a picture of a video track, skipped unread
LACED, LACE_XIPH, LACE_FIXED = 0x06, 0x02, 0x04
RESERVED = {SIMPLE_BLOCK: 0x70, BLOCK: 0xF1}  # flag bits that are always 0

# A damaged length should be noticed soon: 120 ms of Opus are at most 6 · 1275 bytes and an AAC packet 768 a channel.
PACKET_MAX = {"opus": 8192, "aac": 8192}
BLOCK_MAX = 1 << 17  # bytes, of PCM or of laced packets

PCM = {
    ("A_PCM/INT/LIT", 8): "pcm_u8",
    ("A_PCM/INT/LIT", 16): "pcm_s16le",
    ("A_PCM/INT/LIT", 24): "pcm_s24le",
    ("A_PCM/INT/LIT", 32): "pcm_s32le",
    ("A_PCM/FLOAT/IEEE", 32): "pcm_f32le",
    ("A_PCM/FLOAT/IEEE", 64): "pcm_f64le",
}

CLUSTER_ID = CLUSTER.to_bytes(4)
_SIZE = rb"(?:[\x80-\xff]|[@-\x7f].|[ -?]..|[\x10-\x1f].{3}|[\x08-\x0f].{4}|[\x04-\x07].{5}|[\x02\x03].{6}|\x01.{7})"
# A Cluster with its first child (Timestamp, Position, PrevSize or CRC-32), or an EBML header with its first (0x42..).
RESTART = re.compile(rb"\x1f\x43\xb6\x75" + _SIZE + rb"[\xe7\xa7\xab\xbf]|\x1a\x45\xdf\xa3" + _SIZE + rb"\x42", re.S)
RESTART_LENGTH = 13
HEAD_MAX = 12  # bytes of an element's id and size


def parse(reader: ByteReader) -> Parser:
    """Yield the first audio track of a WebM stream and its packets; raises AudioCorrupt and UnsupportedFormat."""
    return _Webm(reader).parse()


class _Webm:
    def __init__(self, reader: ByteReader) -> None:
        self._reader = reader
        self._track: Track | None = None  # whose packets come out
        self._next: Track | None = None  # of a header that was read, until its first Cluster
        self._number = 0
        self._others: set[int] = set()
        self._packet_max = 0
        self._tick = 0.001  # seconds
        self._frame_s = 0.0  # DefaultDuration, for laced packets other than Opus
        self._cluster: int | None = None  # where the newest Cluster begins …
        self._cluster_ticks: int | None = None  # … and its time
        self._last: float | None = None  # time of the last packet
        self._damaged: int | None = None  # where sense began again, until a packet proves it

    def parse(self) -> Parser:
        restart = -1
        while True:
            try:
                yield from self._walk()
            except Lost as lost:
                if self._track is None and self._next is None:
                    raise corrupt("WebM", lost) from None
                if self._reader.at == restart:
                    yield from self._reader.skip(1)
                yield from self._reader.seek(RESTART, RESTART_LENGTH)
                self._damaged = restart = self._reader.at
                self._cluster = self._cluster_ticks = self._last = None

    def _walk(self) -> Parser:
        reader = self._reader
        while True:
            while (head := _head(reader.ahead(HEAD_MAX))) is None:
                yield None
            start = reader.at
            element, size, length = head
            reader.drop(length)
            if element in RESERVED:
                if self._others or size > self._packet_max:
                    flags = yield from self._peek_flags(size)
                    if flags is None:
                        yield from reader.skip(size)
                        continue
                if reader.ready < size:
                    yield from reader.need(size)
                yield from self._block(element, size)
            elif element == CLUSTER:
                if self._next is not None:
                    self._track, self._next = self._next, None
                    self._packet_max = PACKET_MAX.get(self._track.codec, BLOCK_MAX)
                    yield self._track
                self._cluster, self._cluster_ticks = start, None
            elif element == TIMESTAMP:
                self._cluster_ticks = int.from_bytes((yield from reader.read(size)))
            elif element == EBML:
                yield from reader.read(size)
                self._tick = 0.001
                self._cluster = self._cluster_ticks = self._last = None
            elif element == INFO:
                self._on_info((yield from reader.read(size)))
            elif element == TRACKS:
                self._next = replace(self._on_tracks((yield from reader.read(size))), header=reader.at)
            elif element in SKIPPED:
                yield from reader.skip(size)
            if self._track is None and reader.at > HEADER_MAX:
                raise Lost(f"expected a Cluster within {HEADER_MAX} bytes, got none")

    def _peek_flags(self, size: int) -> Read[int | None]:
        """Look at the head of a block before its bytes are here; None for one of another track."""
        number, _, flags = struct.unpack(">BhB", (yield from self._reader.peek(4)))
        if number & 0x7F in self._others:
            return None
        if size > (BLOCK_MAX if flags & LACED else self._packet_max):
            raise Lost(f"expected an audio block, got {size} bytes")
        return int(flags)

    def _block(self, element: int, size: int) -> Iterator[Packet | Damage]:
        """Consume a block, whose bytes are here."""
        reader = self._reader
        if self._cluster is None or self._cluster_ticks is None or size < 4:
            raise Lost("expected blocks after the Timestamp of a Cluster only")
        if reader.has(CLUSTER_ID, size) and RESTART.search(reader.ahead(size)):
            raise Lost("a Cluster begins inside a block, so bytes are missing")
        at = reader.at
        data = reader.take(size)
        number, ticks, flags = struct.unpack_from(">BhB", data)
        if number != 0x80 | self._number or flags & RESERVED[element]:
            raise Lost(f"expected a block of track {self._number}, got {data[:4].hex(' ')}")
        time = (self._cluster_ticks + ticks) * self._tick
        if not advances(self._last, time):
            raise Lost(f"expected a block after {self._last} s, got {time} s")
        if self._damaged is not None:
            yield Damage(self._damaged)
            self._damaged = None
        self._last = time
        if not flags & LACED:
            yield Packet(time, data[4:], self._cluster, at + 4)
            return
        opus = self._track is not None and self._track.codec == "opus"
        for start, end in _lace(data, flags & LACED):
            frame = data[start:end]
            yield Packet(time, frame, self._cluster, at + start)
            time += opus_samples(frame) / OPUS_RATE if opus else self._frame_s

    def _on_info(self, info: bytes) -> None:
        scale = int.from_bytes(dict(_children(info)).get(TIMESTAMP_SCALE, b"")) or 1_000_000
        self._tick = scale * 1e-9

    def _on_tracks(self, tracks: bytes) -> Track:
        """The first audio track; the others are remembered to be skipped."""
        entries = [dict(_children(entry)) for element, entry in _children(tracks) if element == TRACK_ENTRY]
        numbers = [int.from_bytes(entry.get(TRACK_NUMBER, b"")) for entry in entries]
        for number, entry in zip(numbers, entries, strict=True):
            if int.from_bytes(entry.get(TRACK_TYPE, b"")) == TRACK_TYPE_AUDIO and 0 < number <= TRACK_NUMBER_MAX:
                track = _track(entry)
                self._number = number
                self._others = set(numbers) - {number}
                self._frame_s = int.from_bytes(entry.get(DEFAULT_DURATION, b"")) * 1e-9
                return track
        raise UnsupportedFormat("expected an audio track in WebM, got none", param="file")


SIZE_MAX = SKIPPED | {
    EBML: 4096,
    SEGMENT: UNKNOWN,
    CLUSTER: UNKNOWN,
    INFO: ELEMENT_MAX,
    TRACKS: ELEMENT_MAX,
    TIMESTAMP: 8,
    BLOCK_GROUP: OTHER_BLOCK_MAX,
    BLOCK: OTHER_BLOCK_MAX,
    SIMPLE_BLOCK: OTHER_BLOCK_MAX,
}


def _head(data: bytes) -> tuple[int, int, int] | None:
    """An element's id and size, and how long these are; None where more bytes are needed; Lost if it makes no sense."""
    if not data:
        return None
    width = 9 - data[0].bit_length()
    if width > 4:
        raise Lost(f"expected an element id, got {data[0]:02x}")
    if len(data) <= width:
        return None
    end = width + 9 - data[width].bit_length()
    if end > width + 8:
        raise Lost("expected an element size, got 00")
    if len(data) < end:
        return None
    element = int.from_bytes(data[:width])
    ones = (1 << 7 * (end - width)) - 1
    size = int.from_bytes(data[width:end]) & ones
    if size == ones:
        size = UNKNOWN
    if size > SIZE_MAX.get(element, -1):
        raise Lost(f"expected a WebM element, got id {element:x} of {size} bytes")
    return element, size, end


def _track(entry: dict[int, bytes]) -> Track:
    codec = entry.get(CODEC_ID, b"").rstrip(b"\0").decode("ascii", "replace")
    private = entry.get(CODEC_PRIVATE, b"")
    audio = dict(_children(entry.get(AUDIO, b"")))
    channels = int.from_bytes(audio.get(CHANNELS, b"\1"))
    rate = _float(audio.get(SAMPLING_FREQUENCY, b""))
    if CONTENT_ENCODINGS in entry:
        raise UnsupportedFormat("expected plain blocks in WebM, got compressed or encrypted ones", param="file")
    if codec == "A_OPUS":
        return opus_head(private)
    if not 1 <= channels <= 8 or not 8000 <= rate <= 192_000:
        raise Lost(f"expected an audio track, got {channels} channels at {rate} Hz")
    if codec == "A_AAC":
        return Track("aac", int(rate), channels, private)
    pcm = PCM.get((codec, int.from_bytes(audio.get(BIT_DEPTH, b""))))
    if pcm is None:
        raise UnsupportedFormat(f"expected Opus, AAC or PCM in WebM, got {codec}", param="file")
    return Track(pcm, int(rate), channels)


def _float(value: bytes) -> float:
    formats = {4: ">f", 8: ">d"}
    number: float = struct.unpack(formats[len(value)], value)[0] if len(value) in formats else 8000.0
    return number


def _children(master: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements inside one that was read whole."""
    at = 0
    while at < len(master):
        start, element = _vint(master, at, keep_marker=True)
        start, size = _vint(master, start)
        at = start + size
        if at > len(master):
            raise Lost(f"expected an element of at most {len(master) - start} bytes, got {size}")
        yield element, master[start:at]


def _vint(data: bytes, at: int, keep_marker: bool = False) -> tuple[int, int]:
    """An EBML number (RFC 8794, section 4): where it ends, and its value."""
    width = 9 - data[at].bit_length() if at < len(data) else 9
    end = at + width
    if width > 8 or end > len(data):
        raise Lost("expected an EBML number, got none")
    value = int.from_bytes(data[at:end])
    return end, value if keep_marker else value & ((1 << 7 * width) - 1)


def _lace(block: bytes, lacing: int) -> list[tuple[int, int]]:
    """Where the packets of a laced block begin and end (RFC 9559, section 10.3)."""
    if len(block) < 5:
        raise Lost("expected a laced block, got its head only")
    count, at = block[4] + 1, 5
    if lacing == LACE_FIXED:
        sizes = [(len(block) - at) // count] * count
    else:
        sizes = []
        while len(sizes) < count - 1:
            if lacing == LACE_XIPH:
                size = 0
                while block[at : at + 1] == b"\xff":
                    size, at = size + 255, at + 1
                size += int.from_bytes(block[at : at + 1])
                at += 1
            else:
                end, size = _vint(block, at)
                if sizes:  # from the second on it is the difference to the one before, centred on 0
                    size += sizes[-1] - ((1 << 7 * (end - at) - 1) - 1)
                at = end
            sizes.append(size)
        sizes.append(len(block) - at - sum(sizes))
    if min(sizes) <= 0:
        raise Lost("expected packets in a laced block, got an empty one")
    starts = [at]
    for size in sizes:
        starts.append(starts[-1] + size)
    return list(zip(starts, starts[1:], strict=False))

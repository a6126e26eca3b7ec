"""Fragmented MP4 demuxer (ISO/IEC 14496-12): what Safari, WebKitGTK and Chromium record as audio/mp4.

A moof tells where the samples of its mdat lie, so each sample comes out as it arrives, not with its whole fragment.
Each moof carries its absolute time, so it is where reading can begin again.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..errors import AudioCorrupt, UnsupportedFormat
from .ogg import opus_head
from .packet import Damage, Packet, Track
from .reader import ELEMENT_MAX, HEADER_MAX, ByteReader, Lost, Parser, Read, advances, corrupt

ENDLESS = 1 << 62
# Boxes at the top of a file and the most bytes they may claim: what claims more, or is not here, is damage.
BOXES = {b"moov": ELEMENT_MAX, b"moof": ELEMENT_MAX, b"mdat": ENDLESS} | dict.fromkeys(
    [b"ftyp", b"styp", b"sidx", b"ssix", b"free", b"skip", b"wide", b"pdin", b"mfra", b"uuid", b"emsg", b"prft"]
    + [b"meta", b"udta"],
    ELEMENT_MAX,
)
MFHD = b"moof\0\0\0\x10mfhd"  # a moof begins with its mfhd, which is always 16 bytes
RESTART = re.compile(rb"\0...moof\0\0\0\x10mfhd|\0\0\0.ftyp", re.S)
RESTART_LENGTH = 16
PIECE = 4096  # bytes looked through at a time where nothing is read
SAMPLE_MAX = 1 << 16  # bytes

AAC_TYPES = {2: "LC", 5: "SBR", 29: "PS"}  # audio object types the decoder copes with; 42 would be xHE-AAC
MPEG4_AUDIO = 0x40  # objectTypeIndication in esds
INPUT_RATE_MAX = 192_000  # Hz; the rate before encoding, which dOps tells
ES, DECODER_CONFIG, DECODER_INFO = 3, 4, 5  # esds descriptor tags (ISO/IEC 14496-1)


def parse(reader: ByteReader) -> Parser:
    """Yield the audio track of a fragmented MP4 and its packets; raises AudioCorrupt and UnsupportedFormat."""
    return _Mp4(reader).parse()


@dataclass(frozen=True, slots=True)
class _Header:
    """What a moov says about its audio track."""

    track: Track
    number: int
    ticks_per_s: int
    shift: int  # ticks by which an edit list moves the beginning
    defaults: tuple[int, int]  # ticks and bytes of a sample


class _Sample(NamedTuple):  # one per packet, and a third of a frozen dataclass's time
    at: int
    size: int
    time: float


class _Mp4:
    def __init__(self, reader: ByteReader) -> None:
        self._reader = reader
        self._header: _Header | None = None
        self._again: _Header | None = None  # the same header once more: a new recorder, if its time begins anew
        self._moof = 0  # where the newest moof begins
        self._samples: Iterator[_Sample] = iter(())  # of the newest moof
        self._next = 0  # ticks where the samples so far end, for fragments that tell no time
        self._last: float | None = None  # time of the last packet
        self._damaged: int | None = None  # where sense began again, until a packet proves it

    def parse(self) -> Parser:
        restart = -1
        while True:
            try:
                yield from self._walk()
            except (Lost, struct.error, IndexError) as error:
                if self._header is None:
                    lost = error if isinstance(error, Lost) else Lost("expected a whole box, got one cut short")
                    raise corrupt("MP4", lost) from None
                if self._reader.at == restart:
                    yield from self._reader.skip(1)
                yield from self._reader.seek(RESTART, RESTART_LENGTH)
                self._damaged = restart = self._reader.at
                self._samples, self._last = iter(()), None

    def _walk(self) -> Parser:
        reader = self._reader
        while True:
            start = reader.at
            box, size = yield from self._head()
            if box == b"moov":
                yield from self._on_moov(_ending_at(_header((yield from reader.read(size))), reader.at))
            elif box == b"moof":
                body = yield from reader.read(size)
                yield from self._on_moof(start, body)
            elif box == b"mdat":
                if self._header is None:
                    raise UnsupportedFormat("expected fragmented MP4, got one with its moov at the end", param="file")
                yield from self._on_mdat(size)
            else:
                yield from reader.skip(size)
            if self._header is None and reader.at > HEADER_MAX:
                raise Lost(f"expected a moov within {HEADER_MAX} bytes, got none")

    def _head(self) -> Read[tuple[bytes, int]]:
        """Consume a box's head, if it makes sense; the size is that of what follows."""
        reader = self._reader
        head = yield from reader.peek(8)
        size, box = struct.unpack(">I4s", head)
        length = 8
        if size == 1:
            size = int.from_bytes((yield from reader.peek(16))[8:])
            length = 16
        elif size == 0 and box == b"mdat":
            size = ENDLESS
        if not length <= size <= BOXES.get(box, -1):
            raise Lost(f"expected an MP4 box, got {head.hex(' ')}")
        reader.take(length)
        return box, size - length

    def _on_moov(self, header: _Header) -> Parser:
        old = self._header
        if old is not None and _ending_at(header, old.track.header) == old:
            self._again = header
        else:
            yield from self._begin(header)

    def _begin(self, header: _Header) -> Parser:
        self._header, self._again = header, None
        self._samples, self._next, self._last = iter(()), 0, None
        yield header.track

    def _on_moof(self, start: int, body: bytes) -> Parser:
        header = self._header
        if header is None:
            raise AudioCorrupt("MP4: expected a moov, got a moof", param="file")
        runs = _runs(body, header)
        if runs is None:
            self._samples = iter(())
            return
        ticks = self._next if runs.ticks is None else runs.ticks
        time = (ticks - header.shift) / header.ticks_per_s
        if not advances(self._last, time):
            if self._again is None:
                raise Lost(f"expected a fragment after {self._last} s, got {time} s")
            yield from self._begin(self._again)
        self._moof = start
        self._samples = self._walk_runs(runs, ticks, start)

    def _walk_runs(self, runs: "_Runs", ticks: int, start: int) -> Iterator[_Sample]:
        """The samples one by one, so that a count from the peer costs nothing before its bytes are here."""
        assert self._header is not None
        shift, ticks_per_s = self._header.shift, self._header.ticks_per_s
        base = at = start
        # An absolute base goes wrong once bytes were lost or left out. Nearly always it is the moof, so where the
        # samples would then begin with the mdat (we are at its first byte now), that is what is meant.
        if runs.base is not None and start + runs.offset != self._reader.at:
            base = at = runs.base
        default_ticks, default_size = runs.defaults
        for run in runs.runs:
            flags, count = struct.unpack_from(">II", run)
            entry = 8
            if flags & 0x1:
                at = base + int.from_bytes(run[entry : entry + 4], signed=True)
                entry += 4
            if flags & 0x4:
                entry += 4
            width = 4 * ((flags >> 8) & 0xF).bit_count()
            for _ in range(count):
                duration, size = default_ticks, default_size
                if flags & 0x100:
                    (duration,) = struct.unpack_from(">I", run, entry)
                if flags & 0x200:
                    (size,) = struct.unpack_from(">I", run, entry + (4 if flags & 0x100 else 0))
                yield _Sample(at, size, (ticks - shift) / ticks_per_s)
                entry += width
                at += size
                ticks += duration
                self._next = ticks

    def _on_mdat(self, size: int) -> Parser:
        reader = self._reader
        end = reader.at + size
        for sample in self._samples:
            size = sample.size
            if not 0 < size <= SAMPLE_MAX or sample.at < reader.at or sample.at + size > end:
                raise Lost("expected a sample inside of its mdat, got one elsewhere")
            if reader.at < sample.at:
                yield from self._pass(sample.at)
            if reader.ready < size:
                yield from reader.need(size)
            if reader.has(MFHD, size):
                raise Lost("a moof begins inside a sample, so bytes are missing")
            if not advances(self._last, sample.time):
                raise Lost(f"expected a sample after {self._last} s, got {sample.time} s")
            if self._damaged is not None:
                yield Damage(self._damaged)
                self._damaged = None
            self._last = sample.time
            yield Packet(sample.time, reader.take(size), self._moof, sample.at)
        yield from self._pass(end)

    def _pass(self, end: int) -> Read[None]:
        """Skip to `end`; a moof on the way means that bytes are missing."""
        reader = self._reader
        while reader.at < end:
            size = min(PIECE, end - reader.at)
            yield from reader.need(size)
            if reader.has(MFHD, size):
                raise Lost("a moof begins inside an mdat, so bytes are missing")
            reader.drop(size)


def _ending_at(header: _Header, end: int) -> _Header:
    return replace(header, track=replace(header.track, header=end))


@dataclass(frozen=True, slots=True)
class _Runs:
    """What a moof says about our samples."""

    base: int | None  # byte of the stream from which offsets count; None is the moof itself
    ticks: int | None  # where it begins
    defaults: tuple[int, int]  # ticks and bytes of a sample
    runs: list[bytes]  # bodies of its truns

    @property
    def offset(self) -> int:
        """Where the first run begins, from the base."""
        flagged = self.runs and self.runs[0][3] & 0x1
        return int.from_bytes(self.runs[0][8:12], signed=True) if flagged else 0


def _runs(moof: bytes, header: _Header) -> _Runs | None:
    for box, traf in _boxes(moof):
        if box != b"traf":
            continue
        base, ticks, runs, ours = None, None, [], False
        duration, size = header.defaults
        for kind, body in _boxes(traf):
            if kind == b"tfhd":
                flags, number = struct.unpack_from(">II", body)
                ours = number == header.number
                at = 8
                if flags & 0x1:
                    (base,) = struct.unpack_from(">Q", body, at)
                    at += 8
                at += 4 if flags & 0x2 else 0
                if flags & 0x8:
                    (duration,) = struct.unpack_from(">I", body, at)
                    at += 4
                if flags & 0x10:
                    (size,) = struct.unpack_from(">I", body, at)
            elif kind == b"tfdt":
                (ticks,) = struct.unpack_from(">Q" if body[0] else ">I", body, 4)
            elif kind == b"trun":
                runs.append(body)
        if ours:
            return _Runs(base, ticks, (duration, size), runs)
    return None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes inside one that was read whole."""
    at = 0
    while at + 8 <= len(data):
        size, box = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        if size < head or at + size > len(data):
            raise Lost(f"expected a box of at most {len(data) - at} bytes, got {size}")
        yield box, data[at + head : at + size]
        at += size


def _child(data: bytes, path: str) -> bytes | None:
    """The first box at a path such as "mdia/minf"."""
    for name in path.encode().split(b"/"):
        for box, body in _boxes(data):
            if box == name:
                data = body
                break
        else:
            return None
    return data


def _header(moov: bytes) -> _Header:
    """The first audio track of a moov."""
    mvex = _child(moov, "mvex")
    if mvex is None:
        raise UnsupportedFormat("expected fragmented MP4, got a plain one (no mvex)", param="file")
    for box, trak in _boxes(moov):
        if box != b"trak" or (_child(trak, "mdia/hdlr") or b"")[8:12] != b"soun":
            continue
        tkhd, mdhd, stsd = (_child(trak, path) for path in ("tkhd", "mdia/mdhd", "mdia/minf/stbl/stsd"))
        if tkhd is None or mdhd is None or stsd is None:
            raise Lost("expected tkhd, mdhd and stsd in a trak")
        (number,) = struct.unpack_from(">I", tkhd, 20 if tkhd[0] else 12)
        (ticks_per_s,) = struct.unpack_from(">I", mdhd, 20 if mdhd[0] else 12)
        if not ticks_per_s:
            raise Lost("expected a time scale, got 0")
        track = _track(stsd, ticks_per_s)
        return _Header(track, number, ticks_per_s, _shift(trak), _defaults(mvex, number))
    raise UnsupportedFormat("expected an audio track in MP4, got none", param="file")


def _defaults(mvex: bytes, number: int) -> tuple[int, int]:
    for box, trex in _boxes(mvex):
        if box == b"trex":
            track, _, duration, size = struct.unpack_from(">IIII", trex, 4)
            if track == number:
                return duration, size
    return 0, 0


def _shift(trak: bytes) -> int:
    """Where the edit list says that the presentation begins, in ticks: encoder delay lies before it."""
    elst = _child(trak, "edts/elst")
    if elst is None:
        return 0
    wide = elst[0] == 1
    (count,) = struct.unpack_from(">I", elst, 4)
    for index in range(min(count, 8)):
        start: int
        _, start, _ = struct.unpack_from(">QqI" if wide else ">IiI", elst, 8 + index * (20 if wide else 12))
        if start >= 0:  # -1 is an empty edit
            return start
    return 0


def _track(stsd: bytes, ticks_per_s: int) -> Track:
    """The track a sample description tells (ISO/IEC 14496-12, section 12.2.3)."""
    _, codec = struct.unpack_from(">I4s", stsd, 8)
    entry = stsd[16:]
    version, channels, rate = struct.unpack_from(">H6xH6xH", entry, 8)
    children = entry[28 + (16 if version == 1 and not stsd[0] else 0) :]  # 16 more are QuickTime's
    if codec == b"Opus":
        return opus_head(_opus_head(_child(children, "dOps") or b""))
    if codec == b"mp4a":
        return Track("aac", rate or ticks_per_s, channels, _audio_specific_config(_child(children, "esds") or b""))
    raise UnsupportedFormat(f"expected AAC or Opus in MP4, got {codec.decode('ascii', 'replace')}", param="file")


def _opus_head(dops: bytes) -> bytes:
    """The same facts as in dOps, but little-endian and with a magic."""
    version, channels, pre_skip, rate, gain, family = struct.unpack_from(">BBHIhB", dops)
    if rate > INPUT_RATE_MAX:
        # GStreamer, and so WebKitGTK, writes dOps little-endian: 312 samples of pre-skip would become 300 ms.
        version, channels, pre_skip, rate, gain, family = struct.unpack_from("<BBHIhB", dops)
    if version:
        raise UnsupportedFormat(f"expected dOps version 0, got {version}", param="file")
    return struct.pack("<8sBBHIhB", b"OpusHead", 1, channels, pre_skip, rate, gain, family) + dops[11:]


def _audio_specific_config(esds: bytes) -> bytes:
    """The decoder's private data in an esds box; raises UnsupportedFormat where it is not AAC."""
    body = _descriptor(esds[4:], ES)
    flags = body[2]
    at = 3 + (2 if flags & 0x80 else 0)
    at += 1 + body[at] if flags & 0x40 else 0
    at += 2 if flags & 0x20 else 0
    body = _descriptor(body[at:], DECODER_CONFIG)
    if body[0] != MPEG4_AUDIO:
        raise UnsupportedFormat(f"expected MPEG-4 AAC, got object type indication {body[0]:02x}", param="file")
    config = _descriptor(body[13:], DECODER_INFO)
    bits = int.from_bytes(config[:2].ljust(2, b"\0"))
    kind = bits >> 11 if bits >> 11 < 31 else 32 + (bits >> 5 & 0x3F)
    if kind not in AAC_TYPES:
        raise UnsupportedFormat(f"expected AAC-LC, got audio object type {kind}", param="file")
    return config


def _descriptor(data: bytes, tag: int) -> bytes:
    """The body of a descriptor; its length is given in groups of seven bits."""
    if data[0] != tag:
        raise Lost(f"expected descriptor {tag} in esds, got {data[0]}")
    at, size = 1, 0
    while True:
        size = size << 7 | data[at] & 0x7F
        at += 1
        if not data[at - 1] & 0x80 or at > 4:
            return data[at : at + size]

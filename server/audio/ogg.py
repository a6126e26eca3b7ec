"""Ogg Opus demuxer (RFC 3533, RFC 7845): what Firefox records as audio/ogg.

Every page has a checksum, so a page is either whole or skipped, and a sequence number, so a lost one is known.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..errors import AudioCorrupt, UnsupportedFormat
from .packet import Damage, Item, Packet, Track
from .reader import HEADER_MAX, ByteReader, Lost, Parser, Read, corrupt

OPUS_RATE = 48_000  # Opus always counts in these, whatever was recorded
CONTINUED, FIRST, LAST = 1, 2, 4  # page flags
HEAD = 27  # bytes of a page before its segment table
RESTART = re.compile(rb"OggS\0[\0-\x07]", re.S)
RESTART_LENGTH = 6
PACKET_MAX = 1 << 16  # bytes; the largest Opus packet is 61,298
STREAMS_MAX = 16  # that may be multiplexed
PATIENCE = 1 << 20  # bytes that may be checked in vain: false page heads must not cost more than true ones
MIRROR = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
NAMES = {
    b"\x01vorbis": "Vorbis",
    b"\x7fFLAC": "FLAC",
    b"Speex": "Speex",
    b"\x80theora": "Theora",
    b"fishead": "Skeleton",
}


def parse(reader: ByteReader) -> Parser:
    """Yield the first Opus stream of each chain link and its packets; raises AudioCorrupt and UnsupportedFormat."""
    pages = _Pages(reader)
    opus: _Opus | None = None
    heads: list[_Page] = []  # the first pages of all streams come before any other page
    damaged: int | None = None
    while True:
        page = yield from pages.next()
        if page.damaged:
            damaged = page.at
        if page.flags & FIRST:
            heads.append(page)
            if len(heads) > STREAMS_MAX:
                raise AudioCorrupt(f"Ogg: expected at most {STREAMS_MAX} streams together, got more", param="file")
            continue
        if heads:
            try:
                opus, heads = _choose(heads), []
            except Lost as lost:
                raise corrupt("Ogg", lost) from None
        if opus is None:
            raise AudioCorrupt("Ogg: expected a stream's first page, got another", param="file")
        for item in opus.read(page):
            if damaged is not None and isinstance(item, Packet):
                yield Damage(damaged)
                damaged = None
            yield item
        if opus.track is None and reader.at - opus.start > HEADER_MAX:
            raise AudioCorrupt(f"Ogg: expected audio within {HEADER_MAX} bytes, got none", param="file")


def opus_head(head: bytes) -> Track:
    """The track an OpusHead (RFC 7845, section 5.1) describes, which is also its private data; or Lost."""
    if len(head) < 19 or not head.startswith(b"OpusHead") or head[8] > 15 or not head[9]:
        raise Lost(f"expected an OpusHead, got {head[:9].hex(' ') or 'nothing'}")
    return Track("opus", OPUS_RATE, head[9], head)


def opus_samples(packet: bytes) -> int:
    """How long an Opus packet is, in samples of 48 kHz (RFC 6716, section 3.1)."""
    if not packet:
        return 0
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        frame = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:
        frame = (480, 960)[config & 1]
    else:
        frame = (120, 240, 480, 960)[config & 3]
    if code < 3:
        return frame * (1, 2, 2)[code]
    return frame * (packet[1] & 63) if len(packet) > 1 else 0


@dataclass(frozen=True, slots=True)
class _Page:
    at: int
    flags: int
    granule: int
    serial: int
    sequence: int
    segments: bytes
    body: bytes
    damaged: bool  # bytes before it were skipped

    @property
    def end(self) -> int:
        return self.at + HEAD + len(self.segments) + len(self.body)


class _Pages:
    def __init__(self, reader: ByteReader) -> None:
        self._reader = reader
        self._patience = PATIENCE
        self._seen = False

    def next(self) -> Read[_Page]:
        """The next page with the right checksum."""
        reader = self._reader
        damaged, restart = False, -1
        while True:
            try:
                page = yield from self._page(damaged)
            except Lost as lost:
                if not self._seen:
                    raise corrupt("Ogg", lost) from None
                damaged = True
                if reader.at == restart:
                    yield from reader.skip(1)
                yield from reader.seek(RESTART, RESTART_LENGTH)
                restart = reader.at
            else:
                self._seen = True
                return page

    def _page(self, damaged: bool) -> Read[_Page]:
        reader = self._reader
        head = yield from reader.peek(RESTART_LENGTH)
        if not RESTART.match(head):
            raise Lost(f"expected a page, got bytes starting {head[:4].hex(' ')}")
        head = yield from reader.peek(HEAD)
        head = yield from reader.peek(HEAD + head[-1])
        segments = head[HEAD:]
        size = len(head) + sum(segments)
        page = yield from reader.peek(size)
        _, flags, granule, serial, sequence, checksum, _ = struct.unpack_from("<5sBqIIIB", page)
        if _checksum(page) != checksum:
            self._patience -= size
            if self._patience < 0:
                yield from reader.skip(size)
            raise Lost("expected a page, got one with a wrong checksum")
        self._patience = min(PATIENCE, self._patience + size)
        at = reader.at
        reader.take(size)
        return _Page(at, flags, granule, serial, sequence, segments, page[len(head) :], damaged)


def _checksum(page: bytes) -> int:
    """Ogg's CRC runs from the high bit down; zlib's is its mirror image."""
    blank = (page[:22] + bytes(4) + page[26:]).translate(MIRROR)
    crc = zlib.crc32(blank, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(MIRROR))


def _choose(heads: list[_Page]) -> "_Opus":
    for page in heads:
        if page.body.startswith(b"OpusHead"):
            return _Opus(page)
    name = next((name for head in heads for magic, name in NAMES.items() if head.body.startswith(magic)), None)
    raise UnsupportedFormat(f"expected Opus in Ogg, got {name or heads[0].body[:8].hex(' ')}", param="file")


class _Opus:
    """One logical stream: its pages in, its track and packets out."""

    def __init__(self, head: _Page) -> None:
        self.start = head.at
        self.track: Track | None = None
        self._serial = head.serial
        self._head = opus_head(head.body)
        self._pre_skip = int.from_bytes(head.body[10:12], "little")
        self._header = head.end
        self._in_tags = True  # the second packet is the OpusTags; it may be long, and nobody needs it
        self._sequence = head.sequence + 1
        self._part: bytes | None = None  # the beginning of a packet that goes on in the next page …
        self._part_at = 0  # … and where its page begins
        self._granule: int | None = None  # where the page before ended, unless one was lost …
        self._page_at = 0  # … and where that page begins

    def read(self, page: _Page) -> Iterator[Item]:
        if page.serial != self._serial:
            return
        if page.sequence != self._sequence:
            self._part = self._granule = None
            self._in_tags = False
        self._sequence = (page.sequence + 1) & 0xFFFFFFFF
        packets = self._tags(page) if self._in_tags else self._packets(page)
        if self.track is None and not self._in_tags:
            self.track = replace(self._head, header=self._header)
            yield self.track
        if not packets or (page.granule < 0 and self._granule is None):
            return  # nothing, or nobody knows when
        lengths = [opus_samples(data) for data, _, _ in packets]
        granule, first_boundary = page.granule - sum(lengths), page.at
        if (page.flags & LAST or page.granule < 0) and self._granule is not None:
            # The last page may end within a packet (RFC 7845, section 4.4), so it counts from the one before, and
            # who starts again must begin there.
            granule, first_boundary = self._granule, self._page_at
        for (data, boundary, at), length in zip(packets, lengths, strict=True):
            yield Packet((granule - self._pre_skip) / OPUS_RATE, data, min(boundary, first_boundary), at)
            granule += length
        self._granule, self._page_at = max(page.granule, granule), page.at

    def _tags(self, page: _Page) -> list["_Found"]:
        if not page.flags & CONTINUED and not page.body.startswith(b"OpusTags"):
            self._in_tags = False
            return self._packets(page)
        if any(lacing < 255 for lacing in page.segments):  # they end with their page
            self._in_tags = False
            self._header = self._page_at = page.end
            self._granule = 0
        return []

    def _packets(self, page: _Page) -> list["_Found"]:
        """The packets that end in this page; one whose beginning is lost is left out."""
        packets: list[_Found] = []
        begin = end = 0
        body_at = page.end - len(page.body)
        continued = page.flags & CONTINUED
        for lacing in page.segments:
            end += lacing
            if lacing == 255:
                continue
            if not continued:
                packets.append((page.body[begin:end], page.at, body_at + begin))
            elif self._part is not None:
                packets.append((self._part + page.body[begin:end], self._part_at, None))
            continued, begin = 0, end
        if page.segments[-1:] == b"\xff":
            if not continued:
                self._part, self._part_at = page.body[begin:], page.at
            elif self._part is not None:
                self._part += page.body[begin:]
                if len(self._part) > PACKET_MAX:
                    self._part = None
        else:
            self._part = None
        return [packet for packet in packets if packet[0]]


_Found = tuple[bytes, int, int | None]  # data, boundary, at

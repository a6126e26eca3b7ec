"""Read a byte stream that arrives in pieces, as if it were all there.

A parser is a generator: it yields what it found, and None while bytes are missing. So each container reads top-down,
like its specification, and `Demuxer` is the same for all of them.
"""

import re
from collections.abc import Callable, Generator
from typing import TypeVar

from ..errors import AudioCorrupt, SottoError
from .packet import Item

T = TypeVar("T")
Parser = Generator[Item | None, None, None]
Read = Generator[None, None, T]

ELEMENT_MAX = 1 << 20  # bytes; lengths come from the peer, and no header or audio block we know is larger
HEADER_MAX = 1 << 20  # bytes; where no track was found by then, none will come
JUMP_MAX_S = 600.0  # seconds; a longer step forward in a recording is a damaged timestamp rather than a pause


class Lost(Exception):
    """The bytes here make no sense; the parser must look for the next place where they do."""


class Demuxer:
    """Bytes in, items out: a Track, then its Packets; Damage where bytes were skipped.

    `parse` is a container's parser, for example `webm.parse`, or `probe.parse` to choose by the first bytes.
    """

    def __init__(self, parse: Callable[["ByteReader"], Parser]) -> None:
        self._reader = ByteReader()
        self._parser = parse(self._reader)
        self._error: SottoError | None = None

    def feed(self, data: bytes) -> list[Item]:
        """Take the next bytes, cut anywhere, and return what they complete.

        Raises UnsupportedFormat or AudioCorrupt, from then on at every call; what was found before
        the fault is returned first.
        """
        if self._error is not None:
            raise self._error
        self._reader.feed(data)
        items: list[Item] = []
        try:
            for item in self._parser:
                if item is None:
                    break
                items.append(item)
        except SottoError as error:
            self._error = error
            if not items:
                raise
        return items


class ByteReader:
    """A buffer whose reads are generators: they yield None while bytes are missing.

    `at` is the byte of the stream where the next read begins; `ready` the number of bytes already here.
    """

    def __init__(self) -> None:
        self.at = 0
        self._buffer = bytearray()
        self._offset = 0  # what lies before it is consumed, and dropped once per feed

    @property
    def ready(self) -> int:
        return len(self._buffer) - self._offset

    def feed(self, data: bytes) -> None:
        if self._offset:
            del self._buffer[: self._offset]
            self._offset = 0
        self._buffer += data

    def need(self, size: int) -> Read[None]:
        """Wait until `size` bytes are here; more than ELEMENT_MAX is Lost."""
        if size > ELEMENT_MAX:
            raise Lost(f"expected at most {ELEMENT_MAX} bytes together, got a length of {size}")
        while len(self._buffer) - self._offset < size:
            yield

    def read(self, size: int) -> Read[bytes]:
        yield from self.need(size)
        return self.take(size)

    def peek(self, size: int) -> Read[bytes]:
        yield from self.need(size)
        return self.ahead(size)

    def skip(self, size: int) -> Read[None]:
        # Drop what is here at once: a skipped element may be larger than memory.
        while size > self.ready:
            size -= self.ready
            self.drop(self.ready)
            yield
        self.drop(size)

    def seek(self, pattern: re.Pattern[bytes], length: int) -> Read[None]:
        """Skip to the next match of `pattern`, which needs `length` bytes at most.

        It waits for `length` bytes after the place found, so what is found does not depend on the cuts.
        """
        while True:
            last = len(self._buffer) - length
            found = pattern.search(self._buffer, self._offset)
            start = found.start() if found else last + 1
            self.drop(max(0, min(start, last + 1) - self._offset))
            if start <= last:
                return
            yield

    def ahead(self, size: int) -> bytes:
        """What is already here of the next `size` bytes, without consuming them."""
        return bytes(self._buffer[self._offset : self._offset + size])

    def take(self, size: int) -> bytes:
        """Consume bytes that are here (after `need`)."""
        offset = self._offset
        self._offset = offset + size
        self.at += size
        return bytes(self._buffer[offset : offset + size])

    def drop(self, size: int) -> None:
        """Consume bytes that are here without looking at them."""
        self._offset += size
        self.at += size

    def has(self, part: bytes, size: int) -> bool:
        """Whether `part` lies within the next `size` bytes that are here."""
        return self._buffer.find(part, self._offset, self._offset + size) >= 0


def corrupt(container: str, lost: Lost) -> AudioCorrupt:
    """The error for a stream that made no sense before its track was known."""
    return AudioCorrupt(f"{container}: {lost}", param="file")


def advances(last: float | None, time: float) -> bool:
    """Whether a packet may follow the last one: not before it, and not absurdly late."""
    return last is None or last <= time <= last + JUMP_MAX_S

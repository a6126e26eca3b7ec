"""The session's recording as it arrived, in a temporary file, and the index of the packets in it.

The file is always a recording that plays by itself: header, then everything from some boundary on. What is final
is cut off from time to time, so a session of hours keeps a file of seconds.
"""

import os
import tempfile
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import AudioTooLarge
from .packet import Packet, Place, Track

SLACK = 1 << 20  # bytes that may lie unused in the file before it is written anew
LARGEST = 256 << 20  # bytes; what is still needed is seconds, but a stream of junk has no packets to be cut off at


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a packet of the session's time line lies in the stream; `data` only where it does not lie together."""

    track: Track
    start: float
    boundary: int
    at: int
    size: int
    again: Place | None  # where to begin to read, to find it again; None: at the beginning
    data: bytes | None = None


class Spool:
    """One recording of one session. Feeding and cutting may happen in two threads."""

    def __init__(
        self, folder: Path, suffix: str, *, keep: Path | None = None, slack: int = SLACK, largest: int = LARGEST
    ) -> None:
        """`keep` is where the whole recording stays, without its suffix; else it is deleted at the end."""
        if keep:
            self.path = keep.with_name(f"{keep.name}{suffix}")
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        else:
            handle, name = tempfile.mkstemp(suffix, "sotto-", folder)
            self.path = Path(name)
        self._file = os.fdopen(handle, "w+b")
        self._entries: deque[Entry] = deque()
        self._header = 0  # bytes at the start that every later reader needs
        self._dropped = 0  # bytes after the header that are no longer in the file
        self._end = 0  # bytes of the stream so far
        self._keep = keep is not None
        self._slack, self._largest = slack, largest
        self._lock = threading.Lock()
        self._first: tuple[Track, int] | None = None  # the track and the boundary of the first entry
        self._again: Place | None = None  # of the newest entry

    def write(self, data: bytes) -> None:
        """The next bytes of the recording. Raises AudioTooLarge."""
        with self._lock:
            if self._end + len(data) - self._dropped > self._largest and not self._keep:
                raise AudioTooLarge(f"expected audio, got {self._largest} bytes that no packet allows to forget")
            self._file.seek(0, os.SEEK_END)
            self._file.write(data)
            self._end += len(data)

    def keep_header(self, size: int) -> None:
        """The first `size` bytes stay in the file: nothing plays without them."""
        self._header = size

    def note(self, track: Track, packet: Packet, start: float) -> None:
        """Remember where the packet that begins at `start` (session seconds) lies."""
        data = packet.data if packet.at is None else None
        self._again = self._place(track, packet, start)
        entry = Entry(track, start, packet.boundary, packet.at or 0, len(packet.data), self._again, data)
        with self._lock:
            self._entries.append(entry)

    def cut(self, start: float, end: float) -> tuple[Track | None, list[tuple[float, bytes]]]:
        """The packets that sound between two times, (session seconds, data) each, and their track.

        Where a second header lies between the times, only what came after it: one file has one track.
        """
        with self._lock:
            wanted: list[Entry] = []
            for entry in reversed(self._entries):
                if wanted and entry.track is not wanted[0].track:
                    break
                if entry.start < end:
                    wanted.append(entry)
                if entry.start <= start:
                    break
            packets = [(entry.start, entry.data or self._read(entry)) for entry in reversed(wanted)]
            return (wanted[0].track if wanted else None), packets

    def place(self, time: float) -> Place | None:
        """Where one must begin to read to hear everything from `time` (session seconds) on; None: at the beginning."""
        with self._lock:
            for entry in reversed(self._entries):
                if entry.start <= time:
                    return entry.again
            return self._entries[0].again if self._entries else None

    def forget(self, before: float) -> None:
        """Nothing before this time (session seconds) will be asked for again."""
        with self._lock:
            while len(self._entries) > 1 and self._entries[1].start <= before:
                self._entries.popleft()
            if self._entries and not self._keep:
                self._drop(self._entries[0].boundary)

    def close(self) -> None:
        """Delete the file unless it is to be kept, also when the disk is too full to close it."""
        with self._lock:
            with suppress(OSError):
                self._file.close()
            if not self._keep:
                self.path.unlink(missing_ok=True)

    def _place(self, track: Track, packet: Packet, start: float) -> Place | None:
        self._first = self._first or (track, packet.boundary)
        if track is not self._first[0]:
            return self._again  # a second header in mid-stream: whoever begins after it has only the first one
        if packet.boundary == self._first[1]:
            return None
        if self._again and packet.boundary == self._again.bytes:
            return self._again
        return Place(0, packet.boundary, track.header, start)

    def _read(self, entry: Entry) -> bytes:
        self._file.seek(entry.at - self._dropped)
        return self._file.read(entry.size)

    def _drop(self, boundary: int) -> None:
        unused = boundary - self._dropped - self._header
        if unused < self._slack:
            return
        self._file.seek(boundary - self._dropped)
        rest = self._file.read()
        self._file.seek(self._header)
        self._file.write(rest)
        self._file.truncate()
        self._dropped += unused

"""What was sent and is not acknowledged yet, by byte position: what a session that comes back needs again.

The twin of static/captions/ring.js, for one recording.
"""

HEAD = 16_384  # bytes; holds every recorder's header (0.2 to 2 kB), whose length the first ack tells
MOST = 64 * 2**20  # bytes; half an hour of 16-bit samples at 16 kHz


class Ring:
    def __init__(self) -> None:
        self._head = b""
        self._data = bytearray()
        self._start = 0  # the position of the first byte that is held
        self._place = (0, 0)  # the newest acknowledged

    @property
    def full(self) -> bool:
        return len(self._data) >= MOST

    def add(self, data: bytes) -> None:
        self._head += data[: HEAD - len(self._head)]
        self._data += data

    def trim(self, position: int, header: int) -> None:
        """Nothing before `position` is needed any more, except the first `header` bytes."""
        self._place = (position, header)
        del self._data[: max(0, position - self._start)]
        self._start = max(self._start, position)

    def header(self, size: int) -> bytes:
        return self._head[:size]

    def read(self, position: int, most: int) -> bytes:
        """The next bytes from there on, if some are there already."""
        at = position - self._start
        assert at >= 0, "the server asks for no sound that it has acknowledged"
        return bytes(self._data[at : at + most])

    def anew(self) -> "Ring":
        """The same sound for a session that knows nothing of the former one: counted from 0, header first."""
        position, header = self._place
        ring = Ring()
        ring.add(self.header(header))
        ring.add(bytes(self._data[position - self._start :]))
        return ring

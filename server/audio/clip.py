"""Cut a stretch of packets into a small standalone file, without re-encoding."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clip:
    """A standalone audio file: its bytes, the suffix that fits them (".webm", ".m4a", ".wav" …), and where it begins."""

    data: bytes
    suffix: str
    start: float

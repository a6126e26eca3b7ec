"""What every demuxer gives out."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Track:
    """A header was read: the audio track whose packets follow. A second one means a new recorder began.

    `codec` is FFmpeg's decoder name (opus, aac, pcm_s16le, pcm_f32le, pcm_mulaw, pcm_alaw …); `private` is its
    extradata (an OpusHead, an AudioSpecificConfig or nothing); `header` is the number of bytes from the start of
    the stream that a later reader needs before it can start at any packet's `boundary`.
    """

    codec: str
    rate: int
    channels: int
    private: bytes = b""
    header: int = 0


def layout(channels: int) -> str:
    """FFmpeg's name for so many channels."""
    return {1: "mono", 2: "stereo"}.get(channels, f"{channels}c")


@dataclass(frozen=True, slots=True)
class Packet:
    """One compressed audio packet.

    `time` is the container's, in seconds. `boundary` is the byte of the stream from which, after the header, a
    demuxer finds this packet again (its Cluster, moof or Ogg page). `at` is the byte where `data` itself
    begins, or None where it does not lie together (an Ogg packet over two pages).
    """

    time: float
    data: bytes
    boundary: int
    at: int | None


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that made no sense were skipped up to `at`; packets go on after it."""

    at: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where one can begin to read again: the first `header` bytes of a recording, then its bytes from `bytes` on.

    `time` is that of the first sound there, in session seconds.
    """

    recording: int = 0
    bytes: int = 0
    header: int = 0
    time: float = 0.0


Item = Track | Packet | Damage

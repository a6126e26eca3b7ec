"""Cut a stretch of packets into a small standalone file, without re-encoding."""

import io
from dataclasses import dataclass
from fractions import Fraction

import av

from .packet import Track, layout

# decoder's name → what the file is: format, suffix, and the name under which PyAV adds such a stream
CONTAINERS = {"opus": ("webm", ".webm", "libopus"), "aac": ("ipod", ".m4a", "aac")}
OPUS_RATE = 48_000  # Opus always counts in 48 kHz


@dataclass(frozen=True, slots=True)
class Clip:
    """A standalone audio file: its bytes, the suffix that fits them (".webm", ".m4a" …), and where it begins."""

    data: bytes
    suffix: str
    start: float


def mux(track: Track, packets: list[tuple[float, bytes]]) -> Clip:
    """Packets of one track, each with its session time, as a file that plays by itself. `packets` is not empty."""
    start = packets[0][0]
    format, suffix, stream_codec = CONTAINERS.get(track.codec, ("wav", ".wav", track.codec))
    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        rate = OPUS_RATE if track.codec == "opus" else track.rate
        stream = container.add_stream(stream_codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.codec_context.layout = layout(track.channels)
        if track.private:
            stream.codec_context.extradata = track.private
        base = Fraction(1, rate)
        stream.time_base = base
        for time, data in packets:
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, base
            packet.pts = packet.dts = round((time - start) * rate)
            container.mux(packet)
    return Clip(file.getvalue(), suffix, start)

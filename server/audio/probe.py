"""Tell a container by its first bytes."""

from ..errors import UnsupportedFormat
from . import mp4, ogg, wav, webm
from .reader import ByteReader, Parser

RIFF_HEAD, HEAD = 12, 8  # bytes; RIFF may hold other things than WAVE

PARSERS = {".webm": webm.parse, ".mp4": mp4.parse, ".ogg": ogg.parse, ".wav": wav.parse}


def parse(reader: ByteReader) -> Parser:
    """Choose the container by the first bytes and parse on; raises UnsupportedFormat when it is none of ours."""
    while (container := suffix(reader.ahead(RIFF_HEAD))) is None:
        yield None
    yield from PARSERS[container](reader)


def suffix(head: bytes) -> str | None:
    """The file suffix (".webm", ".mp4", ".ogg", ".wav") of a stream that begins so; None while there are too few.

    Raises UnsupportedFormat when it is no container of ours.
    """
    riff = head.startswith(wav.RIFFS)
    if len(head) < (RIFF_HEAD if riff else HEAD):
        return None
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return ".webm"
    if head[4:8] in (b"ftyp", b"styp"):
        return ".mp4"
    if head.startswith(b"OggS"):
        return ".ogg"
    if riff and head[8:12] == b"WAVE":
        return ".wav"
    raise UnsupportedFormat(f"expected WebM, MP4, Ogg or WAV, got bytes starting {head[:4].hex(' ')}", param="file")

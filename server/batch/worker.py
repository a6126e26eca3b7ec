"""The process in which a file is decoded: the file on stdin, its sound on stdout, and nothing else within reach.

What it writes is a row of messages: a letter, the length of what follows (uint32, little-endian), and that.
"""

import io
import json
import struct
import sys

from ..errors import AudioCorrupt, AudioTooLarge, SottoError, UnsupportedFormat
from . import sandbox
from .decode import decode

HEAD = struct.Struct("<cI")
READY = b"r"  # all is loaded, all else is locked away; nothing of the file has been read
LENGTH = b"l"  # JSON: seconds, or null
SOUND = b"s"  # float32, mono, 16 kHz; one at least
FAULT = b"f"  # JSON: code, message
END = b"e"
FAULTS = {kind.code: kind for kind in (AudioCorrupt, AudioTooLarge, UnsupportedFormat)}

WAV = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", 3236, b"WAVEfmt ", 16, 1, 1, 16_000, 32_000, 2, 16, b"data", 3200)


def main() -> None:
    """Decode stdin. Arguments: the longest sound in seconds, and seconds of CPU."""
    longest_s, cpu_s = map(float, sys.argv[-2:])
    list(decode(io.BytesIO(WAV + bytes(3200)), longest_s=1))  # PyAV loads some of itself only then
    file = open(0, "rb", buffering=0)
    sandbox.enter(cpu_s)
    tell(READY)
    try:
        for block in decode(file, longest_s=longest_s, length=lambda seconds: tell(LENGTH, as_json(seconds))):
            if len(block):
                tell(SOUND, block.tobytes())
        tell(END)
    except BrokenPipeError:
        pass  # nobody listens any more
    except SottoError as fault:
        tell(FAULT, as_json([fault.code, fault.message]))
    except Exception as error:
        tell(FAULT, as_json([SottoError.code, repr(error)[:500]]))


def tell(kind: bytes, payload: bytes = b"") -> None:
    sys.stdout.buffer.write(HEAD.pack(kind, len(payload)) + payload)
    sys.stdout.buffer.flush()


def as_json(told: object) -> bytes:
    return json.dumps(told).encode()

"""FLAC of silence (RFC 9639), written by hand: 14 bytes last as long as a frame may, 65535 samples."""

import struct

LONGEST = 65_535  # samples in a frame


def silent(seconds: float, rate: int, channels: int = 1, *, declared: bool = True) -> bytes:
    """A file of this length, which its header tells only if `declared`."""
    frames = int(seconds * rate / LONGEST) + 1
    about = rate << 44 | (channels - 1) << 41 | 15 << 36 | (frames * LONGEST if declared else 0)
    head = b"fLaC\x80\x00\x00\x22" + struct.pack(">HH6xQ16x", LONGEST, LONGEST, about)
    return head + b"".join(_frame(number, channels) for number in range(frames))


def _frame(number: int, channels: int) -> bytes:
    # fixed block size, told in 16 bits; rate as in the header; channels; 16 bits a sample
    head = b"\xff\xf8\x70" + bytes([(channels - 1) << 4 | 0x08]) + _coded(number) + struct.pack(">H", LONGEST - 1)
    head += bytes([_crc(head, 8, 0x07)])
    frame = head + bytes(3 * channels)  # each channel: a subframe of one constant value, 0
    return frame + struct.pack(">H", _crc(frame, 16, 0x8005))


def _coded(number: int) -> bytes:
    """As UTF-8 would."""
    return chr(number).encode("utf-8", "surrogatepass")


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << (bits - 8)
        for _ in range(8):
            crc = (crc << 1) ^ (polynomial if crc >> (bits - 1) else 0)
            crc &= (1 << bits) - 1
    return crc

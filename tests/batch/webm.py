"""WebM as a browser's recorder writes it: its own header, which tells no length, and silence for as long as wanted."""

from pathlib import Path

RECORDING = Path(__file__).parents[1] / "recordings" / "chromium-webm-opus.webm"
CLUSTER = b"\x1f\x43\xb6\x75"
CLUSTER_S, BLOCK_MS = 10, 20
SILENCE = b"\xf8\xff\xfe"  # a packet of Opus, 20 ms


def recorded(seconds: float) -> bytes:
    """13 bytes for every 20 ms."""
    header = RECORDING.read_bytes().partition(CLUSTER)[0]
    blocks = [b"\xa3\x87\x81" + ms.to_bytes(2) + b"\x80" + SILENCE for ms in range(0, CLUSTER_S * 1000, BLOCK_MS)]
    begin, blocks = CLUSTER + b"\x01" + b"\xff" * 7, b"".join(blocks)
    times = (CLUSTER_S * 1000 * number for number in range(round(seconds / CLUSTER_S)))
    return header + b"".join(begin + b"\xe7\x84" + ms.to_bytes(4) + blocks for ms in times)

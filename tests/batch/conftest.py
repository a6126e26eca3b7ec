"""What hostile files are to fall for."""

import socket
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def bait(tmp_path: Path) -> Iterator[tuple[Path, socket.socket]]:
    """A file that would be heard if it were opened, and a door on which a knock would be noticed."""
    secret = tmp_path / "secret.wav"
    with wave.open(str(secret), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.full(16_000, 16_384, "<i2").tobytes())
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.setblocking(False)
        yield secret, door

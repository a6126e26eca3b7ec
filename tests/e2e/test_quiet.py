"""What is no speech gives no captions: the whole way through, with the real detector and the embedded engine."""

import json

import numpy as np
import pytest
from process import running_server
from websockets.sync.client import connect

RATE = 16_000
SECONDS = 12
t = np.arange(SECONDS * RATE) / RATE
rng = np.random.default_rng(7)


def chords() -> np.ndarray:
    """Three chords on a struck string, with overtones: music, as far as a detector of speech is concerned."""
    notes = np.array([[220, 277, 330], [196, 247, 294], [175, 220, 262]])
    beat = (t * 2).astype(int)
    decay = np.exp(-3 * (t * 2 - beat))
    tones = sum(np.sin(2 * np.pi * k * notes[beat % 3, i] * t) / k for i in range(3) for k in (1, 2, 3, 4))
    return 0.1 * decay * tones


SOUNDS = {
    "silence": np.zeros_like(t),
    "hum": 0.1 * np.sin(2 * np.pi * 50 * t) + 0.05 * np.sin(2 * np.pi * 150 * t),
    "noise": 0.05 * rng.standard_normal(len(t)),
    "clicks": 0.8 * (rng.random(len(t)) < 4 / RATE),
    "music": chords(),
}


@pytest.fixture(scope="module")
def server():
    with running_server(SOTTO_ENGINE="moonshine") as url:
        yield url.replace("http", "ws") + "/api/captions"


@pytest.mark.parametrize("sound", SOUNDS)
def test_what_is_no_speech_gives_no_captions(server: str, sound: str) -> None:
    pcm = (SOUNDS[sound] * 32767).clip(-32768, 32767).astype("<i2").tobytes()
    with connect(server) as socket:
        audio = {"encoding": "pcm_s16le", "sample_rate": RATE}
        socket.send(json.dumps({"type": "start", "audio": audio}))
        for at in range(0, len(pcm), 8000):
            socket.send(pcm[at : at + 8000])
        socket.send('{"type":"stop"}')
        told = [json.loads(message) for message in socket]
    assert told[-1]["type"] == "done" and told[-1]["audio_s"] == pytest.approx(SECONDS, abs=0.1)
    assert [m["text"] for m in told if m["type"] in ("partial", "final")] == []

"""How probable it is that somebody speaks, for every 32 ms of one stream.

Silero VAD v6, the sequence model inside the faster-whisper wheel: it takes any number of windows of one stream at
once, which costs half of what one at a time does.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime as ort

from ..speech.types import FRAME, Samples

CONTEXT = 64  # samples of the former window that the model wants in front of each one: 4 ms


def load_model() -> ort.InferenceSession:
    """The weights, on one thread (two cost twice the CPU); one session serves all streams and threads."""
    wheel = find_spec("faster_whisper")  # finds the folder without importing the package
    if wheel is None or wheel.origin is None:
        raise FileNotFoundError(
            "the voice activity model is part of the package faster-whisper: pip install faster-whisper"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = Path(wheel.origin).parent / "assets" / "silero_vad_v6.onnx"
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Vad:
    """The detector's state for one stream: 1.5 kB."""

    def __init__(self, model: ort.InferenceSession) -> None:
        self._model = model
        self._h = np.zeros((1, 1, 128), np.float32)
        self._c = np.zeros((1, 1, 128), np.float32)
        self._context = np.zeros(CONTEXT, np.float32)

    def push(self, samples: Samples) -> Samples:
        """Whole windows, (k * 512,) samples in; (k,) probabilities out."""
        if not len(samples):
            return np.zeros(0, np.float32)
        windows = samples.reshape(-1, FRAME)
        contexts = np.vstack([self._context, windows[:-1, -CONTEXT:]])
        self._context = windows[-1, -CONTEXT:].copy()
        feed = {"input": np.hstack([contexts, windows]), "h": self._h, "c": self._c}
        speech, self._h, self._c = self._model.run(None, feed)
        probabilities: Samples = speech.reshape(-1)
        return probabilities

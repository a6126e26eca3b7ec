"""Speech is told from everything else, however the windows come in."""

from itertools import pairwise

import numpy as np
import onnxruntime
import pytest
from openai_server import two_cities
from sounds import noise, tone

from server.audio.vad import Vad, load_model
from server.speech.types import FRAME, RATE, Samples


@pytest.fixture(scope="module")
def model() -> onnxruntime.InferenceSession:
    return load_model()


def whole(samples: Samples) -> Samples:
    return samples[: len(samples) // FRAME * FRAME]


@pytest.mark.parametrize("windows", [1, 3, 8, 40])
def test_probabilities_do_not_depend_on_how_many_windows_come_at_once(
    model: onnxruntime.InferenceSession, windows: int
) -> None:
    samples = whole(two_cities()[: 8 * RATE])
    vad = Vad(model)
    cuts = [*range(0, len(samples), windows * FRAME), len(samples)]
    pieces = [vad.push(samples[start:end]) for start, end in pairwise(cuts)]
    np.testing.assert_allclose(np.concatenate(pieces), Vad(model).push(samples), atol=1e-4)


def test_a_reading_voice_is_mostly_speech(model: onnxruntime.InferenceSession) -> None:
    assert np.mean(Vad(model).push(whole(two_cities())) > 0.5) > 0.7


@pytest.mark.parametrize(
    "sound",
    [np.zeros(10 * RATE, np.float32), tone(10, hz=50, level=0.3), tone(10, hz=1000), noise(10, level=0.1)]
    + [noise(10, level=0.001), np.full(10 * RATE, 0.9, np.float32)],
    ids=["silence", "hum", "a beep", "white noise", "a quiet room", "a constant"],
)
def test_what_is_no_voice_is_no_speech(model: onnxruntime.InferenceSession, sound: Samples) -> None:
    assert Vad(model).push(whole(sound)).max() < 0.5


def test_streams_that_share_the_model_do_not_hear_each_other(model: onnxruntime.InferenceSession) -> None:
    samples = whole(two_cities()[: 4 * RATE])
    alone = Vad(model).push(samples)
    one, other = Vad(model), Vad(model)
    together = []
    for start in range(0, len(samples), 4 * FRAME):
        together.append(one.push(samples[start : start + 4 * FRAME]))
        assert other.push(np.zeros(4 * FRAME, np.float32)).max() < 0.5
    np.testing.assert_allclose(np.concatenate(together), alone, atol=1e-4)


def test_nothing_in_nothing_out(model: onnxruntime.InferenceSession) -> None:
    assert Vad(model).push(np.zeros(0, np.float32)).shape == (0,)


def test_half_a_window_is_a_mistake(model: onnxruntime.InferenceSession) -> None:
    with pytest.raises(ValueError, match="reshape"):
        Vad(model).push(np.zeros(FRAME // 2, np.float32))


def test_a_vad_keeps_the_former_windows_end_and_not_the_former_windows(model: onnxruntime.InferenceSession) -> None:
    vad = Vad(model)
    vad.push(noise(32))
    assert vad._context.base is None and vad._context.nbytes + vad._h.nbytes + vad._c.nbytes < 1500

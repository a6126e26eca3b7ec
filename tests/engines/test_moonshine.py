"""The embedded engine reads real speech; nothing here is scripted."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from openai_server import Recording, two_cities

from server.engines.base import EngineError
from server.engines.moonshine import SPACE, Moonshine, _pieces
from server.speech.types import RATE, Kind, Samples


@pytest.fixture(scope="module")
def moonshine() -> Moonshine:
    return Moonshine()


def said(start: float, end: float) -> Samples:
    return two_cities()[int(start * RATE) : int(end * RATE)]


def test_it_reads_the_best_of_times(moonshine: Moonshine) -> None:
    heard = moonshine.transcribe(Recording(said(0, 4.5)).speech())
    assert heard.text.lower().replace(",", ".").startswith("it was the best of times. it was the worst of times")
    assert heard.language == "en" and heard.words == ()
    assert heard.logprob is not None and -0.5 < heard.logprob < 0


def test_noise_gets_a_worse_score_than_speech(moonshine: Moonshine) -> None:
    noise = (np.random.default_rng(1).standard_normal(2 * RATE) * 0.01).astype(np.float32)
    babble = moonshine.transcribe(Recording(noise).speech()).logprob
    speech = moonshine.transcribe(Recording(said(0, 2.5)).speech()).logprob
    assert babble is not None and speech is not None and babble < speech - 0.5


def test_a_partial_goes_on_from_the_agreed_words(moonshine: Moonshine) -> None:
    before = moonshine.transcribe(Recording(said(0, 4.0)).speech(kind=Kind.PARTIAL))
    agreed = before.text[: before.text.index(" worst")]
    prefix = moonshine._agreed_tokens(before.tokens, agreed)
    longer = Recording(said(0, 4.5))
    after = moonshine.transcribe(longer.speech(kind=Kind.PARTIAL, previous=before, agreed=agreed))
    assert moonshine._text(prefix) == agreed
    assert after.tokens[: len(prefix)] == prefix and after.text == moonshine.transcribe(longer.speech()).text


def test_a_final_is_read_afresh_whatever_was_agreed(moonshine: Moonshine) -> None:
    wrong = moonshine.transcribe(Recording(said(8, 12)).speech())
    audio = Recording(said(0, 3))
    free = moonshine.transcribe(audio.speech())
    assert moonshine.transcribe(audio.speech(previous=wrong, agreed=wrong.text)) == free
    assert moonshine.transcribe(audio.speech(kind=Kind.PARTIAL, previous=wrong, agreed=wrong.text)) != free


def test_the_prefix_ends_at_a_word_and_never_holds_the_last_one(moonshine: Moonshine) -> None:
    before = moonshine.transcribe(Recording(said(0, 4.5)).speech())
    for length in range(len(before.text) + 1):
        forced = moonshine._text(moonshine._agreed_tokens(before.tokens, before.text[:length]))
        assert before.text[:length].startswith(forced)
        assert before.text[len(forced) :][:1] == " " or not forced
    assert moonshine._agreed_tokens(before.tokens, "something else was agreed") == ()
    assert moonshine._agreed_tokens((), "it was") == ()


@pytest.mark.parametrize("samples", [0, 1, 400, 894, 895, 3200])
def test_a_window_may_be_as_short_as_it_likes(moonshine: Moonshine, samples: int) -> None:
    heard = moonshine.transcribe(Recording(said(1, 2)[:samples]).speech())
    assert len(heard.tokens) <= 4


def test_of_digital_silence_nothing_is_said(moonshine: Moonshine) -> None:
    assert moonshine.transcribe(Recording(np.zeros(2 * RATE, np.float32)).speech()).text == ""


def test_babble_ends_at_the_most_tokens_a_second_may_have(moonshine: Moonshine) -> None:
    noise = (np.random.default_rng(1).standard_normal(3 * RATE) * 0.01).astype(np.float32)
    assert len(moonshine.transcribe(Recording(noise).speech()).tokens) == int(3 * 6.5)


def test_it_gives_up_when_its_time_is_over(moonshine: Moonshine) -> None:
    with pytest.raises(EngineError, match="within 0 s") as late:
        moonshine.transcribe(Recording(said(0, 2)).speech(timeout=0.0))
    assert late.value.retryable


def test_more_than_the_longest_is_refused(moonshine: Moonshine) -> None:
    with pytest.raises(EngineError, match="at most 30 s of audio, got 31") as refused:
        moonshine.transcribe(Recording(np.ones(31 * RATE, np.float32)).speech())
    assert not refused.value.retryable


def test_threads_share_one_engine_and_hear_the_same(moonshine: Moonshine) -> None:
    windows = [Recording(said(start, start + 2)) for start in (0, 2, 4, 6)]
    alone = [moonshine.transcribe(window.speech()) for window in windows]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda window: moonshine.transcribe(window.speech()), windows))
    assert [heard.text for heard in together] == [heard.text for heard in alone]


def test_a_character_in_several_tokens_is_one_character(moonshine: Moonshine) -> None:
    tokens = [moonshine._pieces.index(bytes([byte]), 3) for byte in "é♪".encode()]
    word = next(i for i, piece in enumerate(moonshine._pieces) if piece == SPACE + b"the")
    assert moonshine._text([*tokens, word]) == "é♪ the"


def test_pieces_are_read_with_both_kinds_of_length() -> None:
    long = b"x" * 300
    raw = b"\x01a" + bytes([300 % 128 + 128, 300 // 128]) + long + b"\x06<0xC3>" + b"\x08<<ST_7>>"
    assert _pieces(raw) == [b"a", long, b"\xc3", b""]


def test_missing_weights_are_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="expected the Moonshine weights in") as missing:
        Moonshine(tmp_path)
    assert not missing.value.retryable


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(EngineError, match="moonshine-voice==0.1.0"):
        Moonshine()


def test_the_wheel_itself_is_never_imported() -> None:
    code = "import sys; from server.engines.moonshine import Moonshine; Moonshine(); print(*sys.modules)"
    root = Path(__file__).parents[2]
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    assert not {"moonshine_voice", "sounddevice", "openai", "faster_whisper"} & set(loaded.stdout.split())

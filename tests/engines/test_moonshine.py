"""The embedded engine reads real speech; nothing here is scripted."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from openai_server import Recording, two_cities

from bench import clip
from bench.words import errors
from server.engines.base import EngineError
from server.engines.moonshine import SPACE, Moonshine, _pieces
from server.speech.filters import suspicion
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


@pytest.mark.parametrize("start, end", [(0.9, 3.22), (0.9, 2.14), (17.27, 19.72), (4.2, 7.2)])
def test_a_phrase_that_breaks_off_is_no_reason_for_a_loop(moonshine: Moonshine, start: float, end: float) -> None:
    heard = moonshine.transcribe(Recording(said(start, end)).speech())
    assert suspicion(heard, 0.8 * (end - start)) is None and heard.text


def test_of_phrases_that_break_off_anywhere_five_words_of_six_are_right(moonshine: Moonshine) -> None:
    speech, random = clip.two_cities(), np.random.default_rng(3)
    wrong = words = 0
    for start, length in zip(random.uniform(0, 36, 30), random.uniform(1.5, 6, 30), strict=True):
        end = start + length
        inside = " ".join(word.text for word in speech.words if start <= (word.start + word.end) / 2 < end)
        found = errors(inside, moonshine.transcribe(Recording(said(start, end)).speech()).text)
        wrong, words = wrong + found.all, words + found.words
    assert words > 300 and wrong / words < 1 / 6  # 14 %, and 21 % with nothing behind the cut


def test_the_last_answer_is_a_guess_that_changes_the_work_and_not_the_words(moonshine: Moonshine) -> None:
    before = moonshine.transcribe(Recording(said(0, 4.0)).speech(kind=Kind.PARTIAL))
    longer = Recording(said(0, 5.5))
    free, guessed = moonshine.transcribe(longer.speech()), moonshine.transcribe(longer.speech(previous=before))
    assert guessed.text == free.text and len(free.text) > len(before.text)
    assert guessed.logprob == pytest.approx(free.logprob, abs=0.05)


def test_a_wrong_guess_is_of_no_consequence(moonshine: Moonshine) -> None:
    wrong = moonshine.transcribe(Recording(said(8, 12)).speech())
    audio = Recording(said(0, 3))
    assert moonshine.transcribe(audio.speech(previous=wrong)).text == moonshine.transcribe(audio.speech()).text


def test_a_guess_is_found_again_where_the_window_starts_later(moonshine: Moonshine) -> None:
    before = moonshine.transcribe(Recording(said(0, 4.5)).speech())
    later = moonshine._guess(before.tokens, before.text[before.text.casefold().index("it was the worst") :])
    assert moonshine._text(later).casefold().startswith("it was the worst")
    assert moonshine._guess(before.tokens, "something else is expected") == ()
    assert moonshine._guess(before.tokens, "") == before.tokens


def test_what_is_known_is_not_said_again(moonshine: Moonshine) -> None:
    known = moonshine.transcribe(Recording(said(0, 2.9)).speech())
    rest = moonshine.transcribe(Recording(said(0, 4.5)).speech(known=known.tokens))
    assert "best of times" in known.text
    assert "worst of times" in rest.text and "best" not in rest.text


@pytest.mark.parametrize("samples", [0, 1, 400, 894, 895, 3200])
def test_a_window_may_be_as_short_as_it_likes(moonshine: Moonshine, samples: int) -> None:
    heard = moonshine.transcribe(Recording(said(1, 2)[:samples]).speech())
    assert len(heard.tokens) <= 4


def test_of_digital_silence_nothing_is_said(moonshine: Moonshine) -> None:
    assert moonshine.transcribe(Recording(np.zeros(2 * RATE, np.float32)).speech()).text == ""


def test_babble_ends_at_the_most_tokens_a_second_may_have(moonshine: Moonshine) -> None:
    noise = (np.random.default_rng(1).standard_normal(3 * RATE) * 0.01).astype(np.float32)
    heard = moonshine.transcribe(Recording(noise).speech())
    assert len(heard.tokens) <= int(3 * 6.5) and suspicion(heard, 2.0)  # "You", of which it is not sure


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

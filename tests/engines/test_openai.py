"""The OpenAI engine against a real HTTP server on loopback that decodes what it is sent."""

import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from openai_server import Recording, Upstream, two_cities
from process import ready

from server.audio.clip import Clip
from server.engines.base import EngineError, Speech
from server.engines.openai import OpenAI, spell
from server.speech.types import RATE, Hypothesis, Samples, Word

SHARED = Path(__file__).parents[2] / "../shared"
FIRST = Recording(two_cities()[: 4 * RATE], start=10.0)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    """Where clips are put, and from where each must be gone."""
    yield str(tmp_path)
    assert list(tmp_path.iterdir()) == []


def ask(upstream: Upstream, folder: str, model: str = "whisper-1", **how: Any) -> Hypothesis:
    with closing(OpenAI("sk-secret", upstream.url, model, folder=folder)) as engine:
        return engine.transcribe(FIRST.speech(**how))


def fault(upstream: Upstream, folder: str, *answers: str | dict[str, Any], **how: Any) -> EngineError:
    upstream.script(*answers)
    with pytest.raises(EngineError) as raised:
        ask(upstream, folder, **how)
    assert "sk-sec" not in str(raised.value)
    return raised.value


def test_real_speech_goes_up_as_a_file_and_comes_back_as_text(upstream: Upstream, folder: str) -> None:
    heard = ask(upstream, folder, language="en", prompt="Dickens")
    request = upstream.requests[-1]
    assert heard.text.lower().startswith("it was the best of times") and heard.language == "en"
    assert request.name.startswith("sotto-") and request.suffix == ".wav" and request.seconds == pytest.approx(4.0)
    assert request.field("language") == "en" and request.field("prompt") == "Dickens"
    assert request.authorization == "Bearer sk-secret"


def test_word_times_are_session_seconds_and_words_are_spelled_as_in_the_text(upstream: Upstream, folder: str) -> None:
    upstream.script("Hello, world! Well…")
    heard = ask(upstream, folder)
    assert [word.text for word in heard.words] == ["Hello,", "world!", "Well…"]
    assert heard.words[0].start == 10.0 and heard.words[-1].end == pytest.approx(14.0)
    assert (heard.no_speech, heard.logprob, heard.compression) == pytest.approx((0.01, -0.2, 1.2))


@pytest.mark.parametrize("model", ["whisper-1", "Systran/faster-Whisper-small"])
def test_whisper_models_are_asked_for_words(upstream: Upstream, folder: str, model: str) -> None:
    upstream.script("hello")
    ask(upstream, folder, model)
    fields = upstream.requests[-1].fields
    assert fields["response_format"] == ["verbose_json"] and fields["timestamp_granularities[]"] == ["word"]


@pytest.mark.parametrize("model", ["gpt-transcribe", "gpt-4o-mini-transcribe", "parakeet"])
def test_other_models_are_asked_for_json(upstream: Upstream, folder: str, model: str) -> None:
    upstream.script("hello")
    heard = ask(upstream, folder, model)
    fields = upstream.requests[-1].fields
    assert fields["response_format"] == ["json"] and "timestamp_granularities[]" not in fields
    assert heard == Hypothesis("hello")


def test_without_words_the_text_is_kept(upstream: Upstream, folder: str) -> None:
    upstream.words = False
    upstream.script("Hello, world.", {"text": "Bad times.", "words": [{"word": "Bad", "start": "x", "end": 1}]})
    assert ask(upstream, folder) == Hypothesis("Hello, world.", (), "en", (), 0.01, -0.2, 1.2)
    assert ask(upstream, folder) == Hypothesis("Bad times.")


def test_scores_are_weighted_by_length_and_the_worst_compression_counts(upstream: Upstream, folder: str) -> None:
    def segment(start: float, end: float, score: float) -> dict[str, float]:
        return {"start": start, "end": end, "no_speech_prob": score, "avg_logprob": -score, "compression_ratio": score}

    upstream.script({"text": "a b", "segments": [segment(0, 3, 0.1), segment(3, 4, 0.5)]})
    heard = ask(upstream, folder)
    assert (heard.no_speech, heard.logprob, heard.compression) == pytest.approx((0.2, -0.2, 0.5))


def test_a_failed_server_may_be_asked_again(upstream: Upstream, folder: str) -> None:
    assert fault(upstream, folder, "500").retryable
    assert len(upstream.requests) == 1  # the pool retries, not the SDK


def test_too_many_requests_says_when_to_come_back(upstream: Upstream, folder: str) -> None:
    error = fault(upstream, folder, "429")
    assert error.retryable and error.retry_after == 2.0


def test_a_refused_key_is_final_and_not_quoted(upstream: Upstream, folder: str) -> None:
    error = fault(upstream, folder, "401")
    assert not error.retryable and "API key" in str(error)


@pytest.mark.parametrize("answer", ["html", "truncated", "empty"])
def test_an_answer_of_the_wrong_shape_is_never_a_caption(upstream: Upstream, folder: str, answer: str) -> None:
    assert "expected" in str(fault(upstream, folder, answer))


@pytest.mark.parametrize("text", [None, 7, ["a"], {"a": 1}])
def test_a_text_that_is_none_is_never_a_caption(upstream: Upstream, folder: str, text: object) -> None:
    assert 'a "text"' in str(fault(upstream, folder, {"text": text}))


def test_half_of_a_surrogate_pair_is_no_reason_to_end_a_session(upstream: Upstream, folder: str) -> None:
    words = [{"word": "so", "start": 0.0, "end": 0.3}, {"word": "\ud83d", "start": 0.3, "end": 0.5}]
    upstream.script({"text": "so \ud83d", "words": words, "language": "\ud83d"})
    answer = ask(upstream, folder)
    assert answer.text.encode() == b"so ?" and answer.language is None


def test_a_reset_connection_may_be_tried_again(upstream: Upstream, folder: str) -> None:
    assert fault(upstream, folder, "reset").retryable


@pytest.mark.parametrize("answer", ["drip", "drip-headers"])
def test_a_server_that_drips_does_not_hold_the_thread(upstream: Upstream, folder: str, answer: str) -> None:
    began = time.monotonic()
    error = fault(upstream, folder, answer, timeout=1.0)
    assert error.retryable and "within 1 s" in str(error)
    assert time.monotonic() - began < 20.0  # it would drip for ever


def test_every_call_has_its_own_deadline(upstream: Upstream, folder: str) -> None:
    upstream.script("drip", "drip", "drip")
    began = time.monotonic()
    with ThreadPoolExecutor(3) as threads, closing(OpenAI("k", upstream.url, folder=folder)) as engine:
        calls = [threads.submit(engine.transcribe, FIRST.speech(timeout=seconds)) for seconds in (30, 2, 1)]
        for call, limit in ((calls[2], "1"), (calls[1], "2")):
            with pytest.raises(EngineError, match=f"within {limit} s"):
                call.result(20)
        assert not calls[0].done() and time.monotonic() - began < 25.0  # the longest is still under way
        upstream.stopping.set()


def test_nobody_listening_may_be_tried_again(folder: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with closing(OpenAI("k", f"http://127.0.0.1:{free.getsockname()[1]}/v1", folder=folder)) as engine:
            with pytest.raises(EngineError, match="connection failed") as error:
                engine.transcribe(FIRST.speech())
    assert error.value.retryable


@dataclass(frozen=True, slots=True)
class Mislabelled:
    """A clip whose suffix does not fit."""

    def samples(self) -> Samples:
        raise AssertionError("this engine asks for clips")

    def clip(self) -> Clip:
        return Clip(FIRST.clip().data, ".webm", 0.0)


def test_a_file_the_server_cannot_read_is_not_sent_again(upstream: Upstream, folder: str) -> None:
    with closing(OpenAI("k", upstream.url, folder=folder)) as engine:
        with pytest.raises(EngineError, match="does not fit the content") as error:
            engine.transcribe(Speech(0, 4, Mislabelled()))
    assert not error.value.retryable


def test_after_a_cut_connection_the_next_call_is_well(upstream: Upstream, folder: str) -> None:
    upstream.script("hello", "drip", "hello")
    with closing(OpenAI("k", upstream.url, folder=folder)) as engine:
        engine.transcribe(FIRST.speech())  # so that all is loaded, and the next one surely begins
        with pytest.raises(EngineError, match="within 1 s"):
            engine.transcribe(FIRST.speech(timeout=1.0))
        assert engine.transcribe(FIRST.speech()).text == "hello"


def test_threads_share_one_engine(upstream: Upstream, folder: str) -> None:
    upstream.read = lambda samples: f"{len(samples)} samples"
    lengths = [8000 + 100 * i for i in range(8)]
    with ThreadPoolExecutor(4) as threads, closing(OpenAI("k", upstream.url, folder=folder)) as engine:
        heard = threads.map(lambda n: engine.transcribe(Recording(FIRST.pcm[:n]).speech()).text, lengths)
        assert list(heard) == [f"{n} samples" for n in lengths]


def test_neither_key_nor_text_is_logged(upstream: Upstream, folder: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        upstream.script("a private remark")
        ask(upstream, folder)
        fault(upstream, folder, "401")
    assert "private" not in caplog.text and "sk-sec" not in caplog.text


def words(*texts: str) -> list[Word]:
    return [Word(text, float(i), i + 1.0) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("text", "given", "spelled"),
    [
        ("Hello, world.", ["Hello", "world"], ["Hello,", "world."]),
        ("Hello, world.", [" Hello,", " world."], ["Hello,", "world."]),
        ("Hello, world.", ["hello", "WORLD"], ["Hello,", "world."]),
        ("“Yes” – she said (twice).", ["Yes", "she", "said", "twice"], ["“Yes” –", "she", "said", "(twice)."]),
        ("a well-known fact", ["a", "well", "known", "fact"], ["a", "well-known", "fact"]),
        ("I don't, 12,000 times", ["I", "don", "'t", "12", "000", "times"], ["I", "don't,", "12,000", "times"]),
        ("no no no", ["no", "no", "no"], ["no", "no", "no"]),
        ("C++ costs $5", ["C", "costs", "5"], ["C++", "costs", "$5"]),
        ("Yes . No", ["Yes", ".", "No"], ["Yes .", "No"]),
        ("你好，世界。", ["你好", "世界"], ["你好，", "世界。"]),
        ("สวัสดีครับ", ["สวัสดี", "ครับ"], ["สวัสดี", "ครับ"]),
        ("안녕 하세요", ["안녕", "하", "세요"], ["안녕", "하세요"]),
        ("यह हिन्दी है।", ["यह", "हिन्दी", "है"], ["यह", "हिन्दी", "है।"]),
        ("İstanbul güzel", ["İstanbul", "güzel"], ["İstanbul", "güzel"]),
    ],
)
def test_words_are_spelled_as_the_text_has_them(text: str, given: list[str], spelled: list[str]) -> None:
    found = spell(text, words(*given))
    assert [word.text for word in found] == spelled
    assert (found[0].start, found[-1].end) == (0.0, float(len(given)))
    assert "".join(word.text for word in found).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("Hello, world.", []),
        ("", ["Hello"]),
        ("Hello, world.", ["world", "Hello"]),
        ("Hello, big world.", ["Hello", "world"]),
        ("Hello, world.", ["Hello"]),
        ("Hello.", ["Hello", "world"]),
        ("five", ["5"]),
        ("Hello", ["...", "!"]),
    ],
)
def test_words_that_do_not_follow_the_text_are_dropped(text: str, given: list[str]) -> None:
    assert spell(text, words(*given)) == ()


@pytest.fixture(scope="module")
def oracle() -> Iterator[str]:
    """The shared yardstick server, which knows the recordings; it refuses a wrong suffix."""
    tool = SHARED / "tools/upstream.py"
    if not tool.exists():
        pytest.skip("shared/tools is not beside the checkout")
    if missing := [name for name in ("aiohttp", "soundfile") if not find_spec(name)]:
        pytest.skip(f"the shared upstream needs {missing}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(tool), "--strict-suffix", "--engine", "oracle", "--port", str(port)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONWARNINGS": "ignore"})
    try:
        assert ready(process, f"http://127.0.0.1:{port}/health"), "the shared upstream did not start"
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait(10)


def test_the_oracle_gives_every_word_of_a_recording_its_place(oracle: str, folder: str) -> None:
    truth = json.loads((SHARED / "clips/two_cities.json").read_text())["words"]
    with closing(OpenAI("", oracle, "whisper-1", folder=folder)) as engine:
        heard = engine.transcribe(Recording(two_cities()[: 10 * RATE], start=100.0).speech())
    assert " ".join(word.text for word in heard.words) == heard.text
    assert heard.text == " ".join(word["word"] for word in truth[: len(heard.words)]) and len(heard.words) > 25
    for word, true in zip(heard.words, truth, strict=False):
        assert word.start == pytest.approx(100.0 + true["start"], abs=0.1)

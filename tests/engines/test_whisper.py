"""Whisper from a directory whose tiny weights are random.

It proves that a CTranslate2 directory is loaded, called and answered in the right shape; it proves nothing about
recognition, because what such a model "hears" is noise. It is English-only, as its vocabulary is small.
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from openai_server import Recording, two_cities

from server.engines.base import EngineError
from server.engines.whisper import Whisper
from server.speech.types import RATE, Hypothesis, Kind

if TYPE_CHECKING:
    from ctranslate2.specs.model_spec import LayerSpec

if not find_spec("faster_whisper"):
    pytest.skip("faster-whisper is not installed", allow_module_level=True)

WIDTH, HEADS, MELS, WINDOW, LONGEST = 16, 2, 80, 1500, 448  # Whisper tiny has 384 and 6; the others are its own
TASKS = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
SHORT = Recording(two_cities()[: 2 * RATE], start=50.0)


def vocabulary(directory: Path) -> list[str]:
    """Bytes as text, then Whisper's special tokens in its order; written as tokenizer.json too."""
    from faster_whisper.tokenizer import _LANGUAGE_CODES
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["endoftext", "startoftranscript", *_LANGUAGE_CODES, *TASKS, *(f"{i * 0.02:.2f}" for i in range(1501))]
    special = [f"<|{name}|>" for name in names]
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in special])
    tokenizer.save(str(directory / "tokenizer.json"))
    return [*letters, *special]


def fill(spec: "LayerSpec", size: int) -> None:
    """Random weights of the shapes Whisper has."""
    random = np.random.default_rng(7)

    def weights(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) * 0.3).astype(np.float32)

    def norm(layer: "LayerSpec") -> None:
        layer.gamma, layer.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)

    def attention(layer: "LayerSpec") -> None:
        norm(layer.layer_norm)
        # Of itself: queries, keys and values in one matrix. Of the encoder: queries, then keys and values.
        rows = [3, 1] if len(layer.linear) == 2 else [1, 2, 1]
        for linear, times in zip(layer.linear, rows, strict=True):
            linear.weight, linear.bias = weights(times * WIDTH, WIDTH), weights(times * WIDTH)

    for conv, channels in ((spec.encoder.conv1, MELS), (spec.encoder.conv2, WIDTH)):
        conv.weight, conv.bias = weights(WIDTH, channels, 3), weights(WIDTH)
    spec.encoder.position_encodings.encodings = weights(WINDOW, WIDTH)
    spec.decoder.position_encodings.encodings = weights(LONGEST, WIDTH)
    spec.decoder.embeddings.weight = spec.decoder.projection.weight = weights(size, WIDTH)
    for side in (spec.encoder, spec.decoder):
        norm(side.layer_norm)
        for layer in side.layer:
            attention(layer.self_attention)
            if hasattr(layer, "attention"):
                attention(layer.attention)
            norm(layer.ffn.layer_norm)
            layer.ffn.linear_0.weight, layer.ffn.linear_0.bias = weights(4 * WIDTH, WIDTH), weights(4 * WIDTH)
            layer.ffn.linear_1.weight, layer.ffn.linear_1.bias = weights(WIDTH, 4 * WIDTH), weights(WIDTH)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ctranslate2.specs.whisper_spec import WhisperSpec

    directory = tmp_path_factory.mktemp("whisper") / "random"
    directory.mkdir()
    tokens = vocabulary(directory)
    spec = WhisperSpec(1, HEADS, 1, HEADS)
    fill(spec, len(tokens))
    spec.register_vocabulary(tokens)
    first, last = tokens.index("<|en|>"), tokens.index("<|translate|>")
    spec.config.lang_ids = list(range(first, last))
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = []
    spec.config.alignment_heads = [(0, 0)]
    spec.validate()
    spec.save(str(directory))
    return directory


@pytest.fixture(scope="module")
def whisper(directory: Path) -> Whisper:
    return Whisper(str(directory), "cpu", "float32", cpu_threads=1)


def test_a_directory_is_loaded_and_tells_its_name_and_languages(whisper: Whisper) -> None:
    assert whisper.name == "whisper random"
    assert whisper.languages == {"en"}


def test_an_answer_has_words_on_the_session_time_line_and_scores(whisper: Whisper) -> None:
    heard = whisper.transcribe(SHORT.speech(language="en"))
    assert heard.text and heard.language == "en" and heard.words
    assert all(50.0 <= word.start <= word.end and word.text == word.text.strip() for word in heard.words)
    assert heard.logprob is not None and heard.logprob < 0
    assert heard.no_speech is not None and 0 <= heard.no_speech <= 1
    assert heard.compression is not None and heard.compression > 0


def test_without_a_language_the_model_tells_it(whisper: Whisper) -> None:
    assert whisper.transcribe(SHORT.speech(kind=Kind.PARTIAL)).language == "en"


def test_a_prompt_changes_what_is_heard(whisper: Whisper) -> None:
    plain, prompted = (whisper.transcribe(SHORT.speech(language="en", prompt=prompt)) for prompt in ("", "Dickens"))
    assert plain.text != prompted.text or plain.logprob != prompted.logprob


def test_threads_share_one_model(whisper: Whisper) -> None:
    alone = whisper.transcribe(SHORT.speech(language="en", kind=Kind.PARTIAL))
    with ThreadPoolExecutor(3) as threads:
        ask = SHORT.speech(language="en", kind=Kind.PARTIAL)
        assert [h.text for h in threads.map(whisper.transcribe, [ask] * 3)] == [alone.text] * 3


def test_no_audio_is_no_text(whisper: Whisper) -> None:
    assert whisper.transcribe(Recording(np.zeros(0, np.float32)).speech()) == Hypothesis("")


def test_a_language_the_model_has_not_is_refused(whisper: Whisper) -> None:
    with pytest.raises(EngineError, match="does not know the language 'de'") as refused:
        whisper.transcribe(SHORT.speech(language="de"))
    assert not refused.value.retryable


def test_whoever_waits_too_long_for_a_turn_is_told(whisper: Whisper) -> None:
    with whisper._turns, pytest.raises(EngineError, match="busy for 0.01 s"):
        whisper.transcribe(SHORT.speech(timeout=0.01))


def test_a_closed_model_answers_with_an_error(directory: Path) -> None:
    closed = Whisper(str(directory), "cpu", "float32")
    closed.close()
    with pytest.raises(EngineError, match="Whisper failed"):
        closed.transcribe(SHORT.speech(language="en"))


def test_a_name_nobody_knows_is_told_in_one_sentence() -> None:
    with pytest.raises(EngineError, match="expected a CTranslate2 Whisper directory or a name to download") as error:
        Whisper("no-such-model")
    assert not error.value.retryable and "\n" not in str(error.value)


def test_a_directory_without_a_model_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({}))
    with pytest.raises(EngineError, match="expected a CTranslate2 Whisper directory"):
        Whisper(str(tmp_path))


def test_faster_whisper_is_only_loaded_by_whoever_chooses_it() -> None:
    root = Path(__file__).parents[2]
    code = "import sys, server.engines.base, server.engines.whisper; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert not {"faster_whisper", "ctranslate2", "moonshine_voice", "openai"} & set(loaded.stdout.split())

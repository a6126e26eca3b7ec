"""The embedded engine: Moonshine tiny-en from the moonshine-voice wheel, on bare onnxruntime.

Only the wheel's weights are used: importing the package would load its native library and open the microphone
module. The model: Jeffries et al. 2024, "Moonshine: Speech Recognition for Live Transcription and Voice Commands".
"""

import importlib.util
import re
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..speech.types import RATE, Hypothesis, Samples
from .base import EngineError, Speech

START, END = 1, 2  # tokens that begin and end a text; 0 is "unknown", none of the three has a text
SPACE = "\u2581".encode()  # how a piece of the tokenizer spells a blank: it begins a word
TOKENS_PER_S = 6.5  # the model's own ceiling (its authors'); without it silence and noise make it babble
MOST_TOKENS = 194  # as many positions as the decoder was trained with
FEWEST_TOKENS = 4  # a short "yes." must fit however short its window is
SHORTEST_S = 0.5  # less is padded with zeros: the encoder needs 56 ms; single words were read best from 0.5 s
TAIL_S = 0.2  # of quiet behind what is asked
QUIET = RATE // 50  # samples of which such a quiet is made
FEW_TOKENS = 2  # a text that the quiet alone may have brought about
HEAD_WORDS = 4  # enough to find a place in what was said again
HEADS, HEAD = 8, 36  # the shape of the decoder's cache

Floats = NDArray[np.float32]


class Moonshine:
    """English, on one core; no word times, no key, no network.

    One pair of sessions serves all threads: `InferenceSession.run` may be called from many at once, and with one
    thread of its own each it never spins (onnxruntime's default costs four times the CPU).
    """

    name = "moonshine tiny-en"
    wants_samples = True
    languages: frozenset[str] | None = frozenset({"en"})
    paid = False
    partial_interval = 0.5
    longest = 30.0  # seconds; MOST_TOKENS at TOKENS_PER_S
    context = 4.0  # seconds; with it 2 % of the words of a reading were wrong, without 8 %

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` holds the two .ort models and tokenizer.bin; by default the wheel's. Raises EngineError."""
        folder = folder or _wheel()
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._encoder = ort.InferenceSession(folder / "encoder_model.ort", options, ["CPUExecutionProvider"])
            self._decoder = ort.InferenceSession(folder / "decoder_model_merged.ort", options, ["CPUExecutionProvider"])
            self._pieces = _pieces((folder / "tokenizer.bin").read_bytes())
        except Exception as error:  # onnxruntime has a class of its own for each kind of broken file
            raise EngineError(f"expected the Moonshine weights in {folder}: {error}", retryable=False) from error
        self._cache = [i.name for i in self._decoder.get_inputs() if i.name.startswith("past_")]
        self._growing = [name for name in self._cache if ".decoder." in name]  # the encoder's part comes once

    def transcribe(self, speech: Speech) -> Hypothesis:
        """Greedy, after what is known; the last answer is the first guess. Raises EngineError."""
        samples = speech.audio.samples()
        if not samples.any():
            return Hypothesis("", language="en")  # asked about zeros the model says "You"
        if len(samples) > self.longest * RATE:
            message = f"expected at most {self.longest:g} s of audio, got {len(samples) / RATE:.1f}"
            raise EngineError(message, retryable=False)
        guess = self._guess(speech.previous.tokens, speech.expected) if speech.previous else ()
        deadline = time.monotonic() + speech.timeout
        try:
            # Of a phrase that breaks off it makes loops and wrong words, and fewer if it hears that it does.
            tokens, logprob = self._decode(samples, _quiet(samples), speech.known, guess, deadline)
            if len(tokens) <= FEW_TOKENS:  # of noise it then says "You", and is too sure of it
                logprob = min(logprob, self._decode(samples, samples[:0], speech.known, guess, deadline)[1])
        except TimeoutError:
            raise EngineError(f"no answer within {speech.timeout:g} s") from None
        except Exception as error:  # onnxruntime has no class for all of its own
            raise EngineError(f"Moonshine failed: {type(error).__name__}") from error
        return Hypothesis(self._text(tokens), language="en", tokens=tokens, logprob=logprob)

    def close(self) -> None:
        """Nothing is held but memory, which goes with the object: no threads, no files."""

    def _decode(
        self, samples: Samples, tail: Samples, known: tuple[int, ...], guess: tuple[int, ...], deadline: float
    ) -> tuple[tuple[int, ...], float]:
        """The tokens after those that are `known`, and their average log-probability.

        One pass over the guess tells how much of it the model would have said itself (speculative decoding, Leviathan
        et al. 2023, with the last answer as the draft): the same tokens as one by one, in a third of the time.
        """
        heard = np.concatenate([samples, tail])
        window = np.zeros((1, max(len(heard), int(SHORTEST_S * RATE))), np.float32)
        window[0, : len(heard)] = heard
        mask = np.ones(window.shape, np.int64)
        hidden = self._encoder.run(None, {"input_values": window, "attention_mask": mask})[0]
        most = min(MOST_TOKENS, max(FEWEST_TOKENS, int(len(samples) / RATE * TOKENS_PER_S))) - len(known)
        feed = {"encoder_attention_mask": mask, "encoder_hidden_states": hidden}
        feed |= {name: np.zeros((1, HEADS, 0, HEAD), np.float32) for name in self._cache}
        tokens: list[int] = []
        total, fresh, asked = 0.0, self._cache, [START, *known, *guess[:most]]
        while time.monotonic() < deadline:
            outputs = ["logits", *(name.replace("past_key_values", "present") for name in fresh)]
            feed |= {"input_ids": np.array([asked], np.int64), "use_cache_branch": np.array([fresh is not self._cache])}
            logits, *state = self._decoder.run(outputs, feed)
            guessed = [] if tokens else asked[1 + len(known) :]
            for row, drafted in zip(logits[0, -1 - len(guessed) :], [*guessed, None], strict=True):
                token, logprob = _best(row)
                total += logprob
                if token == END or len(tokens) >= most:
                    return tuple(tokens), total / (len(tokens) + 1)
                tokens.append(token)
                if token != drafted:
                    break
            size = 1 + len(known) + len(tokens) - 1  # positions whose keys are those of what was said
            feed |= {n: kept[:, :, :size] if ".decoder." in n else kept for n, kept in zip(fresh, state, strict=True)}
            asked, fresh = [tokens[-1]], self._growing
        raise TimeoutError

    def _guess(self, tokens: tuple[int, ...], expected: str) -> tuple[int, ...]:
        """The part of the last answer that begins with the words expected first: this window may start later."""
        head = expected.casefold().split()[:HEAD_WORDS]
        for i, token in enumerate(tokens):
            if self._pieces[token].startswith(SPACE):
                if self._text(tokens[i : i + 3 * HEAD_WORDS]).casefold().split()[: len(head)] == head:
                    return tokens[i:]
        return tokens if not head else ()

    def _text(self, tokens: Sequence[int]) -> str:
        """Bytes first, then UTF-8: a character may lie in several tokens."""
        spelled = b"".join(self._pieces[token] for token in tokens if token > END)
        return spelled.replace(SPACE, b" ").decode("utf-8", "replace").strip()


def _quiet(samples: Samples) -> Samples:
    """The quietest moment, there and back again: the room, not the end of everything, of which it says "You"."""
    moments = samples[: len(samples) // QUIET * QUIET].reshape(-1, QUIET)
    if not len(moments):
        return np.zeros(int(TAIL_S * RATE), np.float32)
    moment = moments[np.square(moments).sum(axis=1).argmin()]
    quiet: Samples = np.resize(np.concatenate([moment, moment[::-1]]), int(TAIL_S * RATE))
    return quiet


def _wheel() -> Path:
    found = importlib.util.find_spec("moonshine_voice")  # does not run the package
    for folder in found.submodule_search_locations or () if found else ():
        return Path(folder) / "assets" / "tiny-en"
    raise EngineError("expected the package moonshine-voice==0.1.0, which carries the weights", retryable=False)


def _pieces(raw: bytes) -> list[bytes]:
    """tokenizer.bin: each piece is its length (1 byte; from 128 on 2, the low 7 bits first), then its bytes."""
    pieces, at = [], 0
    while at < len(raw):
        size, at = raw[at], at + 1
        if size >= 128:
            size, at = raw[at] * 128 + size - 128, at + 1
        piece, at = raw[at : at + size], at + size
        if byte := re.fullmatch(rb"<0x([0-9A-F]{2})>", piece):  # of a character the vocabulary does not have
            piece = bytes([int(byte[1], 16)])
        elif re.fullmatch(rb"<<ST_\d+>>", piece):  # reserved: stands for no text
            piece = b""
        pieces.append(piece)
    return pieces


def _best(logits: Floats) -> tuple[int, float]:
    """The likeliest token and its log-probability."""
    token = int(logits.argmax())
    return token, -float(np.log(np.exp(logits - logits[token]).sum()))

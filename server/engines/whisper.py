"""Whisper in this process, by faster-whisper: any CTranslate2 model directory, or a name it can download."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..speech.types import Hypothesis, Word
from .base import EngineError, Speech

if TYPE_CHECKING:
    from faster_whisper.transcribe import Segment

PARTIAL_BEAM, FINAL_BEAM = 1, 5  # a partial is soon replaced; 5 is Whisper's own width


class Whisper:
    """Word times from the model's cross-attention; `workers` calls at once, the others wait for their turn.

    `Speech.timeout` bounds that wait only: a decoding that has begun cannot be interrupted.

    What Whisper itself would drop or try again at a higher temperature is left to the filters of the session:
    its ladder of six temperatures costs six decodings just when the machine is already behind.
    """

    wants_samples = True
    paid = False
    partial_interval = 1.0
    longest = 30.0  # seconds; the model's window
    context = 0.0

    def __init__(
        self,
        model: str,
        device: str = "auto",
        compute_type: str = "default",
        *,
        cpu_threads: int = 2,
        workers: int = 1,
        folder: str | None = None,
    ) -> None:
        """`model` is a directory or a name; `folder` takes what is downloaded. Raises EngineError."""
        try:
            from faster_whisper import WhisperModel  # here: whoever does not choose it stays light
        except ImportError as error:
            raise EngineError("expected the package faster-whisper", retryable=False) from error
        try:
            self._model = WhisperModel(
                model,
                device,
                compute_type=compute_type,
                cpu_threads=cpu_threads,
                num_workers=workers,
                download_root=folder,
            )
        except Exception as error:  # a missing file, a bad name, no network, no such device: a class each
            reason = " ".join(str(error).split()) or type(error).__name__
            message = f"expected a CTranslate2 Whisper directory or a name to download, got {model!r}: {reason}"
            raise EngineError(message, retryable=False) from error
        self.name = f"whisper {Path(model).name}"
        self.languages: frozenset[str] | None = frozenset(self._model.supported_languages)
        self._turns = threading.BoundedSemaphore(workers)

    def transcribe(self, speech: Speech) -> Hypothesis:
        """Detects the language where none is given. Raises EngineError."""
        if speech.language and self.languages and speech.language not in self.languages:
            raise EngineError(f"{self.name} does not know the language {speech.language!r}", retryable=False)
        samples = speech.audio.samples()
        if not len(samples):
            return Hypothesis("", language=speech.language)
        if not self._turns.acquire(timeout=speech.timeout):
            raise EngineError(f"{self.name} was busy for {speech.timeout:g} s")
        try:
            found, info = self._model.transcribe(
                samples,
                language=speech.language,
                initial_prompt=speech.prompt or None,
                beam_size=FINAL_BEAM if speech.final else PARTIAL_BEAM,
                temperature=0.0,
                compression_ratio_threshold=None,
                log_prob_threshold=None,
                no_speech_threshold=None,
                condition_on_previous_text=False,
                word_timestamps=True,
                vad_filter=False,
            )
            segments = list(found)  # decodes only now
        except Exception as error:
            raise EngineError(f"Whisper failed: {type(error).__name__}") from error
        finally:
            self._turns.release()
        return Hypothesis(
            " ".join("".join(segment.text for segment in segments).split()),
            words=_words(segments, speech.start),
            language=info.language,
            no_speech=_mean([(_length(s), s.no_speech_prob) for s in segments]),
            logprob=_mean([(_length(s), s.avg_logprob) for s in segments]),
            compression=max((s.compression_ratio for s in segments), default=None),
        )

    def close(self) -> None:
        """Give the model's memory back; whoever asks later gets an EngineError."""
        self._model.model.unload_model()


def _words(segments: "Sequence[Segment]", shift: float) -> tuple[Word, ...]:
    """On the session's time line; faster-whisper has joined the punctuation to them already."""
    timed = [word for segment in segments for word in segment.words or () if word.word.strip()]
    return tuple(Word(w.word.strip(), shift + float(w.start), shift + float(w.end)) for w in timed)


def _length(segment: "Segment") -> float:
    return max(1e-3, float(segment.end - segment.start))


def _mean(weighted: list[tuple[float, float]]) -> float | None:
    total = sum(weight for weight, _ in weighted)
    return sum(weight * value for weight, value in weighted) / total if weighted else None

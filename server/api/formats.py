"""A transcript as JSON; as subtitles it is in speech/subtitles.py."""

from typing import Any

from ..batch.transcribe import Segment, Transcript
from ..speech.types import Word


def to_json(transcript: Transcript) -> dict[str, Any]:
    """The short answer of POST /api/transcribe."""
    duration = round(transcript.duration, 3)
    return {"transcript": transcript.text, "language": transcript.language, "duration": duration}


def to_verbose_json(transcript: Transcript) -> dict[str, Any]:
    """The same with the segments, and the words where the engine gives their times."""
    segments = [{**_times(s), "text": s.text} for s in transcript.segments]
    return {**to_json(transcript), "segments": segments, "words": _words(transcript.words)}


def to_final(segment: Segment) -> dict[str, Any]:
    """One segment by itself, as live captions tell it."""
    return {**_times(segment), "text": segment.text, "words": _words(segment.words), "language": segment.language}


def to_progress(done_s: float, duration_s: float | None) -> dict[str, Any]:
    """How far a file is transcribed."""
    return {"done_s": round(done_s, 3), "duration_s": None if duration_s is None else round(duration_s, 3)}


def _times(of: Segment | Word) -> dict[str, float]:
    return {"start": round(of.start, 3), "end": round(of.end, 3)}


def _words(words: tuple[Word, ...]) -> list[dict[str, Any]]:
    return [{"text": word.text, **_times(word)} for word in words]

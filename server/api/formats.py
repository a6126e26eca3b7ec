"""A transcript as text, SRT, WebVTT or JSON."""

from collections.abc import Callable
from typing import Any

from ..batch.transcribe import Segment, Transcript
from ..speech.cues import Cue, cues
from ..speech.types import Word


def to_json(transcript: Transcript) -> dict[str, Any]:
    """The short answer of POST /api/transcribe."""
    duration = round(transcript.duration, 3)
    return {"transcript": transcript.text, "language": transcript.language, "duration": duration}


def to_verbose_json(transcript: Transcript) -> dict[str, Any]:
    """The same with the segments, and the words where the engine gives their times."""
    segments = [{**_times(s), "text": s.text} for s in transcript.segments if s.text]
    return {**to_json(transcript), "segments": segments, "words": _words(transcript.words)}


def to_final(segment: Segment) -> dict[str, Any]:
    """One segment by itself, as live captions tell it."""
    return {**_times(segment), "text": segment.text, "words": _words(segment.words), "language": segment.language}


def _times(of: Segment | Word) -> dict[str, float]:
    return {"start": round(of.start, 3), "end": round(of.end, 3)}


def _words(words: tuple[Word, ...]) -> list[dict[str, Any]]:
    return [{"text": word.text, **_times(word)} for word in words]


def to_srt(transcript: Transcript) -> str:
    """SubRip: numbered cues."""
    return "\n".join(f"{n}\n{_cue(cue, ',')}" for n, cue in enumerate(cues(transcript.segments), 1))


def to_vtt(transcript: Transcript) -> str:
    """WebVTT (W3C); the three characters with a meaning in cue text are escaped."""
    return "\n".join(["WEBVTT\n", *(_cue(cue, ".", _escape) for cue in cues(transcript.segments))])


def _cue(cue: Cue, point: str, written: Callable[[str], str] = str) -> str:
    return "\n".join([f"{_time(cue.start, point)} --> {_time(cue.end, point)}", *map(written, cue.lines), ""])


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(ms: int, point: str) -> str:
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"

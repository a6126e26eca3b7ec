"""A transcript as text, SRT, WebVTT or JSON."""

from collections.abc import Callable
from typing import Any

from ..batch.transcribe import Transcript
from ..speech.cues import Cue, cues


def to_json(transcript: Transcript) -> dict[str, Any]:
    """The short answer of POST /api/transcribe."""
    duration = round(transcript.duration, 3)
    return {"transcript": transcript.text, "language": transcript.language, "duration": duration}


def to_verbose_json(transcript: Transcript) -> dict[str, Any]:
    """The same with the segments, and the words where the engine gives their times."""
    segments = [
        {"start": round(s.start, 3), "end": round(s.end, 3), "text": s.text} for s in transcript.segments if s.text
    ]
    words = [{"text": w.text, "start": round(w.start, 3), "end": round(w.end, 3)} for w in transcript.words]
    return {**to_json(transcript), "segments": segments, "words": words}


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

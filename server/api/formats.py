"""A transcript as text, SRT, WebVTT or JSON."""

from typing import Any

from ..batch.transcribe import Transcript


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
    """SubRip: a numbered cue for each segment."""
    spoken = [s for s in transcript.segments if s.text]
    cues = [f"{n}\n{_time(s.start, ',')} --> {_time(s.end, ',')}\n{s.text}\n" for n, s in enumerate(spoken, 1)]
    return "\n".join(cues)


def to_vtt(transcript: Transcript) -> str:
    """WebVTT (W3C): a cue for each segment; the three characters with a meaning in cue text are escaped."""
    cues = [
        f"{_time(s.start, '.')} --> {_time(s.end, '.')}\n{_escape(s.text)}\n" for s in transcript.segments if s.text
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(seconds: float, point: str) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"

"""Cues as files: SubRip and WebVTT."""

from collections.abc import Callable, Iterable

from .cues import Cue, Final, cues


def srt(finals: Iterable[Final]) -> str:
    """SubRip: numbered cues."""
    return "\n".join(f"{n}\n{_cue(cue, ',')}" for n, cue in enumerate(cues(finals), 1))


def vtt(finals: Iterable[Final]) -> str:
    """WebVTT (W3C); the three characters with a meaning in cue text are escaped."""
    return "\n".join(["WEBVTT\n", *(_cue(cue, ".", _escape) for cue in cues(finals))])


def _cue(cue: Cue, point: str, written: Callable[[str], str] = str) -> str:
    return "\n".join([f"{_time(cue.start, point)} --> {_time(cue.end, point)}", *map(written, cue.lines), ""])


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(ms: int, point: str) -> str:
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"

"""POST /api/transcribe: a whole file, for scripts and for browsers whose WebSocket is blocked."""

import json
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.datastructures import FormData

from ..batch.transcribe import Transcript
from ..errors import RequestInvalid
from ..speech import subtitles
from . import formats, messages
from .events import Events
from .service import Service
from .upload import Upload, file_of, transcribed

JSON = {"json": formats.to_json, "verbose_json": formats.to_verbose_json}
TEXT: dict[str, Callable[[Transcript], Response]] = {
    "text": lambda t: PlainTextResponse(f"{t.text}\n"),
    "srt": lambda t: PlainTextResponse(subtitles.srt(t.segments), media_type="application/x-subrip"),
    "vtt": lambda t: PlainTextResponse(subtitles.vtt(t.segments), media_type="text/vtt"),
}

router = APIRouter()


@router.post("/api/transcribe")
async def transcribe_file(request: Request) -> Response:
    """Multipart field `file`; optional `language`, `prompt`, `format`; events for who accepts `text/event-stream`."""
    return Upload(partial(_answer, stream=wants_events(request)))


def wants_events(request: Request) -> bool:
    kinds = ",".join(request.headers.getlist("accept")).lower().split(",")
    return any(kind.split(";")[0].strip() == "text/event-stream" for kind in kinds)


async def _answer(form: FormData, state: Service, events: Events, *, stream: bool) -> Response | str:
    file = file_of(form)
    format = _field(form, "format") or "json"
    known = [*JSON] if stream else [*JSON, *TEXT]
    if format not in known:
        raise RequestInvalid(f"expected one of {', '.join(known)}", param="format")
    options = messages.options({name: _field(form, name) for name in ("language", "prompt")})
    read = partial(transcribed, file, state, language=state.language(options.language), prompt=options.prompt or "")
    if not stream:
        transcript = await read()
        make = TEXT.get(format) or (lambda t: JSONResponse(JSON[format](t)))
        return await to_thread.run_sync(make, transcript, limiter=state.files)  # cues of hours take a second
    finals = count(1)
    transcript = await read(
        publish=lambda segment: events.tell(_line("final", utterance=next(finals), **formats.to_final(segment))),
        progress=lambda *seconds: events.tell(_line("progress", **formats.to_progress(*seconds)), passing=True),
    )
    return await to_thread.run_sync(lambda: _line("done", **JSON[format](transcript)), limiter=state.files)


def _line(type: str, **told: Any) -> str:
    return json.dumps({"type": type, **told}, ensure_ascii=False, separators=(",", ":"))


def _field(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""

"""POST /v1/audio/transcriptions and GET /v1/models: whole files for programs that speak OpenAI's API.

The same uploads as POST /api/transcribe, asked for and answered in other words.
"""

import json
import zlib
from collections.abc import Callable
from functools import partial
from math import ceil
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from ..batch.transcribe import Segment, Transcript
from ..engines.languages import NAMES
from ..errors import RequestInvalid
from ..speech.agreement import appending
from . import messages
from .auth import credential
from .batch import TEXT
from .errors import openai_error, response
from .events import Events
from .service import Service, service
from .upload import Upload, file_of, transcribed

PATH = "/v1/audio/transcriptions"
STREAMED = ("json", "text")

router = APIRouter()


@router.post(PATH)
async def transcriptions(_request: Request) -> Response:
    """Fields as in OpenAI's reference; docs/clients.md tells which have an effect."""
    return Upload(_answer, partial(response, path=PATH), lambda fault: _line(error=openai_error(fault)))


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """The server's engine, as the only model."""
    return {"object": "list", "data": [_model(request)]}


@router.get("/v1/models/{id:path}")
async def model(request: Request, id: str) -> dict[str, Any]:
    """The engine, if it is called so."""
    found = _model(request)
    if id != found["id"]:
        raise HTTPException(404, f"expected {found['id']}, got {id[:100]}")
    return found


def _model(request: Request) -> dict[str, Any]:
    state = service(request)
    state.auth.check(credential(request))
    return {"id": state.pool.engine.name.replace(" ", "-"), "object": "model", "created": 0, "owned_by": "sotto"}


async def _answer(form: FormData, state: Service, events: Events) -> Response | str:
    file = file_of(form)
    format = _text(form, "response_format") or "json"
    if format not in (known := [*JSON, *TEXT]):
        raise RequestInvalid(f"expected one of {', '.join(known)}", param="response_format")
    stream = _text(form, "stream").lower() in ("true", "1")
    if stream and format not in STREAMED:
        raise RequestInvalid(f"expected {' or '.join(STREAMED)} with stream, got {format}", param="response_format")
    languages = _texts(form, "languages")
    prompt = ". ".join(filter(None, [", ".join(_texts(form, "keywords")), _text(form, "prompt")]))
    wish = _text(form, "language") or (languages[0] if len(languages) == 1 else "")
    options = messages.options({"language": wish, "prompt": prompt})
    read = partial(transcribed, file, state, language=state.language(options.language), prompt=options.prompt or "")
    if not stream:
        transcript = await read()
        make = TEXT.get(format) or (lambda t: JSONResponse(JSON[format](t)))
        return await to_thread.run_sync(make, transcript, limiter=state.files)  # cues of hours take a second
    append = appending()

    def publish(segment: Segment) -> None:
        if delta := append(segment.text):
            events.tell(_line(type="transcript.text.delta", delta=delta))

    transcript = await read(publish=publish, progress=lambda *_: events.allow())
    return _line(type="transcript.text.done", text=transcript.text, usage=_usage(transcript))


def to_json(transcript: Transcript) -> dict[str, Any]:
    return {"text": transcript.text, "usage": _usage(transcript)}


def to_verbose_json(transcript: Transcript) -> dict[str, Any]:
    """With every key of Whisper's; the texts of the segments, one after the other, are the text."""
    append = appending()
    spoken = [(segment, text) for segment in transcript.segments if (text := append(segment.text))]
    language = transcript.language or ""
    return {
        "task": "transcribe",
        "language": NAMES.get(language, language),
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
        "segments": [_segment(id, segment, text) for id, (segment, text) in enumerate(spoken)],
        "words": [{"word": w.text, "start": round(w.start, 3), "end": round(w.end, 3)} for w in transcript.words],
        "usage": _usage(transcript),
    }


JSON: dict[str, Callable[[Transcript], dict[str, Any]]] = {"json": to_json, "verbose_json": to_verbose_json}


def _segment(id: int, segment: Segment, text: str) -> dict[str, Any]:
    """What no engine here tells is 0, and `tokens` is empty: those of our engines are not Whisper's."""
    data = text.encode()
    return {
        "id": id,
        "seek": int(segment.start * 100),  # Whisper counts in windows of 10 ms, and each segment is read by itself
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(segment.logprob or 0.0, 3),
        "compression_ratio": round(len(data) / len(zlib.compress(data)), 3),  # as Whisper has it
        "no_speech_prob": round(segment.no_speech or 0.0, 3),
    }


def _usage(transcript: Transcript) -> dict[str, Any]:
    return {"type": "duration", "seconds": ceil(transcript.duration)}


def _line(**told: Any) -> str:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def _text(form: FormData, name: str) -> str:
    return next(iter(_texts(form, name)), "")


def _texts(form: FormData, name: str) -> list[str]:
    """A field that may be repeated; the libraries write `[]` behind its name."""
    return [value for key in (name, f"{name}[]") for value in form.getlist(key) if isinstance(value, str)]

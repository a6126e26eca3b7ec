"""POST /api/transcribe: a whole file, for scripts and for browsers whose WebSocket is blocked."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.datastructures import FormData, UploadFile
from starlette.types import Message

from ..audio.vad import Vad
from ..batch.transcribe import Transcript, transcribe
from ..engines.base import EngineError, Speech
from ..errors import AudioTooLarge, EngineUnavailable, RequestInvalid
from ..speech.types import Hypothesis
from . import formats
from .service import new_id, service

OVERHEAD = 65_536  # bytes of a multipart body that are not the file: boundaries, headers, the other fields

ANSWERS: dict[str, Callable[[Transcript], Response]] = {
    "json": lambda t: JSONResponse(formats.to_json(t)),
    "verbose_json": lambda t: JSONResponse(formats.to_verbose_json(t)),
    "text": lambda t: PlainTextResponse(f"{t.text}\n"),
    "srt": lambda t: PlainTextResponse(formats.to_srt(t), media_type="application/x-subrip"),
    "vtt": lambda t: PlainTextResponse(formats.to_vtt(t), media_type="text/vtt"),
}

router = APIRouter()


@router.post("/api/transcribe")
async def transcribe_file(request: Request) -> Response:
    """Multipart field `file`; optional `language`, `prompt` and `format`."""
    state = service(request)
    async with bounded(request, state.limits.max_upload_bytes).form(max_files=1, max_fields=20) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise RequestInvalid("expected a multipart form with the field file", param="file")
        answer = ANSWERS.get(_field(form, "format") or "json")
        if answer is None:
            raise RequestInvalid(f"expected one of {', '.join(ANSWERS)}", param="format")
        language = state.language(_field(form, "language"))
        key = new_id("upload")

        async def ask(speech: Speech) -> Hypothesis:
            return await state.pool.transcribe(key, speech)

        try:
            transcript = await transcribe(
                file.file,
                ask,
                Vad(state.vad).push,
                limiter=state.cpu,
                longest=state.pool.engine.longest,
                longest_s=state.limits.max_upload_s,
                language=language,
                prompt=_field(form, "prompt"),
            )
        except EngineError as error:
            raise EngineUnavailable(f"the engine could not transcribe this: {error}") from error
    return answer(transcript)


def bounded(request: Request, most: int) -> Request:
    """The same request, whose body ends with AudioTooLarge as soon as it is too long, whatever its headers say."""
    too_large = AudioTooLarge(f"expected a file of at most {most} bytes", param="file")
    limit = most + OVERHEAD
    declared: Any = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    came = 0

    async def receive() -> Message:
        nonlocal came
        message = await request.receive()
        came += len(message.get("body", b""))
        if came > limit:
            raise too_large
        return message

    return Request(request.scope, receive)


def _field(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""

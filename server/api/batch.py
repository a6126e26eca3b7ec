"""POST /api/transcribe: a whole file, for scripts and for browsers whose WebSocket is blocked."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import anyio
from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from ..audio.vad import Vad
from ..batch.transcribe import Transcript, transcribe
from ..engines.base import EngineError, Speech
from ..errors import AudioTooLarge, Draining, EngineUnavailable, IdleTimeout, Overloaded, RequestInvalid, SottoError
from ..speech.types import Hypothesis
from . import formats, messages
from .auth import credential
from .errors import response
from .service import STOPPED, Service, new_id, service

BODY_S = 30.0  # seconds in which some of a body must come
LINGER_S = 5.0  # seconds in which a client that was refused may go on sending, before its connection is cut
OVERHEAD = 65_536  # bytes of a multipart body that are not the file: boundaries, headers, the other fields

ANSWERS: dict[str, Callable[[Transcript], Response]] = {
    "json": lambda t: JSONResponse(formats.to_json(t)),
    "verbose_json": lambda t: JSONResponse(formats.to_verbose_json(t)),
    "text": lambda t: PlainTextResponse(f"{t.text}\n"),
    "srt": lambda t: PlainTextResponse(formats.to_srt(t), media_type="application/x-subrip"),
    "vtt": lambda t: PlainTextResponse(formats.to_vtt(t), media_type="text/vtt"),
}

router = APIRouter()
log = logging.getLogger("sotto")


@router.post("/api/transcribe")
async def transcribe_file(request: Request) -> Response:
    """Multipart field `file`; optional `language`, `prompt` and `format`."""
    state = service(request)
    if state.draining:
        return Refusal(Draining(STOPPED))
    try:
        state.auth.check(credential(request))
    except SottoError as fault:
        return Refusal(fault)

    async def answer() -> Response:
        async with bounded(request, state.limits.max_upload_bytes).form(max_files=1, max_fields=20) as form:
            return await beside(disconnect(request), _answer(form, state))

    try:
        with admitted(state):
            return await beside(state.stopped(), answer())
    except (TooMuch, Overloaded) as fault:
        return Refusal(fault)
    except (IdleTimeout, Draining) as fault:
        refused = response(fault)
        refused.headers["Connection"] = "close"  # what is left of the body would be read as the next request
        return refused
    except ClientDisconnect:
        return Response(status_code=400)  # nobody reads it


@contextmanager
def admitted(state: Service) -> Iterator[None]:
    """One of the uploads under way. Raises Overloaded."""
    if state.uploads >= state.limits.max_uploads:
        raise Overloaded(f"{state.limits.max_uploads} files are being transcribed", retry_after_s=5)
    state.uploads += 1
    try:
        yield
    finally:
        state.uploads -= 1


async def beside(watch: Awaitable[NoReturn], work: Awaitable[Response]) -> Response:
    """What `work` returns, unless it or `watch` raises before."""

    async def watching() -> None:
        await watch

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watching)
            answer = await work
            tasks.cancel_scope.cancel()
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return answer


async def disconnect(request: Request) -> NoReturn:
    """After the body: raises ClientDisconnect when nobody waits for the answer any more."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect


async def _answer(form: FormData, state: Service) -> Response:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise RequestInvalid("expected a multipart form with the field file", param="file")
    answer = ANSWERS.get(_field(form, "format") or "json")
    if answer is None:
        raise RequestInvalid(f"expected one of {', '.join(ANSWERS)}", param="format")
    options = messages.options({name: _field(form, name) for name in ("language", "prompt")})
    language = state.language(options.language)
    key = new_id("upload")

    async def ask(speech: Speech) -> Hypothesis:
        async with state.file_calls:
            return await state.pool.transcribe(key, speech)

    try:
        transcript = await transcribe(
            file.file,
            ask,
            Vad(state.vad).push,
            limiter=state.files,
            longest=state.pool.longest,
            longest_s=state.limits.max_upload_s,
            language=language,
            prompt=options.prompt or "",
        )
    except EngineError as error:
        log.warning("%s: %s", key, error)
        fault = EngineUnavailable("the engine could not transcribe this; the server's log tells why")
        fault.retryable = error.retryable
        raise fault from error
    log.info("%s: done, %.1f s of audio", key, transcript.duration)
    return await to_thread.run_sync(answer, transcript, limiter=state.files)  # cues of hours take a second


class TooMuch(AudioTooLarge):
    """The body of a request is too long, and most of it has not been read."""


class Refusal(Response):
    """Says so at once, and then takes in what is still being sent: a connection cut too early loses the answer."""

    def __init__(self, fault: SottoError) -> None:
        super().__init__()
        self._answer = response(fault)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def keep_open(message: Message) -> None:
            more = {"more_body": True} if message["type"] == "http.response.body" else {}
            await send({**message, **more})

        await self._answer(scope, receive, keep_open)
        with anyio.move_on_after(LINGER_S):
            while (await receive()).get("more_body"):
                pass
        await send({"type": "http.response.body", "body": b""})


def bounded(request: Request, most: int) -> Request:
    """The same request, whose body ends with TooMuch as soon as it is too long, whatever its headers say.

    Where nothing comes for long it ends with IdleTimeout.
    """
    too_large = TooMuch(f"expected a file of at most {most} bytes", param="file")
    limit = most + OVERHEAD
    declared: Any = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    came = 0

    async def receive() -> Message:
        nonlocal came
        with anyio.move_on_after(BODY_S) as waited:
            message = await request.receive()
        if waited.cancelled_caught:
            raise IdleTimeout(f"nothing of the file came for {BODY_S:g} s", param="file")
        came += len(message.get("body", b""))
        if came > limit:
            raise too_large
        return message

    return Request(request.scope, receive)


def _field(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""

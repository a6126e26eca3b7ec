"""What every route for whole files shares: take one in within bounds, transcribe it, and answer whoever still waits."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Any, NoReturn

import anyio
from fastapi import Request, Response
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from ..audio.vad import Vad
from ..batch.isolated import decoded
from ..batch.transcribe import Segment, Transcript, transcribe
from ..engines.base import EngineError, Speech
from ..errors import AudioTooLarge, Draining, EngineUnavailable, IdleTimeout, Overloaded, RequestInvalid, SottoError
from ..speech.types import Hypothesis
from . import messages
from .auth import credential
from .errors import new_request_id, response
from .events import Events
from .service import STOPPED, Service, new_id, service

BODY_S = 30.0  # seconds in which some of a body must come
SLOWEST = 1024  # bytes a second on the whole: the poorest mobile line has more; with less, few could keep others out …
PATIENCE_S = 60.0  # … but not before so many seconds: lines break, and most files are through by then
LINGER_S = 5.0  # seconds in which a client that was refused may go on sending, before its connection is cut
OVERHEAD = 65_536  # bytes of a multipart body that are not the file: boundaries, headers, the other fields
IN_MEMORY = 1_048_576  # bytes of a file; a larger one is on disk
FIELDS = 100  # of the form, besides the file
FIELDS_BYTES = 2_097_152  # of them all, in memory; OpenAI's have up to four voices to know again, of 430 kB each
FORM = "expected a multipart form with the field file"

log = logging.getLogger("sotto")


Answer = Callable[[FormData, Service, Events], Awaitable[Response | str]]
Take = Callable[[Request, int], AbstractAsyncContextManager[FormData]]


def told(fault: SottoError) -> str:
    """A fault as an event of Sotto's own stream."""
    return messages.error(fault, new_request_id())


class Upload(Response):
    """The response of a route for whole files: takes the form in by `take`, and sends what `answer` makes of it.

    `answer` is given the form, the service, and the events; it returns a response, or the last event. What it raises
    becomes a response by `refuse`, or an event by `broke` once a stream has begun. It is cancelled when the client goes
    away, or has no time left because the server is being stopped. Whoever has the whole answer finds the place free
    for another file.
    """

    def __init__(
        self,
        answer: Answer,
        refuse: Callable[[SottoError], Response] = response,
        broke: Callable[[SottoError], str] = told,
        take: Take | None = None,
    ) -> None:
        super().__init__()
        self._make, self._refuse, self._broke, self._take = answer, refuse, broke, take or form_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            at_the_door(request)
        except SottoError as fault:
            await Refusal(self._refuse(fault))(scope, receive, send)
            return
        state = service(request)
        state.answers += 1
        try:
            if answer := await self._answer(request, Events(send)):
                await answer(scope, receive, read_whole(send))
        finally:
            state.answers -= 1

    async def _answer(self, request: Request, events: Events) -> Response | None:
        """What is still to be sent: None after events, or when nobody reads it."""
        answer: Response | None = None
        with suppress(ClientDisconnect):
            async with beside(events.flow):
                try:
                    made = await self._made(request, events)
                    if isinstance(made, str):
                        events.tell(made)
                    else:
                        answer = made
                except SottoError as fault:
                    answer = self._refusal(fault)
                    if events.begun:
                        events.tell(self._broke(fault))
                except Exception:
                    if not events.begun:
                        raise
                    log.exception("%s failed", request.url.path)
                    events.tell(self._broke(SottoError("something went wrong here; the log tells more")))
                events.close()
        return None if events.begun else answer

    async def _made(self, request: Request, events: Events) -> Response | str:
        state = service(request)
        with admitted(state):
            async with unless(state.stopped), self._take(request, state.limits.max_upload_bytes) as form:
                async with unless(partial(disconnect, request)):
                    return await self._make(form, state, events)

    def _refusal(self, fault: SottoError) -> Response:
        answer = self._refuse(fault)
        if isinstance(fault, NoForm | TooMuch | TooMany):
            return Refusal(answer)
        if isinstance(fault, IdleTimeout | Draining):
            answer.headers["Connection"] = "close"  # what is left of the body would be read as the next request
        return answer


def file_of(form: FormData) -> UploadFile:
    """The field `file`. Raises RequestInvalid."""
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise RequestInvalid(FORM, param="file")
    return file


async def transcribed(
    file: UploadFile,
    state: Service,
    *,
    language: str | None = None,
    prompt: str = "",
    publish: Callable[[Segment], None] = lambda segment: None,
    progress: Callable[[float, float | None], None] = lambda done_s, duration_s: None,
) -> Transcript:
    """The text of an upload; `language` is one of Service.language.

    `publish` gets each segment, in order, as soon as it is there; `progress` gets the seconds up to which all is
    transcribed, and the file's length where it is known. Raises AudioCorrupt, UnsupportedFormat, AudioTooLarge
    (all of them before the first progress, as far as the file's beginning tells), Overloaded, EngineUnavailable.
    """
    key = new_id("upload")

    async def ask(speech: Speech) -> Hypothesis:
        async with state.file_calls:
            return await state.pool.transcribe(key, speech)

    try:
        async with decoded(file.file, longest_s=state.limits.max_upload_s) as sound:
            transcript = await transcribe(
                sound.read,
                ask,
                Vad(state.vad).push,
                limiter=state.files,
                longest=state.pool.longest,
                language=language,
                prompt=prompt,
                publish=publish,
                progress=lambda done_s: progress(done_s, sound.duration),
            )
    except EngineError as error:
        log.warning("%s: %s", key, error)
        fault = EngineUnavailable("the engine could not transcribe this; the server's log tells why")
        fault.retryable = error.retryable
        raise fault from error
    log.info("%s: done, %.1f s of audio", key, transcript.duration)
    return transcript


# -- taking it in --------------------------------------------------------------------------------------------------


def at_the_door(request: Request) -> None:
    """Before any of the body. Raises Draining, and what Auth.check does."""
    state = service(request)
    if state.draining:
        raise Draining(STOPPED)
    state.auth.check(credential(request))


@contextmanager
def admitted(state: Service) -> Iterator[None]:
    """One of the uploads under way. Raises Overloaded."""
    if state.uploads >= state.limits.max_uploads:
        raise TooMany(f"{state.limits.max_uploads} files are being transcribed", retry_after_s=5)
    state.uploads += 1
    try:
        yield
    finally:
        state.uploads -= 1


@asynccontextmanager
async def form_of(request: Request, most: int) -> AsyncIterator[FormData]:
    """The multipart form, its file on disk until the block ends. Raises RequestInvalid, and what `bounded` does."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise NoForm(FORM, param="file")  # its fields are not even looked for: of other forms that takes long
    limited = bounded(request, most)
    try:
        form = await Form(limited.headers, limited.stream(), max_files=1, max_fields=FIELDS).parse()
    except MultiPartException as error:
        raise NoForm(error.message) from None
    try:
        yield form
    finally:
        with anyio.CancelScope(shield=True):
            await form.close()


class Form(MultiPartParser):
    """Bounds what all fields have in memory together; Starlette's own only bounds each."""

    _left = FIELDS_BYTES

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current_part.file is None:
            self._left -= end - start
            if self._left < 0:
                raise MultiPartException(f"expected at most {FIELDS_BYTES} bytes besides the file")
        super().on_part_data(data, start, end)


@asynccontextmanager
async def body_of(request: Request, most: int) -> AsyncIterator[FormData]:
    """The body as the file of a form without other fields. Raises what `bounded` does."""
    with SpooledTemporaryFile(max_size=IN_MEMORY) as kept:
        file = UploadFile(kept)  # type: ignore[arg-type]  # it has all that a BinaryIO has, but not its name
        async for chunk in bounded(request, most).stream():
            await file.write(chunk)
        await file.seek(0)
        yield FormData([("file", file)])


class TooMany(Overloaded):
    """Too many files are under way, and nothing of this one has been read."""


class NoForm(RequestInvalid):
    """The body of a request is something else, and most of it has not been read."""


class TooMuch(AudioTooLarge):
    """The body of a request is too long, and most of it has not been read."""


def bounded(request: Request, most: int) -> Request:
    """The same request, whose body ends with TooMuch as soon as it is too long, whatever its headers say.

    Where nothing comes for long, or little for longer, it ends with IdleTimeout.
    """
    too_large = TooMuch(f"expected a file of at most {most} bytes", param="file")
    limit = most + OVERHEAD
    declared: Any = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    began, came = anyio.current_time(), 0

    async def receive() -> Message:
        nonlocal came
        with anyio.move_on_after(BODY_S) as waited:
            message = await request.receive()
        if waited.cancelled_caught:
            raise IdleTimeout(f"nothing of the file came for {BODY_S:g} s", param="file")
        came += len(message.get("body", b""))
        if came > limit:
            raise too_large
        seconds = anyio.current_time() - began
        if message.get("more_body") and seconds > PATIENCE_S and came < SLOWEST * seconds:
            raise IdleTimeout(f"expected {SLOWEST} bytes a second, got {came / seconds:.0f}", param="file")
        return message

    return Request(request.scope, receive)


def read_whole(send: Send) -> Send:
    """Returns from the end of an answer when nearly all is read: for that uvicorn waits only with what comes after."""

    async def waiting(message: Message) -> None:
        if message.get("body") and not message.get("more_body"):
            await send({**message, "more_body": True})
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    return waiting


class Refusal(Response):
    """Says so at once, and then takes in what is still being sent: a connection cut too early loses the answer.

    It is cut in the end: on one that is kept for another request, uvicorn would take all the rest in, however long.
    """

    def __init__(self, answer: Response) -> None:
        super().__init__()
        answer.headers["Connection"] = "close"
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def keep_open(message: Message) -> None:
            more = {"more_body": True} if message["type"] == "http.response.body" else {}
            await send({**message, **more})

        await self._answer(scope, receive, keep_open)
        with anyio.move_on_after(LINGER_S):
            while (await receive()).get("more_body"):
                pass
        await send({"type": "http.response.body", "body": b""})


# -- watching meanwhile --------------------------------------------------------------------------------------------


@asynccontextmanager
async def beside(work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Runs `work` during the block and to its end; what either raises ends both."""
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            yield
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


@asynccontextmanager
async def unless(watch: Callable[[], Awaitable[NoReturn]]) -> AsyncIterator[None]:
    """The block, cut short by what `watch` raises."""
    over = anyio.CancelScope()

    async def watching() -> None:
        with over:
            await watch()

    async with beside(watching):
        yield
        over.cancel()


async def disconnect(request: Request) -> NoReturn:
    """After the body: raises ClientDisconnect when nobody waits for the answer any more."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect

"""WS /api/captions: the native live protocol."""

import logging
from dataclasses import replace

import anyio
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from .. import live
from ..audio import probe, raw
from ..audio.ingest import Ingest
from ..errors import AudioTooLarge, Draining, IdleTimeout, RequestInvalid, SessionTooLong, SottoError, TooManySessions
from ..live import Command, Output, Warning
from ..rooms.outbox import Outbox
from ..speech.session import Session
from ..speech.types import Caption
from . import messages
from .errors import new_request_id
from .inbox import Inbox
from .messages import Finalize, Recording, Start, Stop
from .service import STOPPED, Service, new_id, service

SEND_S = 30.0  # seconds a message may take to leave, and all of them at the end; a reader this slow is gone
CLOSE_S = 5.0  # seconds to say goodbye

router = APIRouter()
log = logging.getLogger("sotto")


@router.websocket("/api/captions")
async def captions(socket: WebSocket) -> None:
    """One live session; see docs/protocol.md."""
    await socket.accept()
    connection = Connection(socket, service(socket))
    try:
        await connection.serve()
    finally:
        connection.close()


class Gone(Exception):
    """The client closed the socket."""


class Connection:
    """One client: what it says goes into the inbox, what it is told comes from the outbox, the session is between."""

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self._socket = socket
        self._service = service
        self.id = new_id("s")
        self._inbox = Inbox(service.limits.max_backlog_bytes)
        self._outbox = Outbox()
        self._options = Start()
        self._started = False  # too late for options
        self._session = Session(service.policy)
        self._finals = 0  # published so far
        self._ingest: Ingest | None = None

    async def serve(self) -> None:
        """Until the client or a fault ends it; always closes the socket with a code that says why."""
        fault: SottoError | None = None
        gone = False
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._send)
                try:
                    await self._run()
                except* Gone:
                    raise
                except* Exception as group:
                    fault = self._fault(group)
                self._outbox.close()  # what was published before a fault is read before it
                tasks.cancel_scope.deadline = anyio.current_time() + SEND_S
        except* Gone:
            gone = True
        except* Exception as group:
            fault = self._fault(group)
        if gone:
            log.info("session %s: the client left", self.id)
        else:
            await self._say_goodbye(fault)

    def close(self) -> None:
        """Delete the session's files and forget it."""
        self._service.sessions.discard(self.id)
        if self._ingest:
            self._ingest.close()

    def _fault(self, group: ExceptionGroup[Exception]) -> SottoError:
        """What the client is told: its own fault, or that one of ours is in the log."""
        known, unknown = group.split(SottoError)
        if unknown is None and known is not None:
            return _first(known)
        log.error("session %s failed", self.id, exc_info=unknown)
        return SottoError("something went wrong here; the log tells more")

    async def _run(self) -> None:
        self._enter()
        self._options = messages.options(dict(self._socket.query_params))
        self._service.language(self._options.language)
        room = self._options.room or self.id
        limits = {"session_s": self._service.limits.session_s, "idle_s": self._service.limits.idle_s}
        self._outbox.put(messages.ready(self.id, room, self._service.pool.engine.name, limits))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._receive)
            tasks.start_soon(self._leave_in_time)
            tasks.start_soon(self._service.stopped)
            await self._caption()
            tasks.cancel_scope.cancel()
        spent = self._session
        self._outbox.put(messages.done(spent.time, spent.spoken, spent.sent, spent.finals))
        log.info("session %s: done, %.1f s of audio, %d finals", self.id, spent.time, spent.finals)

    def _enter(self) -> None:
        service = self._service
        if service.draining:
            raise Draining(STOPPED)
        if len(service.sessions) >= service.limits.max_sessions:
            raise TooManySessions(f"all {service.limits.max_sessions} sessions are taken", retry_after_s=5)
        service.sessions.add(self.id)
        log.info("session %s: started", self.id)

    async def _leave_in_time(self) -> None:
        """When the server is being stopped, what was said until now is made final."""
        await self._service.stopping.wait()
        self._inbox.fail(Draining(STOPPED))

    # -- the client speaks -------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        """Drain the socket for ever; what is wrong with it is told to the session in its turn."""
        deadline = anyio.current_time() + self._service.limits.session_s
        idle_s = self._service.limits.idle_s
        try:
            while True:
                with anyio.fail_after(idle_s):
                    message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    raise Gone
                if anyio.current_time() > deadline:
                    raise SessionTooLong(f"a session lasts at most {self._service.limits.session_s:g} s")
                await self._take(message.get("bytes"), message.get("text"))
        except TimeoutError:
            self._inbox.fail(IdleTimeout(f"nothing came for {idle_s:g} s"))
        except SottoError as fault:
            self._inbox.fail(fault)
        await self._drain()

    async def _drain(self) -> None:
        """After a fault nothing the client says counts any more, but its leaving does."""
        while (await self._socket.receive())["type"] != "websocket.disconnect":
            pass
        raise Gone

    async def _take(self, data: bytes | None, text: str | None) -> None:
        size = len(data or b"") + len(text or "")
        most = self._service.limits.max_message_bytes
        if size > most:
            raise AudioTooLarge(f"a message has at most {most} bytes, this one has {size}")
        if text is not None:
            await self._command(text)
        elif data:
            self._started = True
            await self._inbox.put(data)

    async def _command(self, text: str) -> None:
        match messages.read(text):
            case Start() as options:
                if self._started:
                    raise RequestInvalid("start comes before the first sound, finalize and stop")
                self._options = options.over(self._options)
                self._service.language(self._options.language)
            case Recording():
                self._started = True
                await self._inbox.put(Command.RECORDING)
            case Finalize():
                self._started = True
                await self._inbox.put(Command.FINALIZE)
            case Stop():
                self._started = True
                await self._inbox.put(Command.STOP)

    # -- the session -------------------------------------------------------------------------------------------

    async def _caption(self) -> None:
        service = self._service
        first = await self._inbox.get()  # by now the options are known
        waiting: list[live.Input] = [first]

        async def receive() -> live.Input:
            return waiting.pop() if waiting else await self._inbox.get()

        options, policy = self._options, service.policy
        audio = options.audio
        self._ingest = Ingest(
            service.vad,
            service.folder,
            parse=raw.parse(audio.encoding, audio.sample_rate, audio.channels) if audio else probe.parse,
            suffix=f".{audio.encoding.removeprefix('pcm_')}" if audio else "",
            keep_samples=service.pool.wants_samples,
            keep=service.recordings and service.recordings / self.id,
        )
        if options.interim is False:
            policy = replace(policy, partials=False)
        self._session = Session(policy, language=service.language(options.language), prompt=options.prompt or "")
        await live.caption(
            receive,
            self._ingest,
            self._session,
            service.pool,
            self._publish,
            cpu=service.cpu,
            stall_s=service.limits.stall_s,
        )

    def _publish(self, told: Output) -> None:
        match told:
            case Warning():
                log.warning("session %s: %s, %s", self.id, told.code, told.message)
                self._outbox.put(messages.warning(told))
            case Caption(final=True):
                self._outbox.drop(told.utterance)
                self._finals += 1
                self._outbox.put(messages.caption(told, self._finals))
            case _ if self._options.interim is not False:
                self._outbox.put(messages.caption(told, 0), key=told.utterance)

    # -- the client is told ------------------------------------------------------------------------------------

    async def _send(self) -> None:
        try:
            while (message := await self._outbox.next()) is not None:
                with anyio.fail_after(SEND_S):
                    await self._socket.send_text(message)
        except (WebSocketDisconnect, TimeoutError, RuntimeError):
            raise Gone from None

    async def _say_goodbye(self, fault: SottoError | None) -> None:
        try:
            with anyio.fail_after(CLOSE_S):
                if fault is None:
                    return await self._socket.close(1000)
                request_id = new_request_id()
                log.info("session %s: %s, %s (%s)", self.id, fault.code, fault.message, request_id)
                await self._socket.send_text(messages.error(fault, request_id))
                await self._socket.close(fault.close, fault.code)
        except (WebSocketDisconnect, TimeoutError, RuntimeError):
            log.info("session %s: the client left", self.id)


def _first(group: BaseExceptionGroup[SottoError]) -> SottoError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, SottoError)
    return error

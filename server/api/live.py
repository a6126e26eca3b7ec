"""WS /api/captions: the native live protocol."""

import logging
import time
from dataclasses import replace
from typing import NoReturn

import anyio
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from .. import live
from ..audio import probe, raw
from ..audio.ingest import Ingest
from ..audio.packet import Place
from ..errors import (
    AudioTooLarge,
    Draining,
    IdleTimeout,
    RequestInvalid,
    SessionTooLong,
    SottoError,
    Superseded,
    TooManySessions,
)
from ..live import Command, Output, Settled, Warning
from ..rooms.outbox import Outbox
from ..speech.session import Session
from ..speech.types import Caption, Mark
from ..tickets import Samples, Ticket, open_ticket, seal
from . import messages
from .errors import new_request_id
from .inbox import Inbox
from .messages import Finalize, Recording, Resume, Start, Stop
from .service import STOPPED, Service, new_id, service
from .sessions import SUPERSEDED, Hold

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
        self._inbox = Inbox(service.limits.max_backlog_bytes)
        self._outbox = Outbox()
        self._options = Start()
        self._ticket = Ticket(id := new_id("s"), id, 1, Place(), Mark(), 0.0)  # the newest: how the session stands
        self._file = id  # the name of a recording that is kept
        self._hold: Hold | None = None
        self._lost = anyio.Event()  # another connection has taken the session over
        self._begun = False  # a ticket was given out
        self._started = False  # audio has arrived: too late for options
        self._stopped = False  # the client said so
        self._deadline = anyio.current_time() + service.limits.session_s
        self._ingest: Ingest | None = None

    @property
    def id(self) -> str:
        return self._ticket.session

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
                if isinstance(fault, Draining) and self._hold:
                    self._outbox.put(messages.reconnect(self._seal()))
                self._outbox.close()  # what was published before a fault is read before it
                tasks.cancel_scope.deadline = anyio.current_time() + SEND_S
        except* Gone:
            gone = True
        except* Exception as group:
            fault = self._fault(group)
        if gone or self._away:
            log.info("session %s: the client left", self.id)
        else:
            await self._say_goodbye(fault)

    def close(self) -> None:
        """Delete the session's files and forget it."""
        if self._hold:
            self._service.sessions.leave(self._hold)
        if self._ingest:
            self._ingest.close()

    @property
    def _away(self) -> bool:
        return self._hold is not None and self._hold.away

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
        self._choose()
        self._greet()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._receive)
            tasks.start_soon(self._leave_in_time)
            tasks.start_soon(self._leave_to_another)
            tasks.start_soon(self._renew)
            tasks.start_soon(self._service.stopped)
            spent = await self._caption()
            tasks.cancel_scope.cancel()
        self._outbox.put(messages.done(spent.time, spent.spoken, spent.sent, spent.finals))
        log.info("session %s: done, %.1f s of audio, %d finals", self.id, spent.time, spent.finals)

    def _enter(self) -> None:
        service = self._service
        if service.draining:
            raise Draining(STOPPED)
        if service.sessions.connected >= service.limits.max_sessions:
            raise TooManySessions(f"all {service.limits.max_sessions} sessions are taken", retry_after_s=5)
        self._hold = service.sessions.open(self.id, self._lose)
        log.info("session %s: started", self.id)

    def _choose(self) -> None:
        """The ticket tells what the options are, for whoever goes on."""
        options, language = self._options, self._service.language(self._options.language)
        told = options.audio
        audio = Samples(told.encoding, told.sample_rate, told.channels) if told else None
        self._ticket = replace(
            self._ticket, room=options.room or self.id, mark=Mark(language=language), prompt=options.prompt or "",
            interim=options.interim is not False, audio=audio,
        )  # fmt: skip

    def _greet(self) -> None:
        limits = self._service.limits
        told = {"session_s": limits.session_s, "idle_s": limits.idle_s, "resume_s": limits.resume_s}
        engine, ticket = self._service.pool.engine.name, self._ticket
        self._outbox.put(messages.ready(ticket.session, ticket.room, engine, told, ticket.place.recording))

    # -- tickets -----------------------------------------------------------------------------------------------

    def _resume(self, sealed: str) -> None:
        if self._begun:
            raise RequestInvalid("resume comes first, instead of start", param="type")
        assert self._hold
        service, now = self._service, time.time()
        ticket = open_ticket(sealed, service.secret, now)
        service.language(ticket.mark.language)
        hold = service.sessions.take(ticket.session, ticket.generation, self._lose, now)
        service.sessions.leave(self._hold)
        log.info("session %s: goes on in %s, connection %d", self.id, ticket.session, hold.generation)
        self._hold, self._ticket = hold, replace(ticket, generation=hold.generation)
        self._file = f"{ticket.session}-{self._file}"  # the part before may lie beside it
        self._started = True
        self._deadline -= ticket.mark.time
        self._greet()
        self._acknowledge()
        self._outbox.put(messages.resumed(self._ticket))

    def _lose(self) -> None:
        """From this moment on nothing more is published here."""
        self._outbox.discard()
        self._lost.set()

    async def _leave_to_another(self) -> NoReturn:
        await self._lost.wait()
        raise Superseded(SUPERSEDED)

    def _seal(self) -> str:
        self._ticket = replace(self._ticket, expires=time.time() + self._service.limits.resume_s)
        return seal(self._ticket, self._service.secret)

    def _acknowledge(self) -> None:
        """By itself; a final brings its own."""
        self._begun = True
        self._outbox.drop(messages.ack)  # unsent, and this one says more; but it must not come before a final
        sealed = self._seal()
        self._outbox.put(messages.ack(self._ticket, sealed), key=messages.ack)

    async def _renew(self) -> None:
        """Also in a long pause the newest ticket is a good one."""
        while True:
            await anyio.sleep(self._service.limits.resume_s / 2)
            if self._begun:
                self._acknowledge()

    async def _leave_in_time(self) -> None:
        """When the server is being stopped, what was said until now is made final."""
        await self._service.stopping.wait()
        self._inbox.fail(Draining(STOPPED))

    # -- the client speaks -------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        """Drain the socket for ever; what is wrong with it is told to the session in its turn."""
        idle_s = self._service.limits.idle_s
        try:
            while True:
                with anyio.fail_after(idle_s):
                    message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return await self._vanish()
                if anyio.current_time() > self._deadline:
                    raise SessionTooLong(f"a session lasts at most {self._service.limits.session_s:g} s")
                await self._take(message.get("bytes"), message.get("text"))
        except TimeoutError:
            self._inbox.fail(IdleTimeout(f"nothing came for {idle_s:g} s"))
        except SottoError as fault:
            self._inbox.fail(fault)
        await self._drain()

    async def _vanish(self) -> None:
        """Without a word; after some time its last ones are made final. If it comes back, this session is lost."""
        service = self._service
        waits = service.limits.resume_grace_s > 0 and len(service.sessions) <= 2 * service.limits.max_sessions
        if not self._started or self._stopped or service.draining or not waits:
            raise Gone
        assert self._hold
        self._hold.away = True
        self._outbox.discard()
        log.info("session %s: the client vanished after %d finals", self.id, self._ticket.mark.finals)
        with anyio.move_on_after(service.limits.resume_grace_s):
            await service.stopping.wait()
        await self._inbox.put(Command.STOP)

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
            await self._say(data)

    async def _command(self, text: str) -> None:
        match messages.read(text):
            case Start() as options:
                if self._started:
                    raise RequestInvalid("start comes before the first sound, finalize and stop")
                self._options = options.over(self._options)
                self._choose()
                self._acknowledge()
            case Resume(ticket=ticket):
                self._resume(ticket)
            case Recording():
                await self._say(Command.RECORDING)
            case Finalize():
                await self._say(Command.FINALIZE)
            case Stop():
                self._stopped = True
                await self._say(Command.STOP)

    async def _say(self, said: live.Input) -> None:
        assert self._hold
        self._service.sessions.prove(self._hold, time.time())
        self._started = True
        if not self._begun and (isinstance(said, bytes) or said is Command.RECORDING):
            self._acknowledge()
        await self._inbox.put(said)

    # -- the session -------------------------------------------------------------------------------------------

    async def _caption(self) -> Session:
        service = self._service
        first = await self._inbox.get()  # by now the options are known
        waiting: list[live.Input] = [first]

        async def receive() -> live.Input:
            return waiting.pop() if waiting else await self._inbox.get()

        ticket, policy = self._ticket, service.policy
        audio = ticket.audio
        self._ingest = Ingest(
            service.vad,
            service.folder,
            parse=raw.parse(audio.encoding, audio.rate, audio.channels) if audio else probe.parse,
            suffix=f".{audio.encoding.removeprefix('pcm_')}" if audio else "",
            keep_samples=service.pool.wants_samples,
            keep=service.recordings and service.recordings / self._file,
            origin=ticket.place,
        )
        if not ticket.interim:
            policy = replace(policy, partials=False)
        language = service.language(ticket.mark.language)
        session = Session(policy, language=language, prompt=ticket.prompt, mark=ticket.mark)
        await live.caption(
            receive,
            self._ingest,
            session,
            service.pool,
            self._publish,
            cpu=service.cpu,
            stall_s=service.limits.stall_s,
        )
        return session

    def _publish(self, told: Output) -> None:
        match told:
            case Warning():
                log.warning("session %s: %s, %s", self.id, told.code, told.message)
                self._outbox.put(messages.warning(told))
            case Caption():
                if self._ticket.interim:
                    self._outbox.put(messages.partial(told), key=told.utterance)
            case Settled(mark, place, final):
                self._ticket = replace(self._ticket, mark=mark, place=place)
                if final is None:
                    return self._acknowledge()
                self._outbox.drop(final.utterance)
                sealed = self._seal()
                self._outbox.put(messages.final(final, self._ticket, sealed))

    # -- the client is told ------------------------------------------------------------------------------------

    async def _send(self) -> None:
        try:
            while (message := await self._outbox.next()) is not None:
                with anyio.fail_after(SEND_S):
                    await self._socket.send_text(message)
        except TimeoutError:
            raise Gone from None
        except (WebSocketDisconnect, RuntimeError):
            self._outbox.discard()  # whoever listens to the socket hears that it is gone

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

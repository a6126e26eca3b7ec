"""WS /api/captions: the native live protocol."""

import logging
import time
from dataclasses import replace

import anyio
from fastapi import APIRouter, WebSocket

from .. import live
from ..errors import AuthExpired, Draining, RequestInvalid, SottoError
from ..live import Command, Output, Settled, Warning
from ..speech.session import Session
from ..speech.types import Caption, Mark
from ..tickets import Samples, open_ticket, seal
from . import messages
from .auth import credential, subprotocol
from .line import Chore, Line, Refusal
from .messages import Finalize, Push, Recording, Resume, Start, Stop
from .service import Service, service

BEAT_S = 5.0  # seconds between two looks whether the client was told anything: it hears something every 10 s

router = APIRouter()
log = logging.getLogger("sotto")


@router.websocket("/api/captions")
async def captions(socket: WebSocket) -> None:
    """One live session; see docs/protocol.md."""
    await socket.accept(subprotocol(socket))
    connection = Connection(socket, service(socket))
    try:
        await connection.serve()
    finally:
        connection.close()


class Connection(Line):
    """A client that may leave and come back, with the newest ticket it was given."""

    resumes = True
    protocol = "native"

    def __init__(self, socket: WebSocket, service: Service) -> None:
        super().__init__(socket, service)
        self._options = Start()
        self._begun = False  # a ticket was given out
        self._expired: AuthExpired | None = None  # its token was good once, which is enough to come back

    def greet(self) -> None:
        try:
            self.service.auth.check(credential(self.socket) or self.socket.query_params.get("token"))
        except AuthExpired as fault:
            self._expired = fault
            return
        self._options = messages.options(dict(self.socket.query_params))
        self._choose()
        self._say_ready()

    def _choose(self) -> None:
        """The ticket tells what the options are, for whoever goes on."""
        options, language = self._options, self.service.language(self._options.language)
        told = options.audio
        audio = Samples(told.encoding, told.sample_rate, told.channels) if told else None
        self.ticket = replace(
            self.ticket, room=options.room or self.id, mark=Mark(language=language), prompt=options.prompt or "",
            interim=options.interim is not False, audio=audio,
        )  # fmt: skip
        self._send_to(options.push)

    def _send_to(self, push: Push | None) -> None:
        try:
            self.outputs = self.service.outputs.named(push.model_dump(exclude_none=True) if push else {})
        except ValueError as fault:
            raise RequestInvalid(str(fault), param="push") from None

    def _say_ready(self) -> None:
        limits = self.service.limits
        told = {"session_s": limits.session_s, "idle_s": limits.idle_s, "resume_s": limits.resume_s}
        engine, ticket = self.service.pool.engine.name, self.ticket
        self.outbox.put(messages.ready(ticket.session, ticket.room, engine, told, ticket.place.recording))

    # -- the client speaks -------------------------------------------------------------------------------------

    async def take(self, said: bytes | str) -> None:
        message = said if isinstance(said, bytes) else messages.read(said)
        if self._expired and not isinstance(message, Resume):
            raise self._expired
        match message:
            case bytes():
                await self.say(message)
            case Start() as options:
                if self.started:
                    raise RequestInvalid("start comes before the first sound, finalize and stop")
                self._options = options.over(self._options)
                self._choose()
                await self.enter_room()
                self._acknowledge()
            case Resume():
                await self._resume(message)
            case Recording():
                await self.say(Command.RECORDING)
            case Finalize():
                await self.say(Command.FINALIZE)
            case Stop():
                await self.say(Command.STOP)

    async def say(self, said: live.Input) -> None:
        assert self.hold
        self.service.sessions.prove(self.hold, time.time())
        if not self._begun and (isinstance(said, bytes) or said is Command.RECORDING):
            self._acknowledge()
        await super().say(said)

    # -- it leaves and comes back ------------------------------------------------------------------------------

    async def vanish(self) -> None:
        """Without a word; after some time its last ones are made final. If it comes back, this session is lost."""
        self.go_on_alone()
        if not self.stopped:
            with anyio.move_on_after(self.service.limits.resume_grace_s):
                await self.service.stopping.wait()
                return  # as everybody else it is likely to go on at the next server
            await self.inbox.put(Command.LEAVE)
            await self.inbox.put(Command.STOP)

    async def _resume(self, wish: Resume) -> None:
        """What is in the room and not in the ticket was lost on its way to the client, which is told it again."""
        if self._begun or self.started:
            raise RequestInvalid("resume comes first, instead of start", param="type")
        assert self.hold
        service, now = self.service, time.time()
        ticket = open_ticket(wish.ticket, service.secret, now)
        self._send_to(wish.push)
        service.language(ticket.mark.language)
        hold = service.sessions.take(ticket.session, ticket.generation, self.lose, now)
        service.sessions.leave(self.hold)
        self.hold, self._expired = hold, None
        self.ticket = ticket  # a server that is being stopped now must not give out that of a session of no sound
        missed = await self.claim_room(ticket, hold)
        log.info("session %s: goes on in %s, connection %d", self.id, ticket.session, hold.generation)
        service.metrics.resumes.inc()
        self.ticket = replace(ticket, generation=hold.generation)
        self.file = f"{ticket.session}-{self.file}"  # the part before may lie beside it
        self.started = True
        self.deadline -= max(0.0, now - (ticket.began or now))
        self._say_ready()
        for kept in missed:
            later = open_ticket(kept.ticket, service.secret, now)
            self.ticket = replace(later, generation=hold.generation, offset=kept.offset)
            self.outbox.put(messages.final(kept.shown, self.ticket, self._seal()))
        self._acknowledge()
        self.outbox.put(messages.resumed(self.ticket))

    def _seal(self) -> str:
        self.ticket = replace(self.ticket, expires=time.time() + self.service.limits.resume_s)
        return seal(self.ticket, self.service.secret)

    def _acknowledge(self) -> None:
        """By itself; a final brings its own."""
        self._begun = True
        self.outbox.drop(messages.ack)  # unsent, and this one says more; but it must not come before a final
        sealed = self._seal()
        self.outbox.put(messages.ack(self.ticket, sealed), key=messages.ack)

    def chores(self) -> tuple[Chore, ...]:
        return (self._beat,)

    async def _beat(self) -> None:
        """However long the pause, the newest ticket is a good one, and the client sees that the line is alive."""
        while True:
            known = self.ticket.expires
            await anyio.sleep(min(BEAT_S, self.service.limits.resume_s / 4))
            if self._begun and self.ticket.expires == known:  # no ticket was given out meanwhile
                self._acknowledge()

    # -- the client is told ------------------------------------------------------------------------------------

    def publish(self, told: Output) -> None:
        match told:
            case Warning():
                log.warning("session %s: %s, %s", self.id, told.code, told.message)
                self.outbox.put(messages.warning(told))
            case Caption():
                if self.ticket.interim:
                    self.outbox.put(messages.partial(self.id, told), key=told.utterance)
            case Settled(final=None):
                self._acknowledge()
            case Settled(final=Caption() as final):
                self.outbox.drop(final.utterance)
                sealed = self._seal()
                self.outbox.put(messages.final(messages.shown(final, self.ticket), self.ticket, sealed))

    def farewell(self, spent: Session) -> None:
        self.outbox.put(messages.done(spent.time, spent.spoken, spent.sent, spent.finals))

    def refusal(self, fault: SottoError, request_id: str) -> Refusal:
        told = [messages.error(fault, request_id)]
        if isinstance(fault, Draining) and self.hold:
            told.insert(0, messages.reconnect(self._seal()))
        return Refusal(told, fault.close, fault.code)

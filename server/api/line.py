"""A client's WebSocket and the session behind it, whatever protocol the two speak.

The socket is always drained, and one task writes to it. What the client says goes into the inbox, what it is told comes
from the outbox, and `live.caption` is between them. What that publishes goes to the room first, one thing after the
other: a final is stored before its client is told, so that whoever goes on with the session knows of it. A protocol is
a subclass: it tells what a message means, and how a caption or a fault is told.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from math import inf
from typing import Any, ClassVar, NoReturn

import anyio
from fastapi import WebSocket, WebSocketDisconnect

from .. import live
from ..audio import probe, raw
from ..audio.ingest import Ingest
from ..audio.packet import Place
from ..errors import AudioTooLarge, Draining, IdleTimeout, SessionTooLong, SottoError, Superseded
from ..live import Command, Left, Output, Settled, Warning
from ..meter import Meter
from ..push.courier import Courier, Destination, Told
from ..rooms.base import Final, Kept, Said, Speaker
from ..rooms.outbox import Outbox
from ..speech.session import Session
from ..speech.types import Caption, Mark
from ..tickets import Ticket, seal
from . import messages
from .errors import new_request_id
from .inbox import Inbox
from .service import STOPPED, Service, new_id
from .sessions import SUPERSEDED, Hold

SEND_S = 30.0  # seconds a message may take to leave, and all of them at the end; a reader this slow is gone
CLOSE_S = 5.0  # seconds to say goodbye
STOP = 4500  # close codes from here on mean: do not come back
STORE_AWAY = "captions cannot be kept, and who follows elsewhere does not see them, until this is over"
STORE_BACK = "captions are kept again, those in between too"

Chore = Callable[[], Coroutine[Any, Any, None]]

log = logging.getLogger("sotto")


class Gone(Exception):
    """The client closed the socket."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Messages in order, then the close; the reason has at most 123 bytes."""

    messages: list[str]
    code: int
    reason: str


class Line(ABC):
    """One client. The socket is accepted; `serve` ends with its close, `close` gives back what the session held."""

    resumes: ClassVar[bool] = False  # it can go on elsewhere with what it was told
    protocol: ClassVar[str]  # its name in the metrics

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self.socket = socket
        self.service = service
        self.policy = service.policy
        self.ticket = Ticket(id := new_id("s"), id, 1, Place(), Mark(), 0.0)  # what the session is, and how it stands
        self.idle_s = service.limits.idle_s  # a protocol may know better, here and below
        self.max_message_bytes = service.limits.max_message_bytes
        self.inbox = Inbox(service.limits.max_backlog_bytes)
        self.outbox: Outbox[str] = Outbox()
        self._published: Outbox[Output] = Outbox()  # on the way to the room and then to the client
        self.hold: Hold | None = None
        self.started = False  # something was said that counts: too late for options
        self.stopped = False  # the client said that nothing more comes
        self.deadline = anyio.current_time() + service.limits.session_s
        self.file = id  # the name of a recording that is kept
        self._lost = anyio.Event()  # another connection has taken the session over
        self._ingest: Ingest | None = None
        self._speaker: Speaker | None = None  # what the room knows
        self._left: float = inf  # the first utterance that may end in mid-word, because the client left
        self.outputs: list[Destination] = []  # where else its finals are told
        self._couriers: list[Courier] | None = None

    # -- what a protocol tells ---------------------------------------------------------------------------------

    @abstractmethod
    def greet(self) -> None:
        """The client is let in: `ticket` and `policy` are what it wishes from now on. Raises SottoError.

        Comes twice where the client has knocked.
        """

    @abstractmethod
    async def take(self, said: bytes | str) -> None:
        """A message of the client. Raises SottoError."""

    @abstractmethod
    def publish(self, told: Output) -> None:
        """Tell the client. Must not wait."""

    @abstractmethod
    def farewell(self, spent: Session) -> None:
        """All was said and told; the socket is about to be closed with 1000."""

    @abstractmethod
    def refusal(self, fault: SottoError, request_id: str) -> Refusal:
        """How the client is told that a fault ends the session."""

    def chores(self) -> tuple[Chore, ...]:
        """What else is done as long as the session lasts."""
        return ()

    async def vanish(self) -> None:
        """The socket is gone. What was said is still made final, for the room; what is raised ends that too."""
        self.go_on_alone()
        await self.inbox.put(Command.STOP)

    # -- the life of a line ------------------------------------------------------------------------------------

    def knock(self) -> SottoError | None:
        """What forbids this session before it begins; where a program could read it as the answer to its upgrade."""
        try:
            self.service.admit()
            self.greet()
        except SottoError as fault:
            return fault
        return None

    @property
    def id(self) -> str:
        return self.ticket.session

    async def serve(self) -> None:
        """Until the client or a fault ends it; always closes the socket with a code that says why."""
        fault: SottoError | None = None
        gone = False
        try:
            async with anyio.create_task_group() as tasks:
                try:
                    await self._enter()
                    tasks.start_soon(self._send)
                    await self._run()
                except* Gone:
                    raise
                except* Exception as group:
                    fault = self._fault(group)
                self.outbox.close()  # what was published before a fault is read before it
                tasks.cancel_scope.deadline = anyio.current_time() + SEND_S
        except* Gone:
            gone = True
        except* Exception as group:
            fault = self._fault(group)
        gone = gone or (self.hold is not None and self.hold.away)
        await self._leave_room(fault)
        end = "left" if gone else fault.code if fault else "done"
        self.service.metrics.ended.labels(self.protocol, end).inc()
        if gone:
            log.info("session %s: the client left", self.id)
        else:
            await self._say_goodbye(fault)

    def close(self) -> None:
        """Delete the session's files and forget it."""
        self.service.rooms.changed.discard(self._tell_of_store)
        if self.hold:
            self.service.sessions.leave(self.hold)
        self.service.outputs.dismiss(self._couriers or [])
        if self._ingest:
            self._ingest.close()

    def lose(self) -> None:
        """From this moment on nothing more is published here."""
        self._published.discard()
        self.outbox.discard()
        self._lost.set()

    def go_on_alone(self) -> None:
        """The session goes on without its client. Raises Gone where there is nothing to go on with."""
        service = self.service
        waits = service.limits.resume_grace_s > 0 and len(service.sessions) <= 2 * service.limits.max_sessions
        if not self.started or not waits or (service.draining and not self.stopped):
            raise Gone
        assert self.hold
        self.hold.away = True
        self.outbox.discard()
        log.info("session %s: the client vanished after %d finals", self.id, self.ticket.mark.finals)

    def _fault(self, group: ExceptionGroup[Exception]) -> SottoError:
        """What the client is told: its own fault, or that one of ours is in the log."""
        known, unknown = group.split(SottoError)
        if unknown is None and known is not None:
            return _first(known)
        log.error("session %s failed", self.id, exc_info=unknown)
        return SottoError("something went wrong here; the log tells more")

    async def _run(self) -> None:
        async with anyio.create_task_group() as tasks:
            own: tuple[Chore, ...] = (self._receive, self._leave_in_time, self._leave_to_another, self.service.stopped)
            for chore in own + self.chores():
                tasks.start_soon(chore)
            spent = await self._caption()
            tasks.cancel_scope.cancel()
        if spent.time:
            self.service.metrics.cost.observe(spent.sent / spent.time)
        self.farewell(spent)
        log.info("session %s: done, %.1f s of audio, %d finals", self.id, spent.time, spent.finals)

    async def _enter(self) -> None:
        """Until this returns the client is told nothing: where it is told of its room, the room is there."""
        self.service.admit()
        self.hold = self.service.sessions.open(self.id, self.lose)
        log.info("session %s: started", self.id)
        self.greet()
        await self.enter_room()
        self.service.rooms.changed.add(self._tell_of_store)
        if self.service.rooms.away:
            self._tell_of_store(True)

    async def _leave_to_another(self) -> NoReturn:
        await self._lost.wait()
        raise Superseded(SUPERSEDED)

    async def _leave_in_time(self) -> None:
        """When the server is being stopped, what was said until now is made final."""
        await self.service.stopping.wait()
        self.inbox.fail(Draining(STOPPED))

    # -- the client speaks -------------------------------------------------------------------------------------

    async def say(self, said: live.Input) -> None:
        """The client said this to the session. Waits only while more is held than may be."""
        self.started = True
        if not self.ticket.began:
            self.ticket = replace(self.ticket, began=time.time())
        if said is Command.STOP:
            self.stopped = True
        await self.inbox.put(said)

    async def _receive(self) -> None:
        """Drain the socket for ever; what is wrong with it is told to the session in its turn."""
        idle_s = self.idle_s
        try:
            while True:
                with anyio.move_on_after(min(idle_s, self.deadline - anyio.current_time())) as waiting:
                    message = await self.socket.receive()
                if not waiting.cancelled_caught and message["type"] == "websocket.disconnect":
                    return await self.vanish()
                if anyio.current_time() >= self.deadline:
                    raise SessionTooLong(f"a session lasts at most {self.service.limits.session_s:g} s")
                if waiting.cancelled_caught:
                    if self.resumes and self.started:
                        await self.inbox.put(Command.LEAVE)  # it may be gone without a sign: its words are kept back
                    raise IdleTimeout(f"nothing came for {idle_s:g} s")
                await self._take(message.get("bytes"), message.get("text"))
        except SottoError as fault:
            self.inbox.fail(fault)
        await self._drain()

    async def _take(self, data: bytes | None, text: str | None) -> None:
        said = data if text is None else text
        most = self.max_message_bytes
        if said and len(said) > most:
            raise AudioTooLarge(f"a message has at most {most} bytes, this one has {len(said)}")
        if said or text is not None:
            await self.take(said or "")

    async def _drain(self) -> None:
        """After a fault nothing the client says counts any more, but its leaving does."""
        while (await self.socket.receive())["type"] != "websocket.disconnect":
            pass
        raise Gone

    # -- the session -------------------------------------------------------------------------------------------

    async def _caption(self) -> Session:
        service = self.service
        first = await self.inbox.get()  # by now the options are known
        waiting: list[live.Input] = [first]

        async def receive() -> live.Input:
            return waiting.pop() if waiting else await self.inbox.get()

        ticket, policy = self.ticket, self.policy
        audio = ticket.audio
        self._ingest = Ingest(
            service.vad,
            service.folder,
            parse=raw.parse(audio.encoding, audio.rate, audio.channels) if audio else probe.parse,
            suffix=f".{audio.encoding.removeprefix('pcm_')}" if audio else "",
            keep_samples=service.pool.wants_samples,
            keep=service.recordings and service.recordings / self.file,
            origin=ticket.place,
        )
        if not ticket.interim:
            policy = replace(policy, partials=False)
        language = service.language(ticket.mark.language)
        session = Session(policy, language=language, prompt=ticket.prompt, mark=ticket.mark)
        fault: SottoError | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep)
            try:
                await live.caption(
                    receive,
                    self._ingest,
                    session,
                    service.pool,
                    self._queue,
                    cpu=service.cpu,
                    meter=Meter(service.metrics, anyio.current_time),
                    stall_s=service.limits.stall_s,
                    resumes=self.resumes,
                )
            except SottoError as error:  # what was said before it is told before it
                fault = error
            self._published.close()
        if fault:
            raise fault
        return session

    # -- the room ----------------------------------------------------------------------------------------------

    @property
    def named_room(self) -> str:
        """As the address names it, which every protocol leaves room for. Raises RequestInvalid."""
        return messages.room_name(self.socket.query_params.get("room") or self.id)

    async def enter_room(self) -> None:
        """`ticket.room` is the session's room from now on, and no other any more."""
        rooms, former = self.service.rooms, self._speaker
        self._speaker = Speaker(self.ticket.room, self.id, self.ticket.generation, self.ticket.offset)
        if former and former.room != self._speaker.room:
            await rooms.close(former, over=True)
        await rooms.open(self._speaker)

    async def claim_room(self, ticket: Ticket, hold: Hold) -> list[Kept]:
        """The session of a ticket goes on here, and `hold` knows as which generation; the finals its client missed.

        Raises Superseded for a ticket that is older than what the client is known to have.
        """
        rooms, former = self.service.rooms, self._speaker
        self._speaker = Speaker(ticket.room, ticket.session, hold.generation, ticket.offset)
        if former:
            await rooms.close(former, over=True)
        claim = await rooms.claim(self._speaker, ticket.generation, ticket.mark.utterance)
        hold.generation = claim.generation
        self._speaker = replace(self._speaker, generation=claim.generation)
        return claim.missed

    async def _leave_room(self, fault: SottoError | None) -> None:
        if self._speaker is None:
            return
        returns = self.resumes and self.started
        if isinstance(fault, Superseded):
            over = False
        elif fault:
            over = fault.close >= STOP or not returns
        else:
            over = self.stopped or not returns
        await self.service.rooms.close(self._speaker, over)

    def _queue(self, told: Output) -> None:
        key = told.utterance if isinstance(told, Caption) else None
        if isinstance(told, Settled) and told.final:
            self._published.drop(told.final.utterance)
        self._published.put(told, key)

    async def _keep(self) -> None:
        """Give the room what was published, then the client."""
        try:
            while (told := await self._published.next()) is not None:
                match told:
                    case Left(utterance):
                        self._left = utterance
                    case Settled(mark, place, Caption(utterance) as final) if utterance >= self._left:
                        self._store_later(final, replace(self.ticket, mark=mark, place=place))
                        continue
                    case Settled(mark, place, final):
                        ticket = replace(self.ticket, mark=mark, place=place)
                        self.ticket = await self._store(final, ticket) if final else ticket
                        if final:
                            self._send_out(final)
                    case Caption():
                        self._show(told)
                self.publish(told)
        except Superseded:
            self.lose()
            raise

    async def _store(self, final: Caption, ticket: Ticket) -> Ticket:
        """The ticket behind this final, which is in the room, or held for it until the store is back."""
        told, next = ticket.offset, replace(ticket, offset=ticket.offset + 1)
        with anyio.CancelScope(shield=True):  # what is in the room goes to the other places as well; soon done
            offset = await self.service.rooms.append(self._final(final, told, next))
        if offset is None:
            self._show(replace(final, stable=len(final.text)))
            return next
        return replace(next, offset=offset)

    def _store_later(self, final: Caption, ticket: Ticket) -> None:
        """When the client cannot come back any more: until then it may, and say the broken word again."""
        self.service.rooms.append_later(self._final(final, ticket.offset, ticket))
        self._show(replace(final, stable=len(final.text)))

    def _final(self, final: Caption, told: int, ticket: Ticket) -> Final:
        """On its way into the room, with the ticket behind it; `told` is the newest offset that the client knows."""
        assert self._speaker
        sealed = self.seal(ticket) if self.resumes else ""
        return Final(replace(self._speaker, offset=told), final.utterance, messages.shown(final, ticket), sealed)

    def _show(self, caption: Caption) -> None:
        """A partial, or a final that has no offset yet, to whoever follows at the moment."""
        rooms, room = self.service.rooms, self.ticket.room
        if rooms.watched(room):
            rooms.show(room, Said(self.id, caption.utterance, messages.partial(self.id, caption)))

    def _send_out(self, final: Caption) -> None:
        ticket = self.ticket
        if self._couriers is None:
            self._couriers = self.service.outputs.send(self.outputs)
        told = Told(self.id, ticket.room, ticket.offset, final, ticket.began + final.start)
        for courier in self._couriers:
            courier.put(told)

    def _tell_of_store(self, away: bool) -> None:
        """At once: what is on its way to the room may be waiting for just that store."""
        self.publish(Warning("room.degraded", STORE_AWAY) if away else Warning("room.degraded", STORE_BACK, 0.0))

    def seal(self, ticket: Ticket) -> str:
        """Good from now on for as long as one may come back."""
        return seal(replace(ticket, expires=time.time() + self.service.limits.resume_s), self.service.secret)

    # -- the client is told ------------------------------------------------------------------------------------

    async def _send(self) -> None:
        try:
            while (message := await self.outbox.next()) is not None:
                with anyio.fail_after(SEND_S):
                    await self.socket.send_text(message)
        except TimeoutError:
            raise Gone from None
        except (WebSocketDisconnect, RuntimeError):
            self.outbox.discard()  # whoever listens to the socket hears that it is gone

    async def _say_goodbye(self, fault: SottoError | None) -> None:
        try:
            with anyio.fail_after(CLOSE_S):
                if fault is None:
                    return await self.socket.close(1000)
                request_id = new_request_id()
                log.info("session %s: %s, %s (%s)", self.id, fault.code, fault.message, request_id)
                refusal = self.refusal(fault, request_id)
                for message in refusal.messages:
                    await self.socket.send_text(message)
                await self.socket.close(refusal.code, refusal.reason)
        except (WebSocketDisconnect, TimeoutError, RuntimeError):
            log.info("session %s: the client left", self.id)


def _first(group: BaseExceptionGroup[SottoError]) -> SottoError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, SottoError)
    return error

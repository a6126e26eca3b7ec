"""WS /v1/realtime: OpenAI's live protocol."""

import logging
import time
from collections import deque
from dataclasses import replace
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, WebSocket

from ...errors import AuthInvalid, IdleTimeout, RequestInvalid, SessionTooLong, SottoError
from ...live import Command, Finalized, Output, Warning, Wish
from ...speech.session import Session
from ...speech.types import Mark
from ..auth import blind, credential, subprotocol
from ..errors import openai_error, response
from ..line import Line, Refusal
from ..service import Service, service
from . import client_secrets, events
from .config import Config
from .events import Append, Clear, ClientEvent, Commit, Event, Refused, Update
from .items import Empty, Items

LARGE = 65_536  # characters of an event that is read in a thread
EXPIRED = (SessionTooLong, IdleTimeout)
CREATED = "session.created"  # is told once
REFUSED = 3000  # OpenAI's close code where no retry helps

router = APIRouter()
log = logging.getLogger("sotto")


@router.websocket("/v1/realtime")
async def realtime(socket: WebSocket) -> None:
    """One live session; see docs/clients.md."""
    speaker = Speaker(socket, service(socket))
    fault = speaker.knock()
    if fault and not blind(socket):
        return await socket.send_denial_response(response(fault, path=socket.url.path))
    await socket.accept(subprotocol(socket))
    try:
        await speaker.serve()
    finally:
        speaker.close()


class Speaker(Line):
    """A client that speaks OpenAI's Realtime protocol."""

    protocol = "realtime"

    def __init__(self, socket: WebSocket, service: Service) -> None:
        super().__init__(socket, service)
        limits = service.limits
        # A client may be silent for long, and has no word for being there; who is gone does not answer the pings.
        self.idle_s = limits.session_s
        self.max_message_bytes = limits.max_frame_bytes  # some send a whole recording at once, in base64
        self._expires = int(time.time() + limits.session_s)
        self._config = Config()
        self._items = Items(True, self.policy.preroll)
        self._commits: deque[str | None] = deque()  # the client's ids of those under way
        self._updates: deque[tuple[str, Config]] = deque()  # those under way, with the names of their answers

    def greet(self) -> None:
        self._choose(self._admitted())
        self._put(events.event(CREATED, session=self._session(self._config)), CREATED)

    def _admitted(self) -> Config:
        """How the client's secret, if it has one, configures the session. Raises SottoError."""
        shown, service = credential(self.socket), self.service
        if shown and shown.startswith(client_secrets.PREFIX):
            try:
                return client_secrets.opened(shown, service.secret, time.time())
            except AuthInvalid:
                pass  # OpenAI's own begin so too, and where there are no keys anything will do
        service.auth.check(shown)
        return Config()

    # -- the client speaks -------------------------------------------------------------------------------------

    async def take(self, said: bytes | str) -> None:
        event_id: str | None = None
        try:
            event = await self._read(said)
            event_id = event.event_id
            match event:
                case Append(audio=audio):
                    if audio:
                        await self.say(audio)
                case Update():
                    await self._update(event)
                case Commit():
                    await self._commit(event)
                case Clear():
                    await self._clear()
        except Refused as refused:
            self._refuse(refused.fault, refused.code, refused.event_id)
        except RequestInvalid as fault:
            self._refuse(fault, "invalid_value", event_id)

    async def _read(self, said: bytes | str) -> ClientEvent:
        text = said if isinstance(said, str) else said.decode(errors="replace")
        if len(text) < LARGE:
            return events.read(text)
        return await to_thread.run_sync(events.read, text, limiter=self.service.cpu)

    async def _update(self, event: Update) -> None:
        config = self._config.over(event.session)
        if self.started and config.samples != self._config.samples:
            raise RequestInvalid("the format is that of the first sound", param="session.audio.input.format")
        answer = event.type.removesuffix("update") + "updated"
        policy, language = config.policy(self.service.policy), self.service.language(config.words.expected)
        self._config = config
        if self.started:
            self._updates.append((answer, config))
            await self.say(Wish(policy, language, config.words.terms))
        else:
            self._choose(config)
            self._put(events.event(answer, session=self._session(config)))

    async def _commit(self, event: Commit) -> None:
        if not self.started:
            return self._refuse_empty(event.event_id)
        self._commits.append(event.event_id)
        await self.say(Command.FINALIZE)

    async def _clear(self) -> None:
        if not self.started:
            return self._put(events.event("input_audio_buffer.cleared"))
        await self.say(Command.CLEAR)

    def _choose(self, config: Config) -> None:
        """Before the first sound: all of the session is so."""
        language = self.service.language(config.words.expected)
        self._config, self.policy = config, config.policy(self.service.policy)
        self._items = Items(config.turns is not None, self.policy.preroll)
        self.ticket = replace(
            self.ticket, mark=Mark(language=language), prompt=config.words.terms, audio=config.samples,
            room=self.named_room,
        )  # fmt: skip

    # -- the client is told ------------------------------------------------------------------------------------

    def publish(self, told: Output) -> None:
        match told:
            case Warning():
                log.warning("session %s: %s, %s", self.id, told.code, told.message)
            case Wish():
                answer, config = self._updates.popleft()
                self._items.detects, self._items.lead = config.turns is not None, told.policy.preroll
                self._put(events.event(answer, session=self._session(config)))
            case Finalized(time, asked=True):
                event_id = self._commits.popleft()
                try:
                    self._tell(self._items.commit(time))
                except Empty:
                    self._refuse_empty(event_id)
            case _:
                self._tell(self._items.tell(told))

    def _session(self, config: Config) -> dict[str, Any]:
        """As it is, for the client."""
        told = config.effective(self.service.pool.engine.name, self.service.policy)
        return told | {"id": f"sess{self.id.removeprefix('s')}", "expires_at": self._expires}

    def _refuse_empty(self, event_id: str | None) -> None:
        fault = RequestInvalid("expected at least 100 ms of audio since the last commit, got less")
        self._refuse(fault, "input_audio_buffer_commit_empty", event_id)

    def _refuse(self, fault: RequestInvalid, code: str, event_id: str | None) -> None:
        """The session goes on."""
        self._put(events.error(openai_error(fault) | {"code": code}, event_id))

    def _tell(self, told: list[Event]) -> None:
        for event in told:
            self._put(event)

    def _put(self, event: Event, key: object = None) -> None:
        self.outbox.put(events.dumps(event), key)

    def farewell(self, spent: Session) -> None:
        """Nothing ends a session of this protocol but a fault, or that its client leaves."""

    def refusal(self, fault: SottoError, request_id: str) -> Refusal:
        told = openai_error(fault)
        if isinstance(fault, EXPIRED):
            message = f"the session was as long as one may be here, {self.service.limits.session_s:g} s"
            told |= {"code": "session_expired", "message": message}
        return Refusal([events.dumps(events.error(told))], _close(fault), f"{told['type']}.{told['code']}")


def _close(fault: SottoError) -> int:
    """OpenAI's libraries come back after those of RFC 6455, and not after others."""
    if isinstance(fault, EXPIRED):
        return 1001
    if fault.close < 4000:
        return fault.close
    return 1013 if fault.retryable and fault.status != 401 else REFUSED

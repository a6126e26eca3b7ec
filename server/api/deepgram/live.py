"""WS /v1/listen: Deepgram's live protocol."""

import json
import logging
from dataclasses import replace
from hashlib import sha256
from typing import Any

from fastapi import APIRouter, WebSocket
from pydantic import BaseModel, ValidationError

from ...errors import SottoError
from ...live import Command, Output, Warning
from ...speech.session import Session
from ...speech.types import Mark
from ..auth import blind, credential, subprotocol
from ..errors import response
from ..line import Line, Refusal
from ..service import Service, service
from . import errors
from .about import About
from .options import LiveOptions, read
from .results import Results

router = APIRouter()
log = logging.getLogger("sotto")

INTERIM, ANSWER = "interim", "answer"  # of these only the newest waits to be read
ECHO = 200  # characters of a message nobody understands that are sent back


@router.websocket("/v1/listen")
async def listen(socket: WebSocket) -> None:
    """One live session; see docs/clients.md."""
    listener = Listener(socket, service(socket))
    fault = listener.knock()
    if fault and not blind(socket):
        return await socket.send_denial_response(response(fault, path=socket.url.path))
    await socket.accept(subprotocol(socket), headers=[(b"dg-request-id", listener.about.request_id.encode())])
    try:
        await listener.serve()
    finally:
        listener.close()


class Control(BaseModel):
    """A message of the client; what else is in it is passed over."""

    type: str


class Listener(Line):
    """A client that speaks Deepgram's protocol."""

    protocol = "deepgram"

    def __init__(self, socket: WebSocket, service: Service) -> None:
        super().__init__(socket, service)
        self.about = About(service.pool.engine.name)
        self._options = LiveOptions()
        self._results = Results(self._options, {})
        self._sum = sha256()  # of all bytes that came

    def greet(self) -> None:
        self.service.auth.check(credential(self.socket))
        self._options = options = read(self.socket.query_params, LiveOptions)
        self._results = Results(options, self.about.of_result())
        self.ticket = replace(
            self.ticket, mark=Mark(language=self.service.language(options.language)), prompt=options.prompt,
            interim=options.interim_results, audio=options.samples, room=self.named_room,
        )  # fmt: skip
        if options.endpointing:
            wish, policy = options.endpointing / 1000, self.service.policy
            # Clients ask for 10 and 25 ms. In mid-sentence such a cut takes from the engine what it needs to read well:
            # twice the word errors on a minute of reading. So a short wish counts where a sentence is whole.
            self.policy = replace(policy, endpoint=max(wish, policy.endpoint), endpoint_settled=wish)

    # -- the client speaks -------------------------------------------------------------------------------------

    async def take(self, said: bytes | str) -> None:
        if isinstance(said, bytes):
            self._sum.update(said)
            return await self.say(said)
        match _type(said):
            case "KeepAlive":
                pass
            case "Finalize":
                await self.say(Command.FINALIZE)
            case "CloseStream":
                await self.say(Command.STOP)
            case "Configure":
                self._put(self._unchanged(), ANSWER)
            case _:
                wanted = "expected a JSON object with a type of KeepAlive, Finalize or CloseStream"
                self._put(errors.told("SchemaError", wanted, said[:ECHO]), ANSWER)

    def _unchanged(self) -> dict[str, Any]:
        return {
            "type": "ConfigureFailure",
            "request_id": self.about.request_id,
            "code": "CONFIGURE_KEYTERMS_NOT_SUPPORTED",
            "description": "options are those of the query; begin another session to change them",
        }

    # -- the client is told ------------------------------------------------------------------------------------

    def publish(self, told: Output) -> None:
        if isinstance(told, Warning):
            log.warning("session %s: %s, %s", self.id, told.code, told.message)
        self._tell(self._results.tell(told))

    def _tell(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            interim = message.get("is_final") is False
            if message.get("is_final"):
                self.outbox.drop(INTERIM)
            self._put(message, INTERIM if interim else None)

    def _put(self, message: dict[str, Any], key: str | None = None) -> None:
        self.outbox.put(_json(message), key)

    def farewell(self, spent: Session) -> None:
        channels = self.ticket.audio.channels if self.ticket.audio else 1
        about = self.about.of_all(self._sum.hexdigest(), spent.time, channels)
        self._tell([*self._results.finish(spent.time), {"type": "Metadata", **about}])

    def refusal(self, fault: SottoError, request_id: str) -> Refusal:
        told = errors.message(fault, self.about.request_id)
        return Refusal([_json(told)], *errors.close(fault))


def _type(said: str) -> str | None:
    try:
        return Control.model_validate_json(said).type
    except ValidationError:
        return None


def _json(message: dict[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))

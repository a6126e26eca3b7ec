"""The native live protocol, as docs/protocol.md tells it: what clients say, checked, and what they are told."""

import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from ..errors import RequestInvalid, SottoError
from ..live import Warning
from ..push.address import LONGEST
from ..rooms.room import Gap, State
from ..speech.types import Caption
from ..tickets import LARGEST, Ticket

ROOM = re.compile(r"[A-Za-z0-9_-]{1,64}")
ROOM_NAME = "expected 1 to 64 letters, digits, - or _"
PLACE = re.compile(r"(?:([0-9a-f]{1,32}):)?([0-9]{1,15})")


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Audio(_Message):
    """Headerless samples, little-endian, interleaved."""

    encoding: Literal["pcm_s16le", "pcm_f32le", "mulaw", "pcm_mulaw", "alaw", "pcm_alaw"]
    sample_rate: int = Field(ge=8000, le=192_000)
    channels: int = Field(1, ge=1, le=8)


class Push(_Message):
    """Where else finals are told; an address is a secret, so it is in no query and in no ticket."""

    zoom: str | None = Field(None, max_length=LONGEST)
    youtube: str | None = Field(None, max_length=LONGEST)


class Start(_Message):
    """Options of a session, as the query or as the first message; what is None was not said."""

    type: Literal["start"] = "start"
    language: str | None = Field(None, max_length=35)
    prompt: str | None = Field(None, max_length=2000)
    room: str | None = None
    interim: bool | None = None
    audio: Audio | None = None
    push: Push | None = None

    @field_validator("room")
    @classmethod
    def _room(cls, name: str | None) -> str | None:
        if name is not None and not ROOM.fullmatch(name):
            raise ValueError(ROOM_NAME)
        return name

    def over(self, other: "Start") -> "Start":
        """These options, and the other's where these say nothing."""
        whole = {"audio": self.audio or other.audio, "push": self.push or other.push}
        return other.model_copy(update=self.model_dump(exclude_none=True) | whole)


class Resume(_Message):
    """Instead of a start: go on with the session that this ticket is about."""

    type: Literal["resume"]
    ticket: str = Field(max_length=LARGEST)
    push: Push | None = None


class Recording(_Message):
    type: Literal["recording"]


class Finalize(_Message):
    type: Literal["finalize"]


class Keepalive(_Message):
    type: Literal["keepalive"]


class Stop(_Message):
    type: Literal["stop"]


ClientMessage = Start | Resume | Recording | Finalize | Keepalive | Stop
TYPES = "a type of start, resume, recording, finalize, keepalive or stop"
_CLIENT: TypeAdapter[ClientMessage] = TypeAdapter(Annotated[ClientMessage, Field(discriminator="type")])


def read(text: str) -> ClientMessage:
    """A client's text message. Raises RequestInvalid."""
    try:
        return _CLIENT.validate_json(text)
    except ValidationError as error:
        raise _invalid(error) from None


def options(query: dict[str, str]) -> Start:
    """A session's options from the query. Raises RequestInvalid."""
    try:
        return Start.model_validate({k: v for k, v in query.items() if v and k not in ("type", "audio", "push")})
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> RequestInvalid:
    first = error.errors(include_url=False, include_input=False)[0]
    param = ".".join(
        str(part) for part in first["loc"] if part not in ("start", "resume")
    )  # pydantic begins with the union's tag
    if first["type"] == "json_invalid":
        return RequestInvalid(f"expected a JSON object with {TYPES}, got text that is no JSON")
    if not param:
        return RequestInvalid(f"expected a JSON object with {TYPES}", param="type")
    said = first["msg"][:200].removeprefix("Value error, ").replace("Input should be", "expected")
    return RequestInvalid(f"{param}: {said}", param=param)


def ready(session: str, room: str, engine: str, limits: dict[str, float], recording: int = 0) -> str:
    return _json(type="ready", session=session, room=room, engine=engine, recording=recording, limits=limits)


def partial(session: str, shown: Caption) -> str:
    return _json(type="partial", session=session, **_times(shown), text=shown.text, stable=shown.stable)


def final(shown: str, ticket: Ticket, sealed: str) -> str:
    """With its acknowledgement, so that no crash can come between the two."""
    return _json(type="final", offset=ticket.offset, **members(shown), ack=_ack(ticket, sealed))


def shown(caption: Caption, ticket: Ticket) -> str:
    """What everybody is told of a final: the members of a JSON object, without its braces."""
    words = [{"text": w.text, "start": round(w.start, 3), "end": round(w.end, 3)} for w in caption.words]
    at = {"at": round(ticket.began + caption.start, 3)}
    degraded = {"degraded": True} if caption.degraded else {}
    said = {"text": caption.text, "words": words, "language": caption.language, **degraded}
    return _json(session=ticket.session, **_times(caption), **at, **said)[1:-1]


def members(shown: str) -> dict[str, Any]:
    """The same, read again."""
    found: dict[str, Any] = json.loads(f"{{{shown}}}")
    return found


def _times(shown: Caption) -> dict[str, Any]:
    return {"utterance": shown.utterance, "start": round(shown.start, 3), "end": round(shown.end, 3)}


def ack(ticket: Ticket, sealed: str) -> str:
    return _json(type="ack", **_ack(ticket, sealed))


def resumed(ticket: Ticket) -> str:
    """What the client sends next begins at the ticket's place."""
    about = {"offset": ticket.offset, "generation": ticket.generation}
    return _json(type="resumed", session=ticket.session, **_place(ticket), **about)


def reconnect(sealed: str) -> str:
    return _json(type="reconnect", reason="draining", ticket=sealed)


def _ack(ticket: Ticket, sealed: str) -> dict[str, Any]:
    spent = {"audio_s": round(ticket.mark.time, 2), "billed_s": round(ticket.mark.sent, 2)}
    return {**_place(ticket), **spent, "ticket": sealed}


def _place(ticket: Ticket) -> dict[str, Any]:
    return {"recording": ticket.place.recording, "bytes": ticket.place.bytes, "header": ticket.place.header}


def warning(told: Warning) -> str:
    lag = {} if told.lag is None else {"lag_s": told.lag}
    return _json(type="warning", code=told.code, message=told.message, **lag)


def room(state: State) -> str:
    """To a viewer: what it follows, and whether anybody may still speak there."""
    about = {"room": state.room, "epoch": state.epoch, "live": state.live, "degraded": state.degraded}
    return _json(type="room", **about)


def gap(missed: Gap) -> str:
    """To a viewer: these finals it will not see."""
    return _json(type="gap", first=missed.first, last=missed.last)


def room_name(name: str) -> str:
    """The name, if it is one. Raises RequestInvalid."""
    if not ROOM.fullmatch(name):
        raise RequestInvalid(f"room: {ROOM_NAME}", param="room")
    return name


def place(said: str, param: str) -> tuple[int, str | None]:
    """What a viewer has: an offset, and of which epoch if it says so. Raises RequestInvalid."""
    if not said:
        return 0, None
    if not (found := PLACE.fullmatch(said)):
        raise RequestInvalid(f"{param}: expected an offset, or an epoch and an offset with : between", param=param)
    return int(found[2]), found[1]


def done(audio_s: float, spoken_s: float, billed_s: float, finals: int) -> str:
    seconds = {"audio_s": round(audio_s, 2), "spoken_s": round(spoken_s, 2), "billed_s": round(billed_s, 2)}
    return _json(type="done", **seconds, finals=finals)


def error(fault: SottoError, request_id: str) -> str:
    return _json(type="error", error=error_object(fault, request_id))


def error_object(fault: SottoError, request_id: str) -> dict[str, Any]:
    """The one error object of every interface."""
    return {
        "code": fault.code,
        "message": fault.message,
        "param": fault.param,
        "retryable": fault.retryable,
        "retry_after_s": fault.retry_after_s,
        "request_id": request_id,
    }


def _json(**message: Any) -> str:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))

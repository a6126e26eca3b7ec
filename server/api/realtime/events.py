"""The events of the Realtime protocol: what clients say, checked, and the frame of what they are told."""

import json
from base64 import b64decode
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from ...errors import RequestInvalid
from ..service import new_id

Event = dict[str, Any]

NAME = 512  # characters that a client's own name of an event may have, as there; it is told back


class Refused(Exception):
    """An event that comes to nothing; the session goes on. `event_id` is the client's own name for it."""

    def __init__(self, fault: RequestInvalid, code: str, event_id: str | None) -> None:
        super().__init__(fault.message)
        self.fault, self.code, self.event_id = fault, code, event_id


def _decoded(audio: object) -> bytes:
    if not isinstance(audio, str):
        raise ValueError("expected audio in base64")
    return b64decode(audio, validate=True)


class _ClientEvent(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    event_id: str | None = Field(None, max_length=NAME)


class Update(_ClientEvent):
    """`transcription_session.update` is the name of the beta."""

    type: Literal["session.update", "transcription_session.update"]
    session: dict[str, Any]


class Append(_ClientEvent):
    type: Literal["input_audio_buffer.append"]
    audio: Annotated[bytes, BeforeValidator(_decoded)]


class Commit(_ClientEvent):
    type: Literal["input_audio_buffer.commit"]


class Clear(_ClientEvent):
    type: Literal["input_audio_buffer.clear"]


ClientEvent = Update | Append | Commit | Clear
TYPES = "session.update, input_audio_buffer.append, input_audio_buffer.commit and input_audio_buffer.clear"
_CLIENT: TypeAdapter[ClientEvent] = TypeAdapter(Annotated[ClientEvent, Field(discriminator="type")])


def read(text: str) -> ClientEvent:
    """A client's event. Raises Refused."""
    try:
        said = from_json(text)  # refuses half a surrogate pair, which could not be told back; Python's own reads it
    except ValueError:
        raise Refused(
            RequestInvalid("expected an event in JSON, got text that is none"), "invalid_json", None
        ) from None
    event_id = said.get("event_id") if isinstance(said, dict) else None
    event_id = event_id if isinstance(event_id, str) and len(event_id) <= NAME else None
    try:
        return _CLIENT.validate_python(said)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"].startswith(("union_tag", "model_")):
            kind = str(said.get("type"))[:80] if isinstance(said, dict) else "no object"
            fault = RequestInvalid(f"this server transcribes; it knows {TYPES}, not {kind}", param="type")
            raise Refused(fault, "invalid_value", event_id) from None
        param = ".".join(str(part) for part in first["loc"][1:])
        fault = RequestInvalid(f"{param}: {first['msg'][:200].removeprefix('Value error, ')}", param=param)
        raise Refused(fault, "invalid_value", event_id) from None


def event(type: str, **fields: Any) -> Event:
    """With an id of its own."""
    return {"type": type, "event_id": new_id("event"), **fields}


def error(told: dict[str, Any], event_id: str | None = None) -> Event:
    """`told` has OpenAI's four keys; `event_id` is that of the client's event at fault."""
    return event("error", error=told | {"event_id": event_id})


def dumps(event: Event) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))

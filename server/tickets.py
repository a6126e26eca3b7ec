"""A ticket: what one server signs about a session, so that any other with the same secret can go on with it.

No server keeps anything for a client that may come back. The client keeps the sound that is not final yet, and the
ticket says what all the rest came to. It is signed and not encrypted: its reader is the one it is about.
"""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, fields

from .audio.packet import Place
from .errors import RequestInvalid, ResumeExpired
from .speech.types import Mark

VERSION = "1"
LARGEST = 20_480  # characters; the longest prompt, each of its characters escaped, makes 16,000


@dataclass(frozen=True, slots=True)
class Samples:
    """Headerless sound, which does not tell by itself what it is."""

    encoding: str
    rate: int
    channels: int


@dataclass(frozen=True, slots=True)
class Ticket:
    """A session up to one moment: who, where its sound goes on, and how its captions stand."""

    session: str
    room: str
    generation: int  # counts the connections that the session has had
    place: Place
    mark: Mark
    expires: float  # seconds since 1970: another machine reads it
    prompt: str = ""
    interim: bool = True
    audio: Samples | None = None
    offset: int = 0  # the newest in the room that the client was told
    began: float = 0.0  # seconds since 1970, when the time line was at 0


def seal(ticket: Ticket, secret: bytes) -> str:
    """`1.<what it says>.<HMAC-SHA256 of that>`, both in URL-safe base64."""
    said = json.dumps(_values(ticket), ensure_ascii=False, separators=(",", ":"))
    body = f"{VERSION}.{_text(said.encode())}"
    return f"{body}.{signature(body, secret)}"


def open_ticket(text: str, secret: bytes, now: float) -> Ticket:
    """What a ticket says. Raises RequestInvalid for one that was not sealed so, ResumeExpired for an old one."""
    body, _, signed = text.rpartition(".")
    whole = len(text) <= LARGEST and text.isascii() and body.startswith(f"{VERSION}.")
    # The text of the signature is compared, for base64 has several texts for the same bytes.
    if not whole or not hmac.compare_digest(signature(body, secret), signed):
        raise RequestInvalid("expected a ticket of this server, got something else", param="ticket")
    session, room, generation, place, mark, expires, prompt, interim, audio, offset, began = json.loads(
        urlsafe_b64decode(body.removeprefix(f"{VERSION}.") + "==")
    )
    if now >= expires:
        raise ResumeExpired(f"this ticket was good until {now - expires:.0f} s ago", param="ticket")
    samples = Samples(*audio) if audio else None
    stands = Place(*place), Mark(*mark), expires
    return Ticket(session, room, generation, *stands, prompt, interim, samples, offset, began)


def _values(part: object) -> object:
    """Without the names of the fields: a ticket comes with every final."""
    if isinstance(part, Ticket | Place | Mark | Samples):
        return [_values(getattr(part, field.name)) for field in fields(part)]
    return round(part, 6) if isinstance(part, float) else part


def signature(body: str, secret: bytes) -> str:
    """HMAC-SHA256 in URL-safe base64. What is signed begins with what it is for."""
    return _text(hmac.digest(secret, body.encode(), "sha256"))


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")

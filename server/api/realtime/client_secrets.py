"""POST /v1/realtime/client_secrets: what a browser may open a session with, for a while, and how that is configured.

A secret is signed and not kept, so any server with the same SOTTO_SECRET knows it. Who has it can read what is in it.
"""

import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hmac import compare_digest
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from ...errors import AuthExpired, AuthInvalid, RequestInvalid
from ...tickets import signature
from .. import body
from ..auth import credential
from ..service import new_id, service
from .config import Config

PREFIX = "ek_"
LONGEST = 4096  # characters: it has to fit into a header, with others

router = APIRouter()


class ExpiresAfter(BaseModel):
    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(600, ge=10, le=7200)


class Wish(BaseModel):
    expires_after: ExpiresAfter = ExpiresAfter()
    session: dict[str, Any] = {}


@router.post("/v1/realtime/client_secrets")
async def mint(request: Request) -> dict[str, Any]:
    """A secret opens as many sessions as one likes until it expires. Only an API key opens this."""
    known = service(request)
    known.auth.check_key(credential(request))
    wish = await body.read(request, Wish)
    config = Config().over(wish.session)
    known.language(config.words.expected)
    expires = int(time.time()) + wish.expires_after.seconds
    session = config.effective(known.pool.engine.name, known.policy) | {"id": new_id("sess")}
    return {"value": seal(config, expires, known.secret), "expires_at": expires, "session": session}


def seal(config: Config, expires: int, secret: bytes) -> str:
    """`ek_<when it expires>.<the configuration>.<HMAC-SHA256>`. Raises RequestInvalid where that is too long."""
    said = json.dumps(config.model_dump(exclude_unset=True), ensure_ascii=False, separators=(",", ":"))
    sealed = f"{PREFIX}{expires}.{urlsafe_b64encode(said.encode()).decode().rstrip('=')}"
    if len(sealed) > LONGEST:
        raise RequestInvalid("the prompt is too long for a client secret; send it in session.update", param="session")
    return f"{sealed}.{signature(sealed, secret)}"


def opened(shown: str, secret: bytes, now: float) -> Config:
    """What a secret says. Raises AuthInvalid for one that was not sealed so, AuthExpired for an old one."""
    sealed, _, signed = shown.rpartition(".")
    if not shown.isascii() or not compare_digest(signature(sealed, secret), signed):
        raise AuthInvalid("expected a client secret of this server, got something else")
    expires, _, said = sealed.removeprefix(PREFIX).partition(".")
    if (late := now - int(expires)) >= 0:
        raise AuthExpired(f"this client secret was good until {late:.0f} s ago")
    return Config.model_validate_json(urlsafe_b64decode(f"{said}=="))

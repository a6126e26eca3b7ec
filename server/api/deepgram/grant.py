"""POST /v1/auth/grant: a token for a browser, for whoever has an API key."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from .. import body
from ..auth import credential
from ..service import service

router = APIRouter()


class Wish(BaseModel):
    ttl_seconds: int = Field(30, ge=1, le=3600)


@router.post("/v1/auth/grant")
async def grant(request: Request) -> dict[str, str | int]:
    """Good for `ttl_seconds`. A token does not open this."""
    auth = service(request).auth
    auth.check_key(credential(request))
    wish = await body.read(request, Wish)
    return {"access_token": auth.mint(wish.ttl_seconds), "expires_in": wish.ttl_seconds}

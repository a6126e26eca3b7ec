"""POST /api/tokens: a token for a browser, for whoever has an API key."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from . import body
from .auth import credential
from .service import service

router = APIRouter()


class Wish(BaseModel):
    expires_in: int = Field(600, ge=1, le=86_400)


@router.post("/api/tokens")
async def mint(request: Request) -> JSONResponse:
    """Good for `expires_in` seconds. A token does not open this: it would never end."""
    auth = service(request).auth
    auth.check_key(credential(request))
    seconds = body.query(request, Wish).expires_in
    return JSONResponse({"token": auth.mint(seconds), "expires_in": seconds})

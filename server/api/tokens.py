"""POST /api/tokens: a token for a browser, for whoever has an API key."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from .auth import credential
from .service import service

router = APIRouter()


@router.post("/api/tokens")
async def mint(request: Request, expires_in: Annotated[int, Query(ge=1, le=86_400)] = 600) -> dict[str, str | int]:
    """Good for `expires_in` seconds. A token does not open this: it would never end."""
    auth = service(request).auth
    auth.check_key(credential(request))
    return {"token": auth.mint(expires_in), "expires_in": expires_in}

"""Deepgram's interfaces: WS and POST /v1/listen, POST /v1/auth/grant. They only translate; see docs/clients.md."""

from fastapi import APIRouter

from . import files, grant, live

router = APIRouter()
router.include_router(live.router)
router.include_router(files.router)
router.include_router(grant.router)

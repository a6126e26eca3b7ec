"""OpenAI's Realtime transcription: WS /v1/realtime, POST /v1/realtime/client_secrets. It only translates; see
docs/clients.md."""

from fastapi import APIRouter

from . import client_secrets, live

router = APIRouter()
router.include_router(live.router)
router.include_router(client_secrets.router)

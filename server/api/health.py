"""GET /healthz, /readyz, /metrics: alive; ready for sessions; what was counted."""

from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from .service import service

router = APIRouter()


@router.get("/healthz")
async def healthz() -> JSONResponse:
    """The process answers."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
async def readyz(request: Request, store: Literal["needed", "optional"] = "needed") -> JSONResponse:
    """What the engine is and knows; 503 while the server is being stopped, or lacks the store it shares with others.

    With `store=optional` it does without: where the store is away from all servers, none would be left to go to.
    """
    state = service(request)
    if state.draining:
        return JSONResponse({"status": "draining"}, 503)
    shared = state.rooms.store.remote  # with a store of its own the server is still the best there is
    if state.rooms.away and shared and store == "needed":
        return JSONResponse({"status": "degraded"}, 503)
    engine = state.pool.engine
    about = {"engine": engine.name, "languages": engine.languages and sorted(engine.languages), "paid": engine.paid}
    kept = "degraded" if state.rooms.away else "ready"
    return JSONResponse({"status": "ready", **about, "sessions": len(state.sessions), "store": kept})


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """For Prometheus; docs/operations.md tells what each figure is."""
    return Response(service(request).metrics.page(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

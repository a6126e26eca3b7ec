"""GET /healthz, /readyz, /metrics: alive; ready for sessions; what was counted."""

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
async def readyz(request: Request) -> JSONResponse:
    """What the engine is and knows; 503 while the server is being stopped, or has no store to share with others."""
    state = service(request)
    if state.draining:
        return JSONResponse({"status": "draining"}, 503)
    if state.rooms.away and state.rooms.store.remote:  # with a store of its own the server is still the best there is
        return JSONResponse({"status": "degraded"}, 503)
    engine = state.pool.engine
    about = {"engine": engine.name, "languages": engine.languages and sorted(engine.languages), "paid": engine.paid}
    store = "degraded" if state.rooms.away else "ready"
    return JSONResponse({"status": "ready", **about, "sessions": len(state.sessions), "store": store})


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """For Prometheus; docs/operations.md tells what each figure is."""
    return Response(service(request).metrics.page(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

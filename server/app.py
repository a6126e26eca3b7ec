"""create_app(): wires everything together."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from .api import batch, deepgram, errors, health, live, openai_rest, qr, realtime, rooms, tokens
from .api.auth import Auth
from .api.guard import Guard
from .api.service import Limits, Service
from .api.sessions import Sessions
from .audio.vad import load_model
from .engines.base import Engine
from .engines.pool import PATIENCE, UNHURRIED, Patience, Pool
from .metrics import Metrics
from .push.outputs import Outputs
from .push.webhook import Webhook
from .rooms import sqlite
from .rooms.base import Store
from .rooms.rooms import Rooms
from .secret import kept_secret
from .settings import EngineName, Settings
from .speech.session import Policy
from .speech.types import Kind

HERE = Path(__file__).parent
STATIC = next(folder for folder in (HERE / "static", HERE.parent / "static") if folder.is_dir())  # wheel, checkout
PAGES = {"/": "index.html", "/watch": "watch.html", "/overlay": "overlay.html"}
CORES = os.cpu_count() or 1
CALLS: dict[EngineName, int] = {  # at once
    "moonshine": CORES,
    "openai": 256,  # they only wait; 300 sessions have about 200 under way
    "whisper": max(1, CORES // 2),  # two threads read one stretch sooner than each of them reads its own
}
MODELS: dict[EngineName, str] = {"moonshine": "tiny-en", "openai": "gpt-transcribe", "whisper": "small"}


def create_app(settings: Settings, engine: Engine | None = None, fallback: Engine | None = None) -> FastAPI:
    """The ASGI application; `engine` and `fallback` replace those the settings choose."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        chosen = engine or make_engine(settings, settings.chosen_engine)
        concurrency = calls(settings, settings.chosen_engine)
        signing, metrics = secret(settings), Metrics()
        other = spare(settings, metrics, fallback)
        async with (
            Pool(chosen, concurrency, other, patience=patience(chosen), observe=metrics.called) as pool,
            Outputs(settings.push_hosts, webhook(settings), partial(metrics.dropped, "push")) as outputs,
            Rooms(  # the first to end: what it holds back is kept, and waits for no output
                store(settings), lease_s=settings.resume_s, max_viewers=settings.max_viewers, dropped=metrics.dropped
            ) as kept,
        ):
            app.state.service = service = Service(
                pool, load_model(), CapacityLimiter(CORES + 2), CapacityLimiter(max(1, CORES // 2)),
                CapacityLimiter(max(1, concurrency // 2)), policy(settings, chosen), limits(settings),
                settings.temp_dir, settings.recordings_dir, signing, Sessions(settings.resume_s),
                Auth([key.get_secret_value() for key in settings.api_keys], signing), metrics, kept, outputs,
            )  # fmt: skip
            watch(service)
            try:
                yield
            finally:  # also when what all sessions need has failed: then nobody is let in, and the server ends
                service.drain()

    app = FastAPI(title="Sotto", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    errors.install(app)
    for part in (live, rooms, qr, batch, deepgram, openai_rest, realtime, tokens, health):
        app.include_router(part.router)
    app.add_api_websocket_route("/{path:path}", errors.no_socket)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for path, file in PAGES.items():
        app.add_api_route(path, page(file))
    app.add_middleware(Guard, allowed_origins=settings.allowed_origins, host=settings.host)
    return app


def page(file: str) -> Callable[[], Awaitable[FileResponse]]:
    """A route that answers with this page."""

    async def answer() -> FileResponse:
        return FileResponse(STATIC / file, headers={"Cache-Control": "no-cache"})

    return answer


def watch(service: Service) -> None:
    """The figures that stand by themselves."""
    watch, sessions = service.metrics.watch, service.sessions
    watch("sotto_sessions", "Sessions whose client is there.", lambda: sessions.connected)
    watch("sotto_sessions_away", "Sessions whose client vanished and may come back.",
          lambda: len(sessions) - sessions.connected)  # fmt: skip
    watch("sotto_viewers", "Who follows rooms here.", lambda: service.rooms.viewers)
    watch("sotto_captions_held", "Finals that wait for the store.", lambda: service.rooms.held)
    watch("sotto_store_away", "1 while the store does not answer.", lambda: service.rooms.away is not None)
    watch("sotto_uploads", "Files under way.", lambda: service.uploads)
    watch("sotto_draining", "1 while the server is being stopped.", lambda: service.draining)


def webhook(settings: Settings) -> Callable[[], Webhook] | None:
    """Makes the operator's, if there is one."""
    url, secret = settings.webhook_url, settings.webhook_secret
    return partial(Webhook, url, secret.get_secret_value()) if url and secret else None


def spare(settings: Settings, metrics: Metrics, engine: Engine | None) -> Pool | None:
    """The pool to fall back on, if there is to be one."""
    if settings.fallback_engine is None:
        return None
    engine = engine or make_engine(settings, settings.fallback_engine)
    concurrency = calls(settings, settings.fallback_engine)
    return Pool(engine, concurrency, patience=patience(engine), observe=metrics.called)


def patience(engine: Engine) -> Mapping[Kind, Patience]:
    return PATIENCE if engine.paid else UNHURRIED


def calls(settings: Settings, name: EngineName) -> int:
    """How many there may be at once to this engine."""
    wish = settings.engine_concurrency if name == settings.chosen_engine else None
    return wish or CALLS[name]


def make_engine(settings: Settings, name: EngineName) -> Engine:
    """This engine; the others are not even imported. Raises EngineError."""
    wish = settings.whisper_model if name == settings.chosen_engine else None
    model = wish or MODELS[name]
    match name:
        case "moonshine":
            from .engines.moonshine import Moonshine

            return Moonshine()
        case "openai":
            from .engines.openai import OpenAI

            key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else ""
            folder = str(settings.temp_dir)
            return OpenAI(key, settings.openai_base_url, model, folder=folder)
        case "whisper":
            from .engines.whisper import Whisper

            workers = calls(settings, name)
            return Whisper(model, workers=workers, cpu_threads=max(1, CORES // workers))


def store(settings: Settings) -> Store:
    """Where finals are kept; without retention only in memory, for as long as a session may go on."""
    times = {"retention_s": settings.retention_h * 3600 or settings.resume_s, "lease_s": settings.resume_s}
    file = settings.state_dir / "rooms.db"
    if not settings.retention_h:
        sqlite.delete(file)  # what was kept under another setting
    if settings.redis_url:
        from .rooms.redis import Redis

        return Redis(settings.redis_url.get_secret_value(), **times)
    return sqlite.Sqlite(file if settings.retention_h else None, **times)


def policy(settings: Settings, engine: Engine) -> Policy:
    """When to ask and when to end, as the settings and the engine want it."""
    bound = settings.max_cost_ratio or (2.5 if engine.paid else float("inf"))
    return Policy(
        partial_interval=settings.partial_interval or engine.partial_interval,
        partials_in_air=settings.partials_in_air,
        max_cost_ratio=bound,
        context=engine.context,
        growth=0.25 if engine.paid else 0.2,
        endpoint=settings.endpoint_s,
        endpoint_settled=min(settings.endpoint_settled_s, settings.endpoint_s),
    )


def secret(settings: Settings) -> bytes:
    """What tickets are signed with."""
    return settings.secret.get_secret_value().encode() if settings.secret else kept_secret(settings.state_dir)


def limits(settings: Settings) -> Limits:
    """The limits of the edge."""
    return Limits(
        session_s=settings.session_s,
        idle_s=settings.idle_s,
        stall_s=settings.stall_s,
        max_sessions=settings.max_sessions,
        max_message_bytes=settings.max_message_bytes,
        max_backlog_bytes=settings.max_backlog_bytes,
        max_upload_bytes=settings.max_upload_bytes,
        max_upload_s=settings.max_upload_h * 3600,
        max_uploads=settings.max_uploads,
        drain_s=settings.drain_s,
        resume_s=settings.resume_s,
        resume_grace_s=settings.resume_grace_s,
    )

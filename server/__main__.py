"""`sotto`, or `python -m server`: start the server, or talk to one."""

import asyncio
import gc
import logging.config
import os
import signal
import sys
import tempfile
from contextlib import suppress
from errno import EADDRNOTAVAIL
from socket import gaierror, socket
from typing import Any, NoReturn

from pydantic import ValidationError

from .cli import commands
from .settings import Settings, unknown_variables, variable
from .workdir import workdir

REFUSED = "returned without completing handshake"  # uvicorn's error for every upgrade that is answered with a reason
UNREAD_MS = 90_000  # later than our limits for who does not read: what is left then, the kernel lets go


def main() -> None:
    """The server, or a client of one."""
    arguments = commands.parse()
    if arguments.command in (None, "serve"):
        start()
    else:
        commands.run(arguments)


def start() -> None:
    """Read the settings, say in one sentence each what is wrong with them, or serve until told to stop."""
    settings = read_settings()
    logging.config.dictConfig(log_config(settings.log_level))
    serve(settings)


def read_settings() -> Settings:
    """The settings, or the end of the process."""
    unknown = unknown_variables()
    try:
        settings = Settings()
    except ValidationError as error:
        refuse(*unknown, *problems(error))
    if unknown:
        refuse(*unknown)
    return settings


def refuse(*sentences: str) -> NoReturn:
    sys.exit("\n".join(f"sotto: {sentence}" for sentence in sentences))


def problems(error: ValidationError) -> list[str]:
    """Each fault of the settings as a sentence that names the variable; the value stays out, it may be a secret."""
    sentences = []
    for fault in error.errors(include_url=False, include_input=False):
        place = str(fault["loc"][0]) if fault["loc"] else ""
        name = variable(place) if place in Settings.model_fields else place  # a field with an alias goes by that
        said = fault["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
        sentences.append(": ".join(filter(None, [name, said])))
    return sentences


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM. Nothing is left behind; the process ends with 0, after a fault of ours with 1."""
    failed = False
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # until uvicorn listens to it
    with suppress(KeyboardInterrupt), workdir(settings.temp_dir) as folder:
        tempfile.tempdir = str(folder)  # of uploads, too
        failed = not run(settings.model_copy(update={"temp_dir": folder}))
    logging.shutdown()
    os._exit(failed)  # Python would wait for the threads in which engines still work, and they cannot be ended


def run(settings: Settings) -> bool:
    """Whether it was told to end."""
    sockets = bind(settings.host, settings.port)
    if "whisper" not in (settings.chosen_engine, settings.fallback_engine):  # which may have to be downloaded first
        for each in sockets:
            each.listen()  # who comes from now on is served in a second
    gc.disable()  # nothing of what is loaded is garbage, and looking for it takes a tenth of the start
    import uvicorn  # a second of imports that neither --help nor a refusal has to wait for

    from .app import create_app, limits, make_engine
    from .engines.base import EngineError
    from .shutdown import Server

    try:
        engine = make_engine(settings, settings.chosen_engine)
        fallback = make_engine(settings, settings.fallback_engine) if settings.fallback_engine else None
    except EngineError as error:
        refuse(str(error))
    app = create_app(settings, engine, fallback)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
        ws_max_size=limits(settings).max_frame_bytes,
        ws_per_message_deflate=False,  # audio does not deflate, and a compressor costs 300 kB a socket
        ws_ping_timeout=settings.idle_s + 20,  # who is silent is told so first; this is for who sends and never reads
        timeout_graceful_shutdown=1,  # everybody had time to finish before
    )
    gc.freeze()  # what is loaded stays: looking for garbage in it would stop every session for 40 to 90 ms
    gc.enable()
    server = Server(config, app)
    server.run(sockets)
    return server.should_exit


def bind(host: str, port: int) -> list[socket]:
    """Sockets that do not listen yet, but hold the address; or the end of the process, before an engine is loaded."""

    async def make() -> list[socket]:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, host, port, start_serving=False)
        sockets = [each.dup() for each in server.sockets]
        server.close()
        if sys.platform == "linux":  # connections have it from here; without it one that is closed waits for its reader
            from socket import IPPROTO_TCP, TCP_USER_TIMEOUT

            with suppress(OSError):  # what only calls itself Linux may not know it
                for each in sockets:
                    each.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, UNREAD_MS)
        return sockets

    try:
        return asyncio.run(make())
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        name = "SOTTO_HOST" if isinstance(error, gaierror) or error.errno == EADDRNOTAVAIL else "SOTTO_PORT"
        refuse(f"{name}: cannot listen on port {port} of {host}: {reason}")


def log_config(level: str) -> dict[str, Any]:
    """For logging.config: ours and uvicorn's lines, with the time, to stderr."""
    # At debug the WebSocket library logs every message, and so everything that is said.
    uvicorn_level = "info" if level == "debug" else level
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
        "filters": {"own": {"()": lambda: tells_of_the_server}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["own"]}},
        "loggers": {
            "sotto": {"handlers": ["stderr"], "level": level.upper()},
            "uvicorn": {"handlers": ["stderr"], "level": uvicorn_level.upper()},
        },
    }


def tells_of_the_server(record: logging.LogRecord) -> bool:
    """Leaves out uvicorn's lines for each WebSocket: ours say more, and they tell the query, with the prompt."""
    if REFUSED in str(record.msg):
        return False
    return record.levelno > logging.INFO or not any(said in str(record.msg) for said in ("WebSocket %s", "connection "))


if __name__ == "__main__":
    main()

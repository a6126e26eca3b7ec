"""`sotto`, or `python -m server`: start the server."""

import sys

import uvicorn
from pydantic import ValidationError

from .app import create_app
from .settings import Settings


def main() -> None:
    """Read the settings, say in one sentence what is wrong with them, or serve until told to stop."""
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit("\n".join(f"sotto: {problem}" for problem in problems(error)))
    serve(settings)


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level,
        access_log=False,
        ws="websockets-sansio",
        ws_max_size=8 * settings.max_message_bytes,  # the server's own, smaller limit can say why
        ws_per_message_deflate=False,  # audio does not deflate, and a compressor costs 300 kB a socket
    )
    uvicorn.Server(config).run()


def problems(error: ValidationError) -> list[str]:
    """Each fault of the settings as a sentence that names the variable."""
    names = {name: field.validation_alias or f"SOTTO_{name.upper()}" for name, field in Settings.model_fields.items()}
    sentences = []
    for fault in error.errors(include_url=False):
        place = str(fault["loc"][0]) if fault["loc"] else ""
        name = f"{names.get(place, place)}: " if place else ""
        sentences.append(f"{name}{fault['msg'].removeprefix('Value error, ')}")
    return sentences


if __name__ == "__main__":
    main()

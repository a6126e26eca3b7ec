"""Every knob, with its default and one sentence. Read from the environment and from `.env`."""

import os
import re
import tempfile
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "SOTTO_"
ENV_FILE = Path(".env")
CLIENTS = {"SOTTO_SERVER", "SOTTO_TOKEN"}  # of `sotto transcribe` and `sotto live`, who may share the environment

Seconds = Annotated[float, Field(gt=0)]
WEBHOOK_SECRET = r"whsec_(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
EngineName = Literal["moonshine", "openai", "whisper"]


class Settings(BaseSettings):
    """Fields are `SOTTO_…` in the environment, but for OpenAI's, which keep their common names."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=ENV_FILE, env_ignore_empty=True, extra="ignore")

    openai_api_key: SecretStr | None = Field(None, validation_alias="OPENAI_API_KEY")
    """The key for OpenAI's API or for a compatible server; without one the embedded engine is used."""
    openai_base_url: str | None = Field(None, validation_alias="OPENAI_BASE_URL")
    """Where a compatible server listens, such as http://127.0.0.1:9000/v1; empty means OpenAI itself."""
    whisper_model: str | None = Field(None, validation_alias="WHISPER_MODEL")
    """The model, by default gpt-transcribe for openai; for whisper a name or a CTranslate2 folder, by default small."""

    engine: Literal["auto", "moonshine", "openai", "whisper"] = "auto"
    """Who transcribes: moonshine (embedded, English), openai, whisper (local), or auto: openai if there is a key."""
    fallback_engine: EngineName | None = None
    """Who reads the finals that openai or whisper could not in two minutes, with its own default model."""
    engine_concurrency: int | None = Field(None, ge=1)
    """Calls to the engine at once; by default 256 for openai, 1 for each core for moonshine, half of it for whisper."""

    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 opens the server to the network."""
    port: int = Field(8000, ge=0, le=65535)
    """The port to listen on; 0 takes a free one."""
    allowed_origins: Annotated[list[str], NoDecode] = []
    """Other web sites, separated by commas, whose pages may use this server, such as https://example.org."""
    api_keys: Annotated[list[SecretStr], NoDecode] = []
    """Keys, separated by commas; a client must show one, or a token minted with one. By default anybody may use it."""

    partial_interval: Seconds | None = None
    """Seconds of speech between two partial captions; by default 1.0 for paid engines and 0.5 for the embedded one."""
    partials_in_air: int = Field(1, ge=1, le=4)
    """Requests for partials under way at once in a session; 2 is faster and dearer."""
    max_cost_ratio: float | None = Field(None, ge=1)
    """Audio sent for each second streamed, at most, after the first 10; by default 2.5 for paid engines, else none."""
    endpoint_s: Seconds = 0.6
    """Seconds of silence that end an utterance."""
    endpoint_settled_s: Seconds = 0.3
    """Seconds of silence that end an utterance which reads like a whole sentence."""
    stall_s: Seconds = 2.0
    """Seconds without any audio arriving after which what was said is made final."""

    session_s: Seconds = 14_400
    """Longest live session."""
    idle_s: Seconds = 60
    """Seconds without any message after which a live session is closed."""
    max_sessions: int = Field(500, ge=1)
    """Live sessions at once."""
    max_message_bytes: int = Field(1_048_576, ge=1024)
    """Largest WebSocket message."""
    max_backlog_bytes: int = Field(8_388_608, ge=1024)
    """Audio of one session that may wait to be decoded before the server stops reading from its socket."""
    max_upload_bytes: int = Field(200_000_000, ge=1024)
    """Largest file for POST /api/transcribe."""
    max_upload_h: float = Field(12, gt=0)
    """Longest audio in such a file, in hours."""
    max_uploads: int = Field(8, ge=1)
    """Such files at once."""
    drain_s: float = Field(10, ge=0)
    """Seconds that sessions and uploads have to come to an end when the server is being stopped."""

    resume_s: Seconds = 600
    """Seconds for which a client may come back with a ticket and go on with its session."""
    resume_grace_s: float = Field(10, ge=0)
    """Seconds after which a session whose client vanished makes its last words final; 0 forgets it at once."""
    secret: SecretStr | None = None
    """What signs tickets and tokens, the same for all servers of one address; by default made once and kept."""

    retention_h: float = Field(24, ge=0)
    """Hours for which the finals of rooms are kept; 0 keeps nothing on disk, and in memory only for SOTTO_RESUME_S."""
    redis_url: SecretStr | None = None
    """Where rooms are kept and shared by several servers, such as redis://127.0.0.1:6379; by default in a file."""
    max_viewers: int = Field(10_000, ge=1)
    """Viewers of rooms at once."""

    push_hosts: Annotated[list[str], NoDecode] = ["zoom.us", "youtube.com"]
    """Hosts, separated by commas, to which and below which a session may have its finals sent."""
    webhook_url: str | None = None
    """Where the finals of every session are sent, signed; by default nowhere."""
    webhook_secret: SecretStr | None = None
    """What they are signed with: whsec_ and base64, as standardwebhooks.com has it."""

    temp_dir: Path = Field(default_factory=lambda: Path(tempfile.gettempdir()))
    """Where the recordings of running sessions and uploads lie; they are deleted when the session ends."""
    recordings_dir: Path | None = None
    """Where every session's whole recording is kept, under the session's id; by default none is kept."""
    state_dir: Path = Field(default_factory=lambda: state_home() / "sotto")
    """Where rooms and the secret are kept; by default $XDG_STATE_HOME/sotto or ~/.local/state/sotto."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much to log; never speech or keys."""

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [origin.strip().rstrip("/").lower() for origin in value.split(",")] if isinstance(value, str) else value

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: list[str]) -> list[str]:
        for origin in value:
            if origin != "*" and not urlsplit(origin).netloc:
                raise ValueError("expected origins such as https://example.org, separated by commas")
        return value

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        return [key.strip() for key in value.split(",")] if isinstance(value, str) else value

    @field_validator("api_keys")
    @classmethod
    def _keys(cls, value: list[SecretStr]) -> list[SecretStr]:
        # What a header, an address and a WebSocket's subprotocol can all carry as it is.
        if not all(re.fullmatch(r"[A-Za-z0-9._~+-]{16,}", key.get_secret_value()) for key in value):
            raise ValueError("expected keys of at least 16 letters, digits and . _ ~ + -, separated by commas")
        return value

    @field_validator("secret")
    @classmethod
    def _secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value) < 16:
            raise ValueError(f"expected at least 16 characters, got {len(value)}")
        return value

    @field_validator("openai_base_url", "webhook_url")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "http://none")
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("expected an address such as http://127.0.0.1:9000/v1")
        return value

    @field_validator("push_hosts", mode="before")
    @classmethod
    def _hosts(cls, value: object) -> object:
        return [host.strip().lower() for host in value.split(",") if host.strip()] if isinstance(value, str) else value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value and urlsplit(value.get_secret_value()).scheme not in ("redis", "rediss", "unix"):
            raise ValueError("expected an address such as redis://127.0.0.1:6379")
        return value

    @field_validator("temp_dir", "recordings_dir")
    @classmethod
    def _writable(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        if not value.is_dir() or not os.access(value, os.W_OK):
            raise ValueError("expected a folder that can be written to")
        return value

    @model_validator(mode="after")
    def _key_for_openai(self) -> Self:
        if self.engine == "openai" and self.openai_api_key is None:
            raise ValueError("SOTTO_ENGINE=openai needs OPENAI_API_KEY to be set")
        return self

    @model_validator(mode="after")
    def _webhook(self) -> Self:
        secret = self.webhook_secret.get_secret_value() if self.webhook_secret else ""
        if self.webhook_url and not re.fullmatch(WEBHOOK_SECRET, secret):
            raise ValueError("SOTTO_WEBHOOK_URL needs SOTTO_WEBHOOK_SECRET to be whsec_ and base64")
        return self

    @model_validator(mode="after")
    def _fallback(self) -> Self:
        # Moonshine is told what it said before in tokens of its own, and hears less audio for it: no other can go on.
        if self.fallback_engine and self.chosen_engine == "moonshine":
            raise ValueError("SOTTO_FALLBACK_ENGINE needs SOTTO_ENGINE to be openai or whisper")
        if self.fallback_engine == self.chosen_engine:
            raise ValueError(f"SOTTO_FALLBACK_ENGINE={self.fallback_engine} is the chosen engine itself")
        if self.fallback_engine == "openai" and self.openai_api_key is None:
            raise ValueError("SOTTO_FALLBACK_ENGINE=openai needs OPENAI_API_KEY to be set")
        return self

    @property
    def chosen_engine(self) -> EngineName:
        """`auto` decided."""
        if self.engine == "auto":
            return "openai" if self.openai_api_key else "moonshine"
        return self.engine


def state_home() -> Path:
    """The user's folder for what programs keep (XDG Base Directory Specification)."""
    named = os.environ.get("XDG_STATE_HOME", "")
    return Path(named if os.path.isabs(named) else os.path.expanduser("~/.local/state"))


def variable(field: str) -> str:
    """The environment variable of a field."""
    return str(Settings.model_fields[field].validation_alias or f"{PREFIX}{field.upper()}")


def unknown_variables(env_file: Path = ENV_FILE) -> list[str]:
    """A sentence for each SOTTO_ variable, of the environment or the file, that is no setting: a typing error."""
    known = {variable(field) for field in Settings.model_fields} | CLIENTS
    named = {name.upper() for name in [*os.environ, *dotenv_values(env_file)]}
    sentences = []
    for name in sorted(name for name in named - known if name.startswith(PREFIX)):
        meant = get_close_matches(name, known, n=1)
        sentences.append(f"{name}: there is no such setting" + (f"; did you mean {meant[0]}?" if meant else ""))
    return sentences

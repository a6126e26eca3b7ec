"""How a Realtime session is configured: what clients send, merged and checked, and what has an effect of it."""

from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, field_validator

from ...audio import raw
from ...errors import RequestInvalid
from ...speech.session import Policy
from ...tickets import Samples

PROMPT = 2000  # characters, as in our own protocol
TELEPHONE = 8000  # Hz
LIVE = ("gpt-live-transcribe", "gpt-realtime-whisper")  # OpenAI's models that know no turns: their clients commit
PATIENCE = {"low": 8.0, "medium": 4.0, "auto": 4.0, "high": 2.0}  # seconds, as OpenAI has them
FORMATS = {  # the names of the beta
    "pcm16": {"type": "audio/pcm", "rate": 24_000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Format(_Part):
    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: int = Field(24_000, ge=raw.RATE_MIN, le=raw.RATE_MAX)

    @property
    def samples(self) -> Samples:
        match self.type:
            case "audio/pcmu":
                return Samples("pcm_mulaw", TELEPHONE, 1)
            case "audio/pcma":
                return Samples("pcm_alaw", TELEPHONE, 1)
            case _:
                return Samples("pcm_s16le", self.rate, 1)


class Transcription(_Part):
    model: str | None = Field(None, max_length=200)
    language: str | None = Field(None, max_length=35)
    languages: list[Annotated[str, Field(max_length=35)]] | None = None
    prompt: str | None = Field(None, max_length=PROMPT)
    keywords: list[str] | None = None

    @field_validator("keywords")
    @classmethod
    def _few(cls, keywords: list[str] | None) -> list[str] | None:
        if keywords and sum(map(len, keywords)) > PROMPT:
            raise ValueError(f"expected at most {PROMPT} characters in all")
        return keywords

    @property
    def expected(self) -> str | None:
        """The one language there may be."""
        return self.language or (self.languages[0] if self.languages and len(self.languages) == 1 else None)

    @property
    def terms(self) -> str:
        """What helps the engine to read."""
        return " ".join(filter(None, [self.prompt, ", ".join(self.keywords or [])]))


class ServerVad(_Part):
    type: Literal["server_vad"] = "server_vad"
    threshold: float | None = Field(None, ge=0, le=1)
    prefix_padding_ms: int | None = Field(None, ge=0, le=5000)
    silence_duration_ms: int | None = Field(None, ge=0, le=60_000)

    def over(self, policy: Policy) -> Policy:
        if self.threshold is not None:
            policy = replace(policy, threshold=self.threshold)
        if self.prefix_padding_ms is not None:
            policy = replace(policy, preroll=self.prefix_padding_ms / 1000)
        if self.silence_duration_ms is not None:
            # A turn that ends in mid-sentence takes from the engine what it needs to read well, so a short wish counts
            # where a sentence is whole.
            wish = self.silence_duration_ms / 1000
            policy = replace(policy, endpoint=max(wish, policy.endpoint), endpoint_settled=wish)
        return policy

    def effective(self, policy: Policy) -> dict[str, Any]:
        silence = round(policy.endpoint * 1000) if self.silence_duration_ms is None else self.silence_duration_ms
        return {
            "type": self.type,
            "threshold": policy.threshold,
            "prefix_padding_ms": round(policy.preroll * 1000),
            "silence_duration_ms": silence,
        }


class SemanticVad(_Part):
    """A turn that reads like a whole sentence ends as soon as ever; others wait, at most so long."""

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"

    def over(self, policy: Policy) -> Policy:
        return replace(policy, endpoint=PATIENCE[self.eagerness])

    def effective(self, policy: Policy) -> dict[str, Any]:
        return {"type": self.type, "eagerness": self.eagerness}


def _kind(said: Any) -> str:
    kind = said.get("type") if isinstance(said, dict) else getattr(said, "type", None)
    return kind if isinstance(kind, str) else "server_vad"


TurnDetection = Annotated[
    Annotated[ServerVad, Tag("server_vad")] | Annotated[SemanticVad, Tag("semantic_vad")],
    Discriminator(_kind, "type", "expected the type server_vad or semantic_vad, or null"),
]


class Config(_Part):
    """`audio.input` of a session. What was not said has its default, and so has null, but for `turn_detection`."""

    format: Format | None = None
    transcription: Transcription | None = None
    turn_detection: TurnDetection | None = None

    def over(self, session: dict[str, Any]) -> Self:
        """With what a client says of its session; the shapes of the beta are understood too. Raises RequestInvalid."""
        said = _beta(session) | (_object(_object(session, "audio"), "input"))
        try:
            return type(self).model_validate(_merged(self.model_dump(exclude_unset=True), said))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"] if part not in ("server_vad", "semantic_vad"))
            said_why = first["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
            param = f"session.audio.input.{where}"
            raise RequestInvalid(f"{param}: {said_why}", param=param) from None

    @property
    def samples(self) -> Samples:
        return (self.format or Format()).samples

    @property
    def words(self) -> Transcription:
        return self.transcription or Transcription()

    @property
    def turns(self) -> ServerVad | SemanticVad | None:
        """How the server finds the turns; None: the client commits them."""
        if "turn_detection" in self.model_fields_set:
            return self.turn_detection
        return None if self.words.model in LIVE else ServerVad()

    def policy(self, policy: Policy) -> Policy:
        return self.turns.over(policy) if self.turns else policy

    def effective(self, engine: str, policy: Policy) -> dict[str, Any]:
        """A session as it is told: with what has an effect, and nothing else."""
        form = self.format or Format()
        words = {"model": engine, "language": self.words.expected, "prompt": self.words.terms}
        heard = self.turns.effective(self.policy(policy)) if self.turns else None
        told = {"type": form.type, "rate": form.rate} if form.type == "audio/pcm" else {"type": form.type}
        return {
            "type": "transcription",
            "object": "realtime.transcription_session",
            "audio": {
                "input": {"format": told, "noise_reduction": None, "transcription": words, "turn_detection": heard}
            },
        }


def _merged(former: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """What is absent stays, null is a value."""
    merged = dict(former)
    for key, value in said.items():
        both = isinstance(value, dict) and isinstance(former.get(key), dict)
        merged[key] = _merged(former[key], value) if both else value
    return merged


def _object(parent: dict[str, Any], key: str) -> dict[str, Any]:
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RequestInvalid(f"{key}: expected an object", param=f"session.{key}")
    return value


def _beta(session: dict[str, Any]) -> dict[str, Any]:
    """The flat session that clients of the beta send."""
    said: dict[str, Any] = {}
    if "input_audio_format" in session:
        form = session["input_audio_format"]
        if form is not None and not (isinstance(form, str) and form in FORMATS):
            expected = ", ".join(FORMATS)
            raise RequestInvalid(f"input_audio_format: expected {expected}", param="session.input_audio_format")
        said["format"] = form and FORMATS[form]
    if "input_audio_transcription" in session:
        said["transcription"] = session["input_audio_transcription"]
    if "turn_detection" in session:
        said["turn_detection"] = session["turn_detection"]
    return said

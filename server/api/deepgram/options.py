"""What a Deepgram client wishes, in its query: what has an effect here. docs/clients.md tells what has none."""

from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from starlette.datastructures import QueryParams

from ...audio import raw
from ...errors import RequestInvalid
from ...tickets import Samples

ENCODINGS = {"linear16": "pcm_s16le", "linear32": "pcm_f32le", "mulaw": "pcm_mulaw", "alaw": "pcm_alaw"}
CONTAINED = ("opus", "ogg-opus")  # said of recordings in a container, which tells by itself what it is
PROMPT = 2000  # characters, as in our own protocol
MIXED = "this server mixes all channels into one"


class Common(BaseModel):
    """Checked; whatever is not here is passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    language: str | None = Field(None, max_length=35)
    keyterm: list[str] = []
    keywords: list[str] = []
    callback: str | None = None
    redact: list[str] = []

    @field_validator("callback", "redact")
    @classmethod
    def _cannot(cls, value: Any, info: ValidationInfo) -> Any:
        """What somebody relies on, although no answer shows that it was not done."""
        if value and value != ["false"]:
            raise ValueError(f"this server has no {info.field_name}")
        return value

    @property
    def prompt(self) -> str:
        """The terms to expect."""
        return ", ".join([*self.keyterm, *_boosted(self.keywords)])


class FileOptions(Common):
    """Of POST /v1/listen."""

    detect_language: bool = False
    multichannel: bool = False
    utterances: bool = False

    @field_validator("detect_language", mode="before")
    @classmethod
    def _among(cls, value: str) -> bool:
        """A switch, or the languages to choose among, one by one; the engine chooses among all that it knows."""
        return value.lower() not in ("false", "0")

    @field_validator("multichannel")
    @classmethod
    def _mixed(cls, value: bool) -> bool:
        if value:
            raise ValueError(MIXED)
        return value


class LiveOptions(Common):
    """Of WS /v1/listen."""

    interim_results: bool = False
    endpointing: float | None = Field(None, ge=0, le=60_000)  # ms; 0: no result is told to end an utterance
    utterance_end_ms: float | None = Field(None, gt=0, le=60_000)
    vad_events: bool = False
    encoding: str | None = None
    sample_rate: int | None = None
    channels: int = Field(1, ge=1, le=raw.CHANNELS_MAX)
    multichannel: bool = False

    @field_validator("endpointing", mode="before")
    @classmethod
    def _switch(cls, value: str) -> str | None:
        """Milliseconds, or a switch; `true` is what the server is set to."""
        return {"true": None, "false": "0"}.get(value.lower(), value)

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value and value not in ENCODINGS and value not in CONTAINED:
            raise ValueError(f"expected {', '.join(ENCODINGS)}, or none for WebM, MP4, Ogg and WAV, got {value[:40]}")
        return value

    @field_validator("multichannel")
    @classmethod
    def _mixed(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not (info.data.get("encoding") and info.data.get("channels") == 1):
            raise ValueError(MIXED)
        return value

    @property
    def samples(self) -> Samples | None:
        """What comes without a header. Raises RequestInvalid."""
        if self.encoding is None or self.encoding in CONTAINED:
            return None
        if self.sample_rate is None:
            raise RequestInvalid(f"encoding={self.encoding} needs a sample_rate", param="sample_rate")
        samples = Samples(ENCODINGS[self.encoding], self.sample_rate, self.channels)
        raw.parse(samples.encoding, samples.rate, samples.channels)
        return samples


Options = TypeVar("Options", bound=Common)


def read(query: QueryParams, model: type[Options]) -> Options:
    """Raises RequestInvalid."""
    try:
        options = model.model_validate(dict(_values(query, model)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        param = str(first["loc"][0])
        said = first["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
        raise RequestInvalid(f"{param}: {said}", param=param) from None
    if len(options.prompt) > PROMPT:
        raise RequestInvalid(f"keyterm: expected at most {PROMPT} characters in all", param="keyterm")
    return options


def _values(query: QueryParams, model: type[Common]) -> Iterable[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        if values := [value for value in query.getlist(name) if value]:
            yield name, values if field.annotation == list[str] else values[-1]


def _boosted(keywords: list[str]) -> Iterable[str]:
    """`word:boost` as words; one that is not to be heard is left out."""
    for keyword in keywords:
        word, _, boost = keyword.rpartition(":")
        try:
            if float(boost) > 0 and word:
                yield word
        except ValueError:
            yield keyword

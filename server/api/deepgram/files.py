"""POST /v1/listen: a whole file, which is the body, as Deepgram tells its text."""

from functools import partial
from hashlib import sha256
from typing import Any, BinaryIO

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import FormData

from ...batch.transcribe import Segment, Transcript
from ...errors import RequestInvalid, SottoError
from ..errors import response
from ..events import Events
from ..service import Service, service
from ..upload import Refusal, Upload, at_the_door, body_of, file_of, transcribed
from .about import About
from .options import FileOptions, read
from .words import SURE, alternative

PATH = "/v1/listen"
BLOCK = 65_536  # bytes

router = APIRouter()


@router.post(PATH)
async def listen(request: Request) -> Response:
    """Options in the query; see docs/clients.md."""
    refuse = partial(response, path=PATH)
    try:
        at_the_door(request)
        options = read(request.query_params, FileOptions)
        language = service(request).language(None if options.detect_language else options.language)
        if request.headers.get("content-type", "").lower().startswith("application/json"):
            raise RequestInvalid("expected the file itself as the body: this server fetches no address", param="url")
    except SottoError as fault:
        return Refusal(refuse(fault))
    return Upload(partial(_answer, options=options, language=language), refuse, take=body_of)


async def _answer(
    form: FormData, state: Service, _events: Events, *, options: FileOptions, language: str | None
) -> Response:
    about, file = About(state.pool.engine.name), file_of(form)
    transcript = await transcribed(file, state, language=language, prompt=options.prompt)

    def answer() -> Response:
        return JSONResponse(told(transcript, options, about.of_all(digest(file.file), transcript.duration)))

    return await to_thread.run_sync(answer, limiter=state.files)  # a file of hours has many words


def digest(file: BinaryIO) -> str:
    sum = sha256()
    file.seek(0)
    for block in iter(lambda: file.read(BLOCK), b""):
        sum.update(block)
    return sum.hexdigest()


def told(transcript: Transcript, options: FileOptions, metadata: dict[str, Any]) -> dict[str, Any]:
    """A transcript in Deepgram's shape."""
    utterances = [_utterance(n, segment) for n, segment in enumerate(s for s in transcript.segments if s.text)]
    words = [word for utterance in utterances for word in utterance["words"]]
    channel: dict[str, Any] = {
        "alternatives": [
            {"transcript": transcript.text, "confidence": SURE if transcript.text else 0.0, "words": words}
        ]
    }
    if options.detect_language and transcript.language:
        channel["detected_language"] = transcript.language
    results: dict[str, Any] = {"channels": [channel]}
    if options.utterances:
        results["utterances"] = utterances
    return {"metadata": metadata, "results": results}


def _utterance(number: int, segment: Segment) -> dict[str, Any]:
    said = alternative(segment.text, segment.words, segment.start, segment.end)
    times = {"start": round(segment.start, 3), "end": round(segment.end, 3)}
    return {"id": str(number), "channel": 0, **times, **said}

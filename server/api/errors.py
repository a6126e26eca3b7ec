"""Map the error tree to HTTP, once, and in the shape of the protocol that a path belongs to."""

import logging
import secrets
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ..errors import AudioCorrupt, RequestInvalid, SottoError, UnsupportedFormat
from .messages import error_object

OPENAI = ("/v1/audio", "/v1/models", "/v1/realtime")  # what is below these speaks OpenAI's protocol
DEEPGRAM = ("/v1/listen", "/v1/auth")
DEEPGRAM_CODES = {  # `err_code` by status, as Deepgram writes it
    400: "Bad Request",
    401: "INVALID_AUTH",
    413: "PAYLOAD_TOO_LARGE",
    429: "TOO_MANY_REQUESTS",
    503: "SERVICE_UNAVAILABLE",
}
RETRY_S = 1.0  # when to come back to a server that did not say

log = logging.getLogger("sotto")


def install(app: FastAPI) -> None:
    """Every fault of a route is answered with the one error object."""
    app.add_exception_handler(SottoError, _sotto)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(Exception, _unexpected)


async def no_socket(socket: WebSocket) -> None:
    """The answer to an upgrade where no WebSocket is; without this it would be a bare 403."""
    fault = RequestInvalid(f"there is no WebSocket at {socket.url.path[:100]}; live captions are at /api/captions")
    await socket.send_denial_response(response(fault, 404, path=socket.url.path))


def response(fault: SottoError, status: int | None = None, *, path: str = "") -> JSONResponse:
    """The error object with its status; `path` is that of the request."""
    request_id = new_request_id()
    headers = {"X-Request-ID": request_id}
    wait, status = fault.retry_after_s, status or fault.status
    body: dict[str, Any]
    if fault.status == 401:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 15.5.2: a 401 has one
    if path.startswith(OPENAI):
        body = {"error": openai_error(fault)}
        again = fault.retryable and fault.status != 401  # they would show the same token
        headers["X-Should-Retry"] = str(again).lower()  # OpenAI's libraries repeat every 5xx unless told not to
        if again and wait is None:
            wait = RETRY_S
    elif path.startswith(DEEPGRAM):
        status = 400 if isinstance(fault, UnsupportedFormat | AudioCorrupt) else status
        code = DEEPGRAM_CODES.get(status, fault.code)
        body = {"err_code": code, "err_msg": fault.message, "request_id": request_id}
        headers["dg-error"] = _printable(fault.message)  # of a refused upgrade many clients show only headers
    else:
        body = {"error": error_object(fault, request_id)}
    if wait is not None:
        headers["Retry-After"] = str(round(wait))
    return JSONResponse(body, status, headers)


def openai_error(fault: SottoError) -> dict[str, Any]:
    """As OpenAI's API tells it: always these four keys. The code is ours."""
    kind = "server_error" if fault.status >= 500 else "invalid_request_error"
    if fault.status == 429:
        kind = "rate_limit_error"
    return {"message": fault.message, "type": kind, "param": fault.param, "code": fault.code}


def _printable(text: str) -> str:
    """What a header may hold."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)


def new_request_id() -> str:
    return f"r_{secrets.token_urlsafe(9)}"


async def _sotto(request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, SottoError)
    return response(fault, path=request.url.path)


async def _http(request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, HTTPException)
    answer = response(RequestInvalid(str(fault.detail)), fault.status_code, path=request.url.path)
    answer.headers.update(fault.headers or {})
    return answer


async def _validation(request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, RequestValidationError)
    first = fault.errors()[0]
    param = str(first["loc"][-1])
    return response(RequestInvalid(f"{param}: {first['msg']}", param=param), path=request.url.path)


async def _unexpected(request: Request, fault: Exception) -> JSONResponse:
    log.error("%s %s failed: %s", request.method, request.url.path, type(fault).__name__)  # uvicorn adds the traceback
    return response(SottoError("something went wrong here; the log tells more"), path=request.url.path)

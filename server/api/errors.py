"""Map the error tree to HTTP, once."""

import logging
import secrets

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ..errors import RequestInvalid, SottoError
from .messages import error_object

log = logging.getLogger("sotto")


def install(app: FastAPI) -> None:
    """Every fault of a route is answered with the one error object."""
    app.add_exception_handler(SottoError, _sotto)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(Exception, _unexpected)


def response(fault: SottoError, status: int | None = None) -> JSONResponse:
    """The error object with its status."""
    headers = {} if fault.retry_after_s is None else {"Retry-After": str(round(fault.retry_after_s))}
    if fault.status == 401:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 15.5.2: a 401 has one
    body = {"error": error_object(fault, new_request_id())}
    return JSONResponse(body, status or fault.status, headers)


def new_request_id() -> str:
    return f"r_{secrets.token_urlsafe(9)}"


async def _sotto(_request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, SottoError)
    return response(fault)


async def _http(_request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, HTTPException)
    return response(RequestInvalid(str(fault.detail)), fault.status_code)


async def _validation(_request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, RequestValidationError)
    first = fault.errors()[0]
    param = str(first["loc"][-1])
    return response(RequestInvalid(f"{param}: {first['msg']}", param=param))


async def _unexpected(request: Request, fault: Exception) -> JSONResponse:
    log.error("%s %s failed: %s", request.method, request.url.path, type(fault).__name__)  # uvicorn adds the traceback
    return response(SottoError("something went wrong here; the log tells more"))

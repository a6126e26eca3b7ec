"""A small JSON body, whatever its headers say."""

from typing import TypeVar

import anyio
from fastapi import Request
from pydantic import BaseModel, ValidationError

from ..errors import IdleTimeout, RequestInvalid

BODY_S = 10.0  # seconds in which it must be here
MOST = 65_536  # bytes

Body = TypeVar("Body", bound=BaseModel)


async def read(request: Request, model: type[Body]) -> Body:
    """An empty body is `{}`. Raises RequestInvalid and IdleTimeout."""
    body = b""
    try:
        with anyio.fail_after(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST:
                    raise RequestInvalid(f"expected a JSON object of at most {MOST} bytes")
    except TimeoutError:
        raise IdleTimeout(f"the request did not come within {BODY_S:g} s") from None
    try:
        return model.model_validate_json(body.strip() or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        param = ".".join(map(str, first["loc"])) or None
        said = first["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
        raise RequestInvalid(f"{param}: {said}" if param else "expected a JSON object", param=param) from None

"""Who may talk to the server: the Origin of a browser is checked before anything else, and pages get a strict policy.

A browser sends the user's requests for any page that asks it to, even to a server on loopback, so a foreign page is
turned away by its Origin. Programs send none, and pass. A page of a site that is allowed may read the answers, which
its browser has to be told (CORS, in the Fetch standard).

A page that reads from its own name sends no Origin either. An attacker who points that name at 127.0.0.1 (DNS
rebinding) would read what was said in rooms; so on loopback these are given only to those who ask for a name of this
machine.
"""

import logging
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import OriginForbidden
from .errors import response

POLICY = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "Vary": "Origin",  # an answer kept for one site must not be given to a page of another
    "X-Content-Type-Options": "nosniff",
}
SPOKEN = "/api/rooms/"  # below it is what others have said, for who sends no Origin too
PREFLIGHT_S = 7200  # the longest that Chromium remembers

log = logging.getLogger("sotto")


class Guard:
    """ASGI middleware around everything."""

    def __init__(self, app: ASGIApp, allowed_origins: list[str], host: str) -> None:
        self._app = app
        self._allowed = frozenset(allowed_origins)
        self._names = frozenset(map(_netloc, allowed_origins))
        self._loopback = is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        origin, host = headers.get("origin"), headers.get("host", "")
        page = origin or f"http://{host}"
        spoken = scope["path"].startswith(SPOKEN)
        if (origin and not self._may(page.rstrip("/"), host)) or (spoken and not origin and not self._is_ours(host)):
            fault = OriginForbidden(f"pages of {page[:100]} may not use this server; SOTTO_ALLOWED_ORIGINS")
            log.warning("%r refused: %s", scope["path"][:100], fault.message)
            refusal = response(fault, path=scope["path"])
            if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
                return await send({"type": "websocket.close", "code": OriginForbidden.close})
            return await refusal(scope, receive, send)

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in {**POLICY, **_readable(origin)}.items():
                    answer.setdefault(name, value)
            await send(message)

        if origin and scope["type"] == "http" and (preflight := _preflight(scope["method"], headers)):
            return await preflight(scope, receive, send_with_policy)
        await self._app(scope, receive, send_with_policy)

    def _may(self, origin: str, host: str) -> bool:
        origin = origin.lower()
        if origin in self._allowed or "*" in self._allowed:
            return True
        # A name that an attacker points at 127.0.0.1 makes Origin and Host equal, so on loopback the name counts too.
        netloc = _netloc(origin)
        return bool(netloc) and netloc == host.lower() and self._is_ours(host)

    def _is_ours(self, host: str) -> bool:
        """Whether a page of this name can be our own."""
        if not self._loopback or "*" in self._allowed or host.lower() in self._names:
            return True
        try:
            return is_loopback(urlsplit(f"//{host}").hostname or "")
        except ValueError:  # [ without ]
            return False


def _readable(origin: str | None) -> dict[str, str]:
    """What lets a page of this origin read an answer."""
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": "Retry-After"} if origin else {}


def _preflight(method: str, headers: Headers) -> Response | None:
    """The answer to a browser that asks whether a page may, before it does; None if it does not ask.

    It asks already because the page wants to know how much of a file is sent. Who is allowed here, is allowed all.
    """
    wish = headers.get("access-control-request-method")
    if method != "OPTIONS" or wish is None:
        return None
    allowed = {"Access-Control-Allow-Methods": wish, "Access-Control-Max-Age": str(PREFLIGHT_S)}
    if names := headers.get("access-control-request-headers"):
        allowed["Access-Control-Allow-Headers"] = names
    return Response(status_code=204, headers=allowed)


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # [ without ]
        return ""


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

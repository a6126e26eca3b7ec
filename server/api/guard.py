"""Who may talk to the server: the Origin of a browser is checked before anything else, and pages get a strict policy.

A browser sends the user's requests for any page that asks it to, even to a server on loopback, so a foreign page is
turned away by its Origin. Programs send none, and pass.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import OriginForbidden
from .errors import response

POLICY = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """ASGI middleware around everything."""

    def __init__(self, app: ASGIApp, allowed_origins: list[str], host: str) -> None:
        self._app = app
        self._allowed = frozenset(allowed_origins)
        self._loopback = is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin and not self._may(origin.rstrip("/"), headers.get("host", "")):
            refusal = response(
                OriginForbidden(f"pages of {origin[:100]} may not use this server; SOTTO_ALLOWED_ORIGINS")
            )
            if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
                return await send({"type": "websocket.close", "code": OriginForbidden.close})
            return await refusal(scope, receive, send)

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in POLICY.items():
                    answer.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_policy)

    def _may(self, origin: str, host: str) -> bool:
        origin = origin.lower()
        if origin in self._allowed or "*" in self._allowed:
            return True
        # A name that an attacker points at 127.0.0.1 makes Origin and Host equal, so on loopback the name counts too.
        netloc = _netloc(origin)
        return (
            bool(netloc)
            and netloc == host.lower()
            and (not self._loopback or is_loopback(urlsplit(f"//{host}").hostname or ""))
        )


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

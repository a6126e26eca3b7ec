"""Who may use the server: whoever shows an API key, or a short-lived token that was minted with one.

A key is for programs. A token is for what is given to browsers: it is a time, signed with the server's secret, so every
server with that secret knows it and none has to keep it.
"""

import hmac
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from itertools import pairwise

from starlette.requests import HTTPConnection

from ..errors import AuthExpired, AuthInvalid, AuthMissing
from ..tickets import signature

PURPOSE = "token"  # what is signed begins with it, a ticket with a version: neither passes for the other
SCHEMES = ("bearer", "token")  # RFC 6750; Deepgram's
OPENAI = "openai-insecure-api-key."  # OpenAI's subprotocol for browsers, with the key behind it


class Auth:
    """Knows the keys, and what it minted. Without keys everybody may."""

    def __init__(self, keys: Iterable[str], secret: bytes, now: Callable[[], float] = time.time) -> None:
        self._keys = [_digest(key) for key in keys]
        self._secret = secret
        self._now = now  # seconds since 1970: another machine reads it

    def check(self, credential: str | None) -> None:
        """Passes an API key or a token. Raises AuthMissing, AuthInvalid, or AuthExpired for a token that was good."""
        if self._keys and not self._is_token(credential):
            self._check_key(credential, "an API key or a token")

    def check_key(self, credential: str | None) -> None:
        """Passes an API key and no token: what it asks for is to mint one. Raises AuthMissing or AuthInvalid."""
        if self._keys:
            self._check_key(credential, "an API key, for which no token will do")

    def _check_key(self, credential: str | None, expected: str) -> None:
        if credential is None:
            raise AuthMissing(f"expected {expected}: Authorization: Bearer …")
        shown = _digest(credential)
        if not any([hmac.compare_digest(shown, key) for key in self._keys]):  # all of them: the time tells nothing
            raise AuthInvalid(f"expected {expected}, and one of this server's; got something else")

    def mint(self, seconds: float) -> str:
        """A token that is good for so long; of letters, digits, `-`, `_` and `.`."""
        body = f"{PURPOSE}.{self._now() + seconds:.0f}"
        return f"{body}.{signature(body, self._secret)}"

    def _is_token(self, credential: str | None) -> bool:
        body, _, signed = (credential or "").rpartition(".")
        purpose, _, expires = body.partition(".")
        if purpose != PURPOSE or not hmac.compare_digest(_digest(signature(body, self._secret)), _digest(signed)):
            return False
        if (late := self._now() - int(expires)) >= 0:
            raise AuthExpired(f"this token was good until {late:.0f} s ago")
        return True


def credential(connection: HTTPConnection) -> str | None:
    """The key or token shown in `Authorization`, or in a WebSocket's subprotocols, where browsers can say it."""
    scheme, _, shown = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() in SCHEMES and shown.strip():
        return shown.strip()
    offered = _offered(connection)
    for scheme, following in pairwise(offered):
        if scheme.lower() in SCHEMES:
            return following
    return next((protocol.removeprefix(OPENAI) for protocol in offered if protocol.startswith(OPENAI)), None)


def subprotocol(connection: HTTPConnection) -> str | None:
    """The one of those offered to answer with: a browser closes without, and a key must not be sent back."""
    return next((protocol for protocol in _offered(connection) if protocol.lower() in (*SCHEMES, "realtime")), None)


def blind(connection: HTTPConnection) -> bool:
    """A browser cannot read why an upgrade is refused. Programs say no Origin and offer no subprotocol."""
    readable = "websocket.http.response" in connection.scope.get("extensions", {})
    return not readable or "origin" in connection.headers or bool(_offered(connection))


def _offered(connection: HTTPConnection) -> list[str]:
    return [protocol.strip() for protocol in connection.scope.get("subprotocols", [])]


def _digest(text: str) -> bytes:
    """Of equal length, whatever was shown."""
    return sha256(text.encode()).digest()

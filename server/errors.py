"""What can go wrong, whose fault it is, and what every interface answers.

One class per code. It knows its HTTP status, its WebSocket close code and whether to come back:
4000-4499 mean "come back", 4500-4999 mean "stop".
"""

from typing import ClassVar


class SottoError(Exception):
    """Base of all errors a peer may see; the message says what was expected and what came, in one line."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    close: ClassVar[int] = 1011
    retryable: bool = False  # of the class; one error may know better

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class AuthExpired(SottoError):
    code, status, close, retryable = "auth.expired", 401, 4001, True


class IdleTimeout(SottoError):
    code, status, close, retryable = "idle.timeout", 408, 4008, True


class ClientSlow(SottoError):
    code, close, retryable = "client.slow", 4010, True


class EngineUnavailable(SottoError):
    code, status, close, retryable = "engine.unavailable", 503, 4013, True


class TooManySessions(SottoError):
    code, status, close, retryable = "quota.sessions", 429, 4030, True


class ResumeExpired(SottoError):
    code, status, close, retryable = "resume.expired", 410, 4031, True


class StoreAway(SottoError):
    """The store of rooms did not do it, or did not say so in time."""

    code, status, close, retryable = "room.unavailable", 503, 1013, True


class RoomNotFound(SottoError):
    code, status, close = "room.not_found", 404, 4504


class RoomExpired(SottoError):
    code, status, close = "room.expired", 410, 4505


class RequestInvalid(SottoError):
    code, status, close = "request.invalid", 400, 4500


class AuthMissing(SottoError):
    code, status, close = "auth.missing", 401, 4501


class AuthInvalid(SottoError):
    code, status, close = "auth.invalid", 401, 4501


class OriginForbidden(SottoError):
    code, status, close = "origin.forbidden", 403, 4503


class Superseded(SottoError):
    code, status, close = "session.superseded", 409, 4509


class SessionTooLong(SottoError):
    code, status, close = "session.too_long", 413, 4513


class UnsupportedFormat(SottoError):
    code, status, close = "audio.unsupported_format", 415, 4515


class AudioCorrupt(SottoError):
    code, status, close = "audio.corrupt", 422, 4516


class AudioTooLarge(SottoError):
    code, status, close = "audio.too_large", 413, 4517


class Draining(SottoError):
    code, status, close, retryable = "server.draining", 503, 1012, True


class Overloaded(SottoError):
    code, status, close, retryable = "server.overloaded", 503, 1013, True

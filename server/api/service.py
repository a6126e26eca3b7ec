"""What every route works with: made once by app.py, found in `app.state`."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import anyio
import onnxruntime as ort
from anyio import CapacityLimiter
from starlette.requests import HTTPConnection

from ..engines.pool import Pool
from ..errors import Draining, RequestInvalid, TooManySessions
from ..metrics import Metrics
from ..push.outputs import Outputs
from ..rooms.rooms import Rooms
from ..speech.session import Policy
from .auth import Auth
from .sessions import Sessions

SAME = {"nb": "no", "jv": "jw", "fil": "tl", "iw": "he"}  # codes of browsers → Whisper's
STOPPED = "this server is being stopped; come back, to any other"


@dataclass(frozen=True, slots=True)
class Limits:
    """See settings.py, where each has its sentence."""

    session_s: float
    idle_s: float
    stall_s: float
    max_sessions: int
    max_message_bytes: int
    max_backlog_bytes: int
    max_upload_bytes: int
    max_upload_s: float
    max_uploads: int
    drain_s: float
    resume_s: float
    resume_grace_s: float

    @property
    def max_frame_bytes(self) -> int:
        """What a socket takes at all. The smaller limit of a message can say why it is one."""
        return 8 * self.max_message_bytes


@dataclass(slots=True)
class Service:
    pool: Pool
    vad: ort.InferenceSession
    cpu: CapacityLimiter  # threads that decode live sound; engines have their own
    files: CapacityLimiter  # threads that decode files, fewer than cores: live captions come first
    file_calls: CapacityLimiter  # requests of files that are with the engine; the other half is for live captions
    policy: Policy
    limits: Limits
    folder: Path
    recordings: Path | None  # where those of sessions are kept
    secret: bytes  # tickets are signed with it
    sessions: Sessions
    auth: Auth
    metrics: Metrics
    rooms: Rooms
    outputs: Outputs
    uploads: int = 0  # under way
    answers: int = 0  # to uploads, to be made or on their way
    stopping: anyio.Event = field(default_factory=anyio.Event)

    @property
    def draining(self) -> bool:
        """The server is being stopped: nobody is let in."""
        return self.stopping.is_set()

    @property
    def busy(self) -> bool:
        return bool(self.sessions or self.answers)

    def admit(self) -> None:
        """Raises Draining or TooManySessions where no new session may begin."""
        if self.draining:
            raise Draining(STOPPED)
        if self.sessions.connected >= self.limits.max_sessions:
            raise TooManySessions(f"all {self.limits.max_sessions} sessions are taken", retry_after_s=5)

    def drain(self) -> None:
        """Let nobody in from now on; who is here has `Limits.drain_s` to come to an end."""
        self.stopping.set()

    async def stopped(self) -> NoReturn:
        """Raises Draining when the time to come to an end is over."""
        await self.stopping.wait()
        await anyio.sleep(self.limits.drain_s)
        raise Draining(STOPPED)

    def language(self, wish: str | None) -> str | None:
        """The language to ask the engine for, None for any. Raises RequestInvalid."""
        code = (wish or "auto").lower().replace("_", "-")
        if code in ("auto", "multi"):
            return None
        known = self.pool.engine.languages
        if known is None or code in known:
            return code
        base = code.split("-")[0]
        if (base := SAME.get(base, base)) in known:
            return base
        expected = ", ".join(sorted(known)[:120])
        raise RequestInvalid(
            f"{self.pool.engine.name} knows {expected}, not {wish!r}; leave it out to let the engine decide"[:400],
            param="language",
        )


def service(connection: HTTPConnection) -> Service:
    """The service of the app that serves this connection."""
    found: Service = connection.app.state.service
    return found


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_urlsafe(12)}"

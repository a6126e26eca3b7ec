"""Drive one live session: the only place where audio, speech, engines and readers meet.

The session decides, synchronously; here its decisions are carried out. Nothing waits between a state and its effects.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

import anyio
from anyio import CapacityLimiter, create_task_group, to_thread

from .audio.ingest import Gap, Heard, Ingest, Splice
from .audio.packet import Place
from .engines.base import EngineError, Speech
from .engines.pool import Pool
from .errors import SottoError
from .meter import Meter
from .speech.session import Action, Ended, Missing, Policy, Publish, Session, Started, Unheard
from .speech.types import Caption, Frame, Mark
from .speech.utterance import Transcribe

log = logging.getLogger("sotto")

QUIET_S = 10.0  # seconds without a final after which a silence is settled: the client need not keep it
DELAYED_S = 2.5  # seconds without an answer after which the reader is told; the promise is 3


class Command(Enum):
    """What a client may say between two chunks."""

    RECORDING = auto()  # a new recorder begins: its header comes next
    FINALIZE = auto()
    CLEAR = auto()  # what is being said is to be forgotten
    LEAVE = auto()  # the client is gone and may come back: what can be final without breaking a word is to be
    STOP = auto()


@dataclass(frozen=True, slots=True)
class Warning:
    """Something a reader should know; captions go on. `lag`: seconds behind."""

    code: str
    message: str
    lag: float | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """All before the mark is final, and what comes after it is heard again from the place; `final` brought it about."""

    mark: Mark
    place: Place
    final: Caption | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """So much time: all sound before `time` was heard."""

    time: float


@dataclass(frozen=True, slots=True)
class Finalized:
    """What was said before `time` is final or awaits its final: the client wished so (`asked`), or no sound came."""

    time: float
    asked: bool


@dataclass(frozen=True, slots=True)
class Cleared:
    """What was heard before `time`, in an utterance that had not ended, comes to nothing: it is not ended either."""

    time: float


@dataclass(frozen=True, slots=True)
class Left:
    """The client is gone: the finals of `utterance` and later end where its sound broke off, maybe in mid-word."""

    utterance: int


@dataclass(frozen=True, slots=True)
class Wish:
    """How the session goes on from here; told back when it does."""

    policy: Policy
    language: str | None = None
    prompt: str = ""


Input = bytes | Command | Wish
Output = Caption | Left | Settled | Warning | Started | Ended | Unheard | Passed | Finalized | Cleared | Wish


async def caption(
    receive: Callable[[], Awaitable[Input]],
    ingest: Ingest,
    session: Session,
    pool: Pool,
    publish: Callable[[Output], None],
    *,
    cpu: CapacityLimiter,
    meter: Meter,
    stall_s: float = 2.0,
    resumes: bool = True,
) -> None:
    """Caption one stream until `Command.STOP`; returns when its last final is published.

    Raises the SottoError of a stream that is no audio, after the finals of what was heard before. A client that
    `resumes` may go on elsewhere behind any final, so where its sound only stops coming no word is cut in two.
    `publish` must not wait.
    """
    health = Health(publish)
    fault: SottoError | None = None
    left = False
    settled, known = session.time, ingest.place(session.time)  # what the client knows of
    meter.heard(session.time, meter.now())

    async with health, create_task_group() as tasks:

        def settle(mark: Mark, final: Caption | None = None) -> None:
            nonlocal settled, known
            former, known, settled = known, ingest.place(mark.time), session.time
            if final or known != former:
                publish(Settled(mark, known, final))

        def perform(actions: list[Action]) -> None:
            for action in actions:
                match action:
                    case Transcribe():
                        speech = Speech(
                            action.start, action.end, ingest.cut(action.start, action.end),
                            action.kind, language=action.language, prompt=action.prompt,
                            known=action.known, previous=action.previous, expected=action.expected,
                        )  # fmt: skip
                        tasks.start_soon(ask, action, speech)
                    case Publish(state, mark):
                        meter.told(state)
                        settle(mark, state) if mark else publish(state)
                        if state.degraded:
                            publish(Warning("caption.degraded", "the engine gave up: this caption is its last guess"))
                    case Started() | Ended() | Unheard():
                        publish(action)
                    case Missing(start, end):
                        where = f"from {start:.1f} to {end:.1f} s"
                        publish(Warning("caption.degraded", f"the engine has no text for what was said {where}"))

        async def ask(request: Transcribe, speech: Speech) -> None:
            health.asked()
            try:
                answer = await pool.transcribe(session, speech)
            except EngineError as error:
                health.failed(error)
                perform(session.failed(request))
            else:
                health.answered()
                perform(session.hypothesis(request, answer))

        def hear(heard: list[Heard]) -> None:
            for item in heard:
                match item:
                    case Frame():
                        perform(session.hear(item))
                    case Splice():
                        perform(session.finalize())
                    case Gap(at, missing):
                        publish(Warning("audio.gap", f"{missing:.1f} s of audio are missing at {at:.1f} s"))

        def flush() -> None:
            hear(ingest.flush())
            meter.heard(session.time, meter.now())

        def feed(data: bytes, needs: float) -> list[Heard]:
            ingest.forget(needs)
            return ingest.feed(data)

        try:
            while True:
                with anyio.move_on_after(stall_s) as waited:
                    said = await receive()
                if waited.cancelled_caught:
                    perform(session.leave() if resumes else session.stall())
                    publish(Finalized(session.time, asked=False))
                    said = await receive()
                match said:
                    case Command.STOP:
                        break
                    case Command.RECORDING:
                        hear(ingest.splice())
                    case Command.FINALIZE:
                        flush()
                        perform(session.finalize())
                        publish(Finalized(session.time, asked=True))
                    case Command.LEAVE:
                        flush()
                        perform(session.leave())
                        publish(Left(session.number))
                        left = True
                    case Command.CLEAR:
                        flush()
                        session.clear()
                        publish(Cleared(session.time))
                    case Wish(wished, language, prompt):
                        session.wish(wished, language, prompt)
                        publish(said)
                    case data:
                        came = meter.now()
                        hear(await to_thread.run_sync(feed, data, session.needs, limiter=cpu))
                        meter.heard(session.time, came)
                        perform(session.pulse())
                        publish(Passed(session.time))
                        if session.time - settled >= QUIET_S and (mark := session.settled):
                            settle(mark)
        except SottoError as error:
            fault = error
        hear(ingest.finish())
        meter.heard(session.time, meter.now())
        goes_on = resumes and not left and fault is not None and fault.retryable
        perform(session.leave() if goes_on else session.finish())
    if fault:
        raise fault


class Health:
    """Says once that answers are late or keep failing, and once that it is over.

    What failed and has no successor is not late: nothing more will come of it, and no timer runs for it.
    """

    def __init__(self, publish: Callable[[Output], None]) -> None:
        self._publish = publish
        self._since: float | None = None  # wall-clock time of the first request since the last answer
        self._in_air = 0  # requests
        self._failed = 0.0  # wall-clock time of the latest failure
        self._timer: asyncio.TimerHandle | None = None
        self._warned = False
        self._failing = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop_timer()
        self._calm("the session is over: nothing is waited for any more")

    def asked(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._since is None or (not self._in_air and now - self._failed > DELAYED_S):
            self._since = now  # what failed long ago tells nothing about this one
        self._in_air += 1
        self._start_timer()

    def answered(self) -> None:
        self._in_air -= 1
        self._failing = False
        self._stop_timer()
        self._since = None
        if self._in_air:  # the others are no older than the engine's last sign of life
            self._since = asyncio.get_running_loop().time()
            self._start_timer()
        self._calm("the engine answers again")

    def failed(self, error: EngineError) -> None:
        """The reason is for the log, once; the reader hears of it when an answer is late."""
        if not self._failing:
            log.warning("%s", error)
        self._failing = True
        self._failed = asyncio.get_running_loop().time()
        self._in_air -= 1
        if not self._in_air:
            self._stop_timer()

    def _start_timer(self) -> None:
        assert self._since is not None
        if self._timer or self._warned:
            return
        loop = asyncio.get_running_loop()
        if self._since + DELAYED_S <= loop.time():  # one failed after the other
            self._late()
        else:
            self._timer = loop.call_at(self._since + DELAYED_S, self._late)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _calm(self, why: str) -> None:
        if self._warned:
            self._warned = False
            self._publish(Warning("engine.delayed", why, 0.0))

    def _late(self) -> None:
        assert self._since is not None
        self._timer, self._warned = None, True
        lag = asyncio.get_running_loop().time() - self._since
        self._publish(Warning("engine.delayed", "the engine is slow or away; captions will catch up", round(lag, 1)))

"""Between sessions and the slow, failing world: fair turns, deadlines, retries, a breaker, a second engine."""

import logging
import random
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from ..speech.types import Hypothesis, Kind
from .base import Engine, EngineError, Speech


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try for one kind of request; seconds of wall-clock time."""

    total: float
    attempt: float
    backoff: float | None = None  # before the second attempt, doubled before each one after it; None: only one attempt


PATIENCE = {
    Kind.PARTIAL: Patience(total=3.0, attempt=3.0),
    Kind.EARLY: Patience(total=10.0, attempt=10.0),
    Kind.FINAL: Patience(total=120.0, attempt=30.0, backoff=0.3),
}
# A call in this process cannot be ended: another attempt would only stand beside it, and make both slower.
UNHURRIED = PATIENCE | {Kind.FINAL: Patience(total=120.0, attempt=120.0, backoff=0.3)}
RANK = {Kind.FINAL: 0, Kind.EARLY: 1, Kind.PARTIAL: 2}  # who goes first
LONGEST_BACKOFF = 8.0  # seconds
LONGEST_RETRY_AFTER = 60.0  # seconds; a server that asks for more is not waited for
REST = 1.0  # seconds between the trial calls to an engine that keeps failing

log = logging.getLogger("sotto")


@dataclass(frozen=True, slots=True)
class Call:
    """One call to an engine, as it came out."""

    engine: str
    kind: Kind
    result: str  # "ok", "failed" or "late"
    seconds: float  # wall-clock, its standing in line not counted
    audio_s: float


class Turns:
    """At most `limit` calls at once. Finals first; within a rank, sessions take turns."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: list[OrderedDict[object, deque[anyio.Event]]] = [OrderedDict() for _ in RANK]

    @asynccontextmanager
    async def turn(self, kind: Kind, session: object) -> AsyncIterator[None]:
        if self._free:
            self._free -= 1
        else:
            await self._queue(self._waiting[RANK[kind]], session)
        try:
            yield
        finally:
            self._pass_on()

    async def _queue(self, rank: OrderedDict[object, deque[anyio.Event]], session: object) -> None:
        turn = anyio.Event()
        rank.setdefault(session, deque()).append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self._pass_on()  # it came in the same moment as the cancellation
            else:
                rank[session].remove(turn)
                if not rank[session]:
                    del rank[session]
            raise

    def _pass_on(self) -> None:
        for rank in self._waiting:
            if rank:
                session, turns = rank.popitem(last=False)
                turns.popleft().set()
                if turns:
                    rank[session] = turns  # to the end of the line
                return
        self._free += 1


class Breaker:
    """After `threshold` failures in a row, nothing but one trial call every `pause` seconds."""

    def __init__(self, clock: Callable[[], float], pause: float = REST, threshold: int = 5) -> None:
        self._clock, self._threshold, self._pause = clock, threshold, pause
        self._failures = 0
        self._next_trial = 0.0

    @property
    def open(self) -> bool:
        return self._failures >= self._threshold

    def allows(self) -> bool:
        """Whether a call may be made now; the one allowed while open is the trial."""
        if not self.open:
            return True
        if self._clock() < self._next_trial:
            return False
        self._next_trial = self._clock() + self._pause
        return True

    def note(self, success: bool) -> None:
        if success:
            self._failures = 0
            return
        self._failures += 1
        self._next_trial = self._clock() + self._pause


class Pool:
    """One engine, its threads, its breaker, and another pool to fall back on.

    `async with` it: it owns the tasks in which threads run. A call that was given up keeps its turn until its thread
    really returns, because threads cannot be cancelled: so there are never more than `concurrency` of them.
    """

    def __init__(
        self,
        engine: Engine,
        concurrency: int,
        fallback: "Pool | None" = None,
        *,
        patience: Mapping[Kind, Patience] = PATIENCE,
        rest: float = REST,
        observe: Callable[[Call], None] = lambda call: None,
    ) -> None:
        self._observe = observe
        self.engine = engine
        self._concurrency = concurrency
        self._fallback = fallback
        self._patience = patience
        self._breaker = Breaker(anyio.current_time, rest)
        self._turns = Turns(concurrency)

    async def __aenter__(self) -> Self:
        self._threads = anyio.CapacityLimiter(self._concurrency)
        async with AsyncExitStack() as stack:
            stack.callback(self.engine.close)
            if self._fallback:
                await stack.enter_async_context(self._fallback)
            self._tasks = await stack.enter_async_context(anyio.create_task_group())
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.__aexit__(kind, error, trace)

    @property
    def wants_samples(self) -> bool:
        """Whether any of the engines does."""
        return self.engine.wants_samples or (self._fallback is not None and self._fallback.wants_samples)

    @property
    def longest(self) -> float:
        """Seconds of audio that all of the engines take at once."""
        return min(self.engine.longest, self._fallback.longest if self._fallback else self.engine.longest)

    def knows(self, language: str | None) -> bool:
        known = self.engine.languages
        return language is None or known is None or language in known

    async def transcribe(self, session: object, speech: Speech) -> Hypothesis:
        """The engine's answer; sessions take turns by their `session` key.

        Raises EngineError: for a partial at the first failure, for a final when nobody answered in two minutes.
        """
        patience = self._patience[speech.kind]
        try:
            with anyio.fail_after(patience.total):
                return await self._persist(session, speech, patience)
        except TimeoutError:
            error = EngineError(f"{self.engine.name} did not answer within {patience.total:g} s")
        except EngineError as failed:
            error = failed
        other = self._fallback
        if other is None or speech.kind is not Kind.FINAL or not other.knows(speech.language):
            raise error
        log.warning("%s; %s is asked instead", error, other.engine.name)
        answer = await other.transcribe(session, replace(speech, known=(), previous=None, expected=""))
        return replace(answer, tokens=())  # each engine has tokens of its own

    async def _persist(self, session: object, speech: Speech, patience: Patience) -> Hypothesis:
        backoff = patience.backoff
        while True:
            jitter = random.uniform(0.5, 1.0)  # so that the sessions which failed together do not come back together
            wait = jitter * (backoff or 0.0)
            if self._breaker.allows():
                try:
                    return await self._attempt(session, replace(speech, timeout=patience.attempt))
                except EngineError as error:
                    if backoff is None or not error.retryable:
                        raise
                    if error.retry_after is not None:
                        wait = min(error.retry_after, LONGEST_RETRY_AFTER) + wait
            elif backoff is None:
                raise EngineError(f"{self.engine.name} keeps failing; it is given a rest")
            await anyio.sleep(wait)
            backoff = min(2 * backoff, LONGEST_BACKOFF)

    async def _attempt(self, session: object, speech: Speech) -> Hypothesis:
        await checkpoint_if_cancelled()  # who has gone already costs the engine nothing
        answer: list[Hypothesis | EngineError] = []
        done = anyio.Event()
        in_line = anyio.CancelScope()
        started = anyio.Event()

        async def work() -> None:
            with in_line:
                async with self._turns.turn(speech.kind, session):
                    started.set()
                    answer.append(await anyio.to_thread.run_sync(self._call, speech, limiter=self._threads))
            done.set()

        self._tasks.start_soon(work)
        try:
            await started.wait()  # standing in line is not the engine's fault: the caller's patience bounds it
            began = anyio.current_time()
            with anyio.move_on_after(speech.timeout):
                await done.wait()
        finally:
            in_line.cancel()  # anyio waits for a thread that runs already
        late = EngineError(f"{self.engine.name} did not answer within {speech.timeout:g} s")
        result = answer[0] if answer else late
        outcome = "late" if result is late else "failed" if isinstance(result, EngineError) else "ok"
        seconds = anyio.current_time() - began
        self._observe(Call(self.engine.name, speech.kind, outcome, seconds, speech.end - speech.start))
        if isinstance(result, EngineError):
            if result is not late or speech.kind is not Kind.PARTIAL:  # slow is not broken
                self._breaker.note(not result.retryable)
            raise result
        self._breaker.note(True)
        return result

    def _call(self, speech: Speech) -> Hypothesis | EngineError:
        try:
            return self.engine.transcribe(speech)
        except EngineError as error:
            return error
        except BaseException as error:
            # Not even the panic of a Rust extension may end the sessions that share our tasks.
            log.error("%s failed", self.engine.name, exc_info=error)
            return EngineError(f"{self.engine.name} failed: {type(error).__name__}")

"""Between sessions and a slow, failing engine: finals are never dropped, and nobody waits for somebody else's."""

import asyncio
import threading
from dataclasses import replace

import anyio
import pytest
from anyio import to_thread
from api.conftest import Clock
from fakes import ScriptedEngine, Silence

from server.engines.base import EngineError, Speech
from server.engines.pool import PATIENCE, Breaker, Patience, Pool, Turns
from server.speech.types import Hypothesis, Kind

pytestmark = pytest.mark.anyio

SOON = 0.02  # seconds
QUICK = {
    Kind.PARTIAL: Patience(total=60, attempt=60),
    Kind.EARLY: Patience(total=60, attempt=60),
    Kind.FINAL: Patience(total=60, attempt=60, backoff=0.001),
}
HASTY = {kind: replace(patience, attempt=SOON) for kind, patience in QUICK.items()}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(asyncio.get_running_loop(), monkeypatch)


def speech(kind: Kind = Kind.FINAL, start: float = 0.0) -> Speech:
    return Speech(start, start + 1.0, Silence(), kind)


async def begun(engine: ScriptedEngine, calls: int) -> None:
    await to_thread.run_sync(engine.wait_for, calls)


async def test_a_final_is_asked_for_until_it_comes() -> None:
    engine = ScriptedEngine(EngineError("no"), EngineError("not yet"), EngineError("wait"), "it was the best of times")
    async with Pool(engine, 1, patience=QUICK) as pool:
        assert (await pool.transcribe("a", speech())).text == "it was the best of times"
    assert len(engine.heard) == 4


@pytest.mark.parametrize("kind", [Kind.PARTIAL, Kind.EARLY])
async def test_what_nobody_misses_is_asked_for_once(kind: Kind) -> None:
    engine = ScriptedEngine(EngineError("no"))
    async with Pool(engine, 1, patience=QUICK) as pool:
        with pytest.raises(EngineError, match="no"):
            await pool.transcribe("a", speech(kind))
    assert len(engine.heard) == 1


async def test_what_cannot_be_helped_is_not_asked_for_again() -> None:
    engine = ScriptedEngine(EngineError("no such model", retryable=False))
    async with Pool(engine, 1, patience=QUICK) as pool:
        with pytest.raises(EngineError, match="no such model"):
            await pool.transcribe("a", speech())
    assert len(engine.heard) == 1


async def test_patience_with_a_final_ends_too() -> None:
    engine = ScriptedEngine(*[EngineError("no")] * 1000)
    patience = {**QUICK, Kind.FINAL: Patience(total=1, attempt=10, backoff=0.001)}
    async with Pool(engine, 1, patience=patience, rest=0.001) as pool:
        with pytest.raises(EngineError, match="did not answer within 1 s"):
            await pool.transcribe("a", speech())
    assert len(engine.heard) > 2


async def test_an_engine_that_asks_for_time_gets_it() -> None:
    engine = ScriptedEngine(EngineError("too many requests", retry_after=0.06), "thanks")
    async with Pool(engine, 1, patience=QUICK) as pool:
        begin = anyio.current_time()
        assert (await pool.transcribe("a", speech())).text == "thanks"
        assert 0.06 <= anyio.current_time() - begin < 2


async def test_the_engine_is_told_how_long_it_has() -> None:
    engine = ScriptedEngine()
    async with Pool(engine, 1) as pool:
        for kind in Kind:
            await pool.transcribe("a", speech(kind))
    assert [heard.timeout for heard in engine.heard] == [PATIENCE[kind].attempt for kind in Kind]


async def test_a_partial_that_comes_too_late_is_given_up() -> None:
    engine = ScriptedEngine()
    engine.hold()
    async with Pool(engine, 1, patience=HASTY) as pool:
        with pytest.raises(EngineError, match=r"within 0\.02 s"):
            await pool.transcribe("a", speech(Kind.PARTIAL))
        engine.release()


async def test_a_partial_that_waits_too_long_for_its_turn_is_given_up_and_never_asked() -> None:
    engine = ScriptedEngine()
    engine.hold()
    patience = {**QUICK, Kind.PARTIAL: Patience(total=SOON, attempt=10)}
    async with Pool(engine, 1, patience=patience) as pool, anyio.create_task_group() as tasks:
        tasks.start_soon(pool.transcribe, "a", speech())
        await begun(engine, 1)
        with pytest.raises(EngineError):
            await pool.transcribe("b", speech(Kind.PARTIAL))
        engine.release()
    assert [heard.kind for heard in engine.heard] == [Kind.FINAL]


async def test_slow_is_not_broken() -> None:
    engine = ScriptedEngine()
    engine.hold()
    async with Pool(engine, 20, patience={**HASTY, Kind.EARLY: QUICK[Kind.EARLY]}) as pool:
        for _ in range(10):
            with pytest.raises(EngineError):
                await pool.transcribe("a", speech(Kind.PARTIAL))
        engine.release()
        assert (await pool.transcribe("a", speech(Kind.EARLY))).text == "ok"


async def test_a_greedy_session_does_not_starve_another() -> None:
    engine = ScriptedEngine()
    engine.hold()
    async with Pool(engine, 1, patience=QUICK) as pool, anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(pool.transcribe, "greedy", speech(start=float(number)))
        await anyio.wait_all_tasks_blocked()
        for number in range(2):
            tasks.start_soon(pool.transcribe, "modest", speech(start=1000.0 + number))
        await anyio.wait_all_tasks_blocked()
        engine.release()
    order = [heard.start for heard in engine.heard]
    assert order[:5] == [0.0, 1.0, 1000.0, 2.0, 1001.0]
    assert [start for start in order if start < 1000] == [float(number) for number in range(100)]


async def test_finals_go_first_and_partials_last() -> None:
    engine = ScriptedEngine()
    engine.hold()
    async with Pool(engine, 1, patience=QUICK) as pool, anyio.create_task_group() as tasks:
        tasks.start_soon(pool.transcribe, "a", speech(Kind.PARTIAL))
        await begun(engine, 1)
        for session, kind in enumerate([Kind.PARTIAL, Kind.EARLY, Kind.FINAL, Kind.PARTIAL, Kind.FINAL]):
            tasks.start_soon(pool.transcribe, session, speech(kind))
        await anyio.wait_all_tasks_blocked()
        engine.release()
    assert [heard.kind for heard in engine.heard[1:]] == [Kind.FINAL] * 2 + [Kind.EARLY] + [Kind.PARTIAL] * 2


async def test_there_are_never_more_calls_than_allowed_even_when_callers_give_up() -> None:
    engine = ScriptedEngine()
    engine.hold()
    patience = {**QUICK, Kind.PARTIAL: Patience(total=SOON, attempt=SOON)}
    async with Pool(engine, 2, patience=patience) as pool:
        for session in range(6):
            with pytest.raises(EngineError):
                await pool.transcribe(session, speech(Kind.PARTIAL))
        await begun(engine, 2)  # a thread that was given a call may not have begun it yet
        assert engine.running == 2 and len(engine.heard) == 2
        engine.release()
        assert (await pool.transcribe("patient", speech())).text == "ok"
    assert engine.most == 2


async def test_many_finals_at_once_use_all_that_is_allowed_and_no_more() -> None:
    engine = ScriptedEngine()
    engine.hold()
    async with Pool(engine, 3, patience=QUICK) as pool, anyio.create_task_group() as tasks:
        for session in range(30):
            tasks.start_soon(pool.transcribe, session, speech())
        await begun(engine, 3)
        await anyio.wait_all_tasks_blocked()
        assert engine.running == 3
        engine.release()
    assert engine.most == 3 and len(engine.heard) == 30


async def test_a_call_that_hangs_does_not_block_the_others() -> None:
    stuck = threading.Event()

    def hang(speech: Speech) -> Hypothesis:
        stuck.wait()
        return Hypothesis("at last")

    engine = ScriptedEngine(hang)
    async with Pool(engine, 2, patience=QUICK) as pool, anyio.create_task_group() as tasks:
        tasks.start_soon(pool.transcribe, "unlucky", speech())
        await begun(engine, 1)
        for _ in range(20):
            assert (await pool.transcribe("lucky", speech(Kind.PARTIAL))).text == "ok"
        stuck.set()


async def test_a_final_whose_call_hangs_is_asked_for_again() -> None:
    stuck = threading.Event()

    def hang(speech: Speech) -> Hypothesis:
        stuck.wait()
        return Hypothesis("too late")

    engine = ScriptedEngine(hang)
    async with Pool(engine, 2, patience={**QUICK, Kind.FINAL: Patience(10, 0.1, 0.001)}) as pool:
        try:
            assert (await pool.transcribe("a", speech())).text == "ok"  # of the second call, or of one after it
        finally:
            stuck.set()


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_who_leaves_the_line_gives_the_turn_to_the_next(concurrency: int) -> None:
    engine = ScriptedEngine()
    engine.hold()
    async with Pool(engine, concurrency, patience=QUICK) as pool, anyio.create_task_group() as tasks:
        for session in range(concurrency):
            tasks.start_soon(pool.transcribe, session, speech())
        await begun(engine, concurrency)
        async with anyio.create_task_group() as leaving:
            for _ in range(3):
                leaving.start_soon(pool.transcribe, "leaver", speech(start=7.0))
            await anyio.wait_all_tasks_blocked()
            leaving.cancel_scope.cancel()
        tasks.start_soon(pool.transcribe, "next", speech(start=8.0))
        engine.release()
    assert [heard.start for heard in engine.heard] == [0.0] * concurrency + [8.0]


async def test_who_leaves_in_the_moment_of_the_turn_gives_it_on() -> None:
    engine = ScriptedEngine()
    engine.hold()
    async with Pool(engine, 1, patience=QUICK) as pool:
        async with anyio.create_task_group() as leaving:
            leaving.start_soon(pool.transcribe, "leaver", speech(start=7.0))
            leaving.cancel_scope.cancel()  # before its task has even begun
        async with anyio.create_task_group() as leaving:
            leaving.start_soon(pool.transcribe, "leaver", speech())
            await begun(engine, 1)
            leaving.cancel_scope.cancel()  # while the engine works for it
        engine.release()
        assert (await pool.transcribe("next", speech(start=8.0))).text == "ok"
    assert [heard.start for heard in engine.heard] == [0.0, 8.0]


async def test_a_turn_that_comes_in_the_moment_of_leaving_is_passed_on() -> None:
    turns = Turns(1)

    async def wait() -> None:
        async with turns.turn(Kind.FINAL, "leaver"):
            raise AssertionError("it had left")

    async with turns.turn(Kind.FINAL, "first"):
        leaver = asyncio.create_task(wait())
        await anyio.wait_all_tasks_blocked()
    leaver.cancel()  # its turn is here, and it has not awoken yet
    with pytest.raises(asyncio.CancelledError):
        await leaver
    with anyio.fail_after(5):
        async with turns.turn(Kind.FINAL, "next"):
            pass


def test_five_failures_in_a_row_open_the_breaker_and_one_success_closes_it() -> None:
    now = 0.0
    breaker = Breaker(lambda: now, pause=1.0)
    for _ in range(4):
        breaker.note(False)
    breaker.note(True)
    for _ in range(4):
        breaker.note(False)
    assert not breaker.open and breaker.allows()
    breaker.note(False)
    assert breaker.open and not breaker.allows()
    now = 1.0
    assert [breaker.allows(), breaker.allows()] == [True, False]  # the trial, and nobody beside it
    breaker.note(False)
    now = 1.9
    assert not breaker.allows()
    now = 2.0
    assert breaker.allows()
    breaker.note(True)
    assert not breaker.open and breaker.allows() and breaker.allows()


async def test_an_engine_that_keeps_failing_is_given_a_rest_and_then_a_trial(clock: Clock) -> None:
    engine = ScriptedEngine(*[EngineError("no")] * 5)
    patience = {**QUICK, Kind.FINAL: Patience(total=600, attempt=60, backoff=8)}
    async with Pool(engine, 1, patience=patience, rest=60) as pool:
        for _ in range(5):
            with pytest.raises(EngineError, match="no"):
                await pool.transcribe("a", speech(Kind.PARTIAL))
        with pytest.raises(EngineError, match="given a rest"):
            await pool.transcribe("a", speech(Kind.PARTIAL))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.transcribe, "a", speech())  # a final waits for the trial
            await clock.forward(30)
            assert len(engine.heard) == 5
            await clock.forward(40)
        assert (await pool.transcribe("a", speech(Kind.PARTIAL))).text == "ok"
    assert [heard.kind for heard in engine.heard[5:]] == [Kind.FINAL, Kind.PARTIAL]


async def test_a_request_the_engine_refuses_does_not_open_the_breaker() -> None:
    engine = ScriptedEngine(*[EngineError("too short", retryable=False)] * 9)
    async with Pool(engine, 1, patience=QUICK) as pool:
        for _ in range(9):
            with pytest.raises(EngineError, match="too short"):
                await pool.transcribe("a", speech(Kind.PARTIAL))
        assert (await pool.transcribe("a", speech(Kind.PARTIAL))).text == "ok"


async def test_the_second_engine_is_for_finals_only() -> None:
    first = ScriptedEngine(*[EngineError("broken", retryable=False)] * 3)
    second = ScriptedEngine("from the second")
    async with Pool(first, 1, Pool(second, 1, patience=QUICK), patience=QUICK) as pool:
        for kind in (Kind.PARTIAL, Kind.EARLY):
            with pytest.raises(EngineError, match="broken"):
                await pool.transcribe("a", speech(kind))
        assert (await pool.transcribe("a", speech())).text == "from the second"
    assert [heard.kind for heard in second.heard] == [Kind.FINAL]
    assert first.closed and second.closed


async def test_the_second_engine_is_told_nothing_in_the_tokens_of_the_first() -> None:
    second = ScriptedEngine(Hypothesis("from the second", tokens=(7, 8)))
    second.wants_samples, second.longest = True, 20.0
    first = ScriptedEngine(EngineError("broken", retryable=False))
    first.wants_samples = False
    before = Hypothesis("before", tokens=(3,))
    asked = replace(speech(), known=(1, 2), previous=before, expected="before", prompt="Sotto")
    async with Pool(first, 1, Pool(second, 1, patience=QUICK), patience=QUICK) as pool:
        assert pool.wants_samples and pool.longest == 20.0
        assert (await pool.transcribe("a", asked)).tokens == ()
    (heard,) = second.heard
    assert (heard.known, heard.previous, heard.expected, heard.prompt) == ((), None, "", "Sotto")


async def test_a_second_engine_that_does_not_know_the_language_is_not_asked() -> None:
    first, second = ScriptedEngine(EngineError("broken", retryable=False)), ScriptedEngine()
    second.languages = frozenset({"en"})
    async with Pool(first, 1, Pool(second, 1, patience=QUICK), patience=QUICK) as pool:
        with pytest.raises(EngineError, match="broken"):
            await pool.transcribe("a", replace(speech(), language="de"))
    assert not second.heard


async def test_when_the_second_engine_fails_too_that_is_told() -> None:
    failure = EngineError("broken", retryable=False)
    second = Pool(ScriptedEngine(EngineError("broken too", retryable=False)), 1, patience=QUICK)
    async with Pool(ScriptedEngine(failure), 1, second, patience=QUICK) as pool:
        with pytest.raises(EngineError, match="broken too"):
            await pool.transcribe("a", speech())


class Panic(BaseException):
    """What a Rust extension raises."""


@pytest.mark.parametrize(
    "error",
    [ValueError("?"), TimeoutError(), MemoryError(), StopIteration(), Panic(), SystemExit(1), asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_the_engine_raises_is_its_failure_and_not_ours(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    engine = ScriptedEngine(error, error)
    async with Pool(engine, 1, patience=QUICK) as pool:
        with pytest.raises(EngineError, match=rf"^scripted failed: {type(error).__name__}$"):
            await pool.transcribe("a", speech(Kind.PARTIAL))
        assert (await pool.transcribe("a", speech())).text == "ok"
    assert len(engine.heard) == 3
    assert [record.getMessage() for record in caplog.records] == ["scripted failed"] * 2


async def test_the_end_waits_for_what_is_in_the_air_and_closes_the_engine() -> None:
    engine = ScriptedEngine()
    engine.hold()
    closed_while_running: list[bool] = []
    engine.close = lambda: closed_while_running.append(engine.running > 0)  # type: ignore[method-assign]
    async with Pool(engine, 1, patience=HASTY) as pool:
        with pytest.raises(EngineError):
            await pool.transcribe("a", speech(Kind.PARTIAL))
        engine.release()
    assert closed_while_running == [False]


async def test_the_engine_is_closed_even_when_something_else_failed() -> None:
    first, second = ScriptedEngine(), ScriptedEngine()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with Pool(first, 1, Pool(second, 1)):
            raise LookupError("elsewhere")
    assert caught.group_contains(LookupError)
    assert first.closed and second.closed

"""A reader is told once that answers are late, and once that it is over; never for nothing."""

import asyncio

import pytest
from api.conftest import Clock

from server.engines.base import EngineError
from server.live import DELAYED_S, Health, Output, Warning

pytestmark = pytest.mark.anyio
FAILURE = EngineError("the server failed (500)")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(asyncio.get_running_loop(), monkeypatch)


def lags(told: list[Output]) -> list[float]:
    return [round(one.lag) for one in told if isinstance(one, Warning) and one.lag is not None]


async def test_a_late_answer_is_told_once_and_taken_back_when_it_comes(clock: Clock) -> None:
    told: list[Output] = []
    async with Health(told.append) as health:
        health.asked()
        await clock.forward(DELAYED_S + 0.1)
        health.asked()
        await clock.forward(60)
        assert lags(told) == [3]
        health.answered()
        health.answered()
    assert lags(told) == [3, 0]


async def test_what_was_told_is_taken_back_at_the_end_also_when_no_answer_came(clock: Clock) -> None:
    told: list[Output] = []
    async with Health(told.append) as health:
        health.asked()
        await clock.forward(DELAYED_S + 0.1)
        health.failed(FAILURE)
    assert lags(told) == [3, 0]


async def test_one_request_that_failed_at_once_is_not_late(clock: Clock) -> None:
    told: list[Output] = []
    async with Health(told.append) as health:
        health.asked()
        health.failed(FAILURE)
        await clock.forward(60)
        health.asked()
        await clock.forward(1)
        health.answered()
    assert told == []


async def test_when_one_after_the_other_fails_at_once_it_is_told(clock: Clock) -> None:
    told: list[Output] = []
    async with Health(told.append) as health:
        for _ in range(4):
            health.asked()
            health.failed(FAILURE)
            await clock.forward(1)
        assert lags(told) == [3]


async def test_a_request_that_hangs_is_told_of_while_others_are_answered(clock: Clock) -> None:
    told: list[Output] = []
    async with Health(told.append) as health:
        health.asked()
        health.asked()
        health.answered()
        await clock.forward(DELAYED_S + 0.1)
        assert lags(told) == [3]

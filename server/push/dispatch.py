"""Every courier of this process: they may still be under way when their session is over."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio
import httpx2

from .courier import BACKOFF_S, Courier, Place

FAREWELL_S = 10.0  # seconds that what is still waiting has when its session is over


class Dispatch:
    """`async with` it: leaving waits FAREWELL_S for the couriers whose session is over, and no longer."""

    def __init__(self, drop: Callable[[], None], *, backoff_s: float = BACKOFF_S) -> None:
        self._drop = drop
        self._backoff_s = backoff_s
        self._under_way: dict[Courier, anyio.CancelScope] = {}

    async def __aenter__(self) -> Self:
        # What is told is told to whom the settings and the session name, and to nobody they point to.
        self._http = httpx2.AsyncClient(follow_redirects=False, trust_env=False)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for courier in list(self._under_way):
            self.dismiss(courier)
        try:
            await self._tasks.__aexit__(kind, error, trace)
        finally:
            await self._http.aclose()

    def send(self, place: Place) -> Courier:
        """A courier to this place, until it is dismissed."""
        courier = Courier(place, self._http, self._drop, backoff_s=self._backoff_s)
        self._under_way[courier] = scope = anyio.CancelScope()

        async def run() -> None:
            with scope:
                await courier.run()
            del self._under_way[courier]

        self._tasks.start_soon(run)
        return courier

    def dismiss(self, courier: Courier) -> None:
        """Its session is over: it tells what is waiting, if that is soon done."""
        courier.close()
        if scope := self._under_way.get(courier):
            scope.deadline = min(scope.deadline, anyio.current_time() + FAREWELL_S)

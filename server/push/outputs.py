"""Where finals go besides the room: to whom a session names, and to the operator's webhook.

Couriers may still be under way when their session is over.
"""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import anyio
import httpx2

from .address import allowed
from .courier import BACKOFF_S, Courier, Destination
from .webhook import Webhook
from .youtube import YouTube
from .zoom import Zoom

FAREWELL_S = 10.0  # seconds that what is still waiting has when its session is over
NAMED: dict[str, Callable[[str], Destination]] = {"zoom": Zoom, "youtube": YouTube}


class Outputs:
    """`async with` it: leaving waits FAREWELL_S for the couriers, and no longer. `drop`: for each final not taken.

    A session may name addresses of `hosts`, and hosts below those, only: it must not send this server anywhere else.
    """

    def __init__(
        self,
        hosts: list[str],
        webhook: Callable[[], Webhook] | None,
        drop: Callable[[], None],
        *,
        backoff_s: float = BACKOFF_S,
    ) -> None:
        self._hosts = hosts
        self._webhook = webhook
        self._drop = drop
        self._backoff_s = backoff_s
        self._under_way: dict[Courier, anyio.CancelScope] = {}
        self._client: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.dismiss([*self._under_way])
        try:
            await self._tasks.__aexit__(kind, error, trace)
        finally:
            if self._client:
                await self._client.aclose()

    def named(self, addresses: Mapping[str, str]) -> list[Destination]:
        """Those of a session, by NAMED. Raises ValueError, which says what was expected and not what came."""
        for name, url in addresses.items():
            if not allowed(url, self._hosts):
                raise ValueError(f"push.{name}: expected an address of {', '.join(self._hosts) or 'no host at all'}")
        return [NAMED[name](url) for name, url in addresses.items()]

    def send(self, destinations: list[Destination]) -> list[Courier]:
        """Couriers to these and to the webhook, until they are dismissed."""
        every = [*destinations, *([self._webhook()] if self._webhook else [])]
        return [self._send(destination) for destination in every]

    def dismiss(self, couriers: list[Courier]) -> None:
        """Their session is over: they tell what is waiting, if that is soon done."""
        for courier in couriers:
            courier.close()
            if scope := self._under_way.get(courier):
                scope.deadline = min(scope.deadline, anyio.current_time() + FAREWELL_S)

    def _send(self, destination: Destination) -> Courier:
        courier = Courier(destination, self._http(), self._drop, backoff_s=self._backoff_s)
        self._under_way[courier] = scope = anyio.CancelScope()

        async def run() -> None:
            with scope:
                await courier.run()
            del self._under_way[courier]

        self._tasks.start_soon(run)
        return courier

    def _http(self) -> httpx2.AsyncClient:
        """Made when it is needed: certificates take a tenth of a second to read, and few servers send anything."""
        if self._client is None:
            self._client = httpx2.AsyncClient(follow_redirects=False, trust_env=False)  # nobody sends us on to others
        return self._client

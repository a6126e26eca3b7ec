"""Every store there is, made anew for each test and told of by one name."""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from redis_server import RedisServer, running_redis

from server.rooms.base import Said, Store
from server.rooms.redis import Redis
from server.rooms.sqlite import Sqlite

KINDS = ["memory", "sqlite", "redis", "cluster"]
LONG_S = 600.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Redis here is away, however long a busy machine takes to reach it."""
    for limit in ("CONNECT_S", "CALL_S"):
        monkeypatch.setattr(f"server.rooms.redis.{limit}", 20.0)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisServer]:
    with running_redis(cluster=True) as server:
        yield server


class News(list[tuple[str, Said | None]]):
    """What a store told of."""

    def __init__(self) -> None:
        super().__init__()
        self._more = anyio.Event()

    def hear(self, room: str, said: Said | None) -> None:
        self.append((room, said))
        self._more.set()

    async def until(self, there: Callable[[], object]) -> None:
        with anyio.fail_after(20):
            while not there():
                self._more = anyio.Event()
                await self._more.wait()


class Shelf:
    """Stores of one kind: all that are opened here share what they keep."""

    def __init__(self, kind: str, place: str | Path | None) -> None:
        self.kind = kind
        self._place = place

    def make(self, retention_s: float = LONG_S, lease_s: float = LONG_S) -> Store:
        if self.kind in ("redis", "cluster"):
            return Redis(str(self._place), retention_s=retention_s, lease_s=lease_s)
        path = self._place if isinstance(self._place, Path) else None
        return Sqlite(path, retention_s=retention_s, lease_s=lease_s)

    @asynccontextmanager
    async def open(self, news: News | None = None, **times: float) -> AsyncIterator[Store]:
        store = self.make(**times)
        await store.start((news if news is not None else News()).hear)
        try:
            yield store
        finally:
            await store.aclose()


@pytest.fixture(params=KINDS)
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    match request.param:
        case "sqlite":
            return Shelf("sqlite", tmp_path / "rooms.db")
        case "redis":
            return Shelf("redis", request.getfixturevalue("redis_server").url)
        case "cluster":
            return Shelf("cluster", request.getfixturevalue("redis_cluster").url)
    return Shelf("memory", None)


@pytest.fixture
def name() -> str:
    """A room nobody had before, for a Redis outlives a test."""
    return f"room-{secrets.token_hex(6)}"

"""Carry a session's finals to one place outside, in order and each until it is taken: a meeting, a stream, a webhook.

A destination says how a caption is told there; the courier waits, tries again and gives up. Nobody waits for it.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import anyio
import httpx2

from ..speech.types import Caption

TIMEOUT_S = 5.0  # seconds for one attempt
BACKOFF_S = 0.5  # seconds before the second attempt, doubled before each one after it …
LONGEST_BACKOFF_S = 8.0
GIVE_UP_S = 60.0  # seconds after which a caption comes too late to be one
WAITING = 200  # finals; the oldest gives way

log = logging.getLogger("sotto")


@dataclass(frozen=True, slots=True)
class Told:
    """A final to be told elsewhere; `at`: when its first sound came, in seconds since 1970."""

    session: str
    room: str
    offset: int  # 1, 2, 3 … in its room
    caption: Caption
    at: float


@dataclass(frozen=True, slots=True)
class Post:
    """One HTTP POST; a caption is told with the same one, however often."""

    url: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Destination(Protocol):
    """Where captions are told."""

    name: str  # for the log; never the address, which is a secret

    async def begin(self, http: httpx2.AsyncClient) -> None:
        """Before the first caption. Raises httpx2.HTTPError; then it is called again."""

    def post(self, told: Told) -> Post:
        """Called once for each caption, in order."""

    def hopeless(self, status: int) -> bool:
        """Whether trying again is of no use after this HTTP status."""


class Courier:
    """One destination and the way to it. `drop` is called for each final that was not taken."""

    def __init__(
        self,
        destination: Destination,
        http: httpx2.AsyncClient,
        drop: Callable[[], None],
        *,
        backoff_s: float = BACKOFF_S,
    ) -> None:
        self._destination = destination
        self._http = http
        self._drop = drop
        self._backoff_s = backoff_s
        self._waiting: deque[Told] = deque()
        self._some = anyio.Event()
        self._over = False
        self._begun = False
        self._failing = False  # and the log says so

    def put(self, told: Told) -> None:
        """Never waits."""
        if len(self._waiting) == WAITING:
            self._waiting.popleft()
            self._drop()
        self._waiting.append(told)
        self._some.set()

    def close(self) -> None:
        """No final follows."""
        self._over = True
        self._some.set()

    async def run(self) -> None:
        """Until `close` was called and every final was taken or given up; what a cancellation leaves is dropped."""
        try:
            while told := await self._next():
                await self._carry(told)
        finally:
            for _ in self._waiting:
                self._drop()

    async def _carry(self, told: Told) -> None:
        taken = False
        try:
            with anyio.move_on_after(GIVE_UP_S):
                taken = await self._try(told)
        except Exception as error:  # whatever it is: all sessions' couriers share one task group
            log.error("%s cannot be told a caption: %s", self._destination.name, type(error).__name__)
        finally:
            if not taken:
                self._drop()

    async def _try(self, told: Told) -> bool:
        self._begun = self._begun or await self._persist(self._begin)
        post = self._destination.post(told)
        return await self._persist(partial(self._tell, post))

    async def _next(self) -> Told | None:
        while not self._waiting:
            if self._over:
                return None
            self._some = anyio.Event()
            await self._some.wait()
        return self._waiting.popleft()

    async def _begin(self) -> bool:
        await self._destination.begin(self._http)
        return True

    async def _tell(self, post: Post) -> bool:
        """Whether it was taken. Raises httpx2.HTTPError where it may be the next time."""
        answer = await self._http.post(post.url, content=post.body, headers=post.headers, timeout=TIMEOUT_S)
        if not answer.is_success and self._destination.hopeless(answer.status_code):
            log.warning("%s refuses a caption: HTTP %d", self._destination.name, answer.status_code)
            return False
        answer.raise_for_status()
        return True

    async def _persist(self, attempt: Callable[[], Awaitable[bool]]) -> bool:
        backoff = self._backoff_s
        while True:
            try:
                done = await attempt()
            except httpx2.HTTPError as error:
                if not self._failing:
                    log.warning(
                        "%s takes no captions now: %s; tried again", self._destination.name, type(error).__name__
                    )
                self._failing = True
            else:
                self._failing = False
                return done
            await anyio.sleep(backoff)
            backoff = min(2 * backoff, LONGEST_BACKOFF_S)

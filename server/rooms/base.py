"""What is kept of a room, and what a store of rooms can do. Offsets count a room's finals within an epoch: 1, 2, 3 …

An epoch is one counting. Another begins only where a store has lost what it had, so that no offset ever means two
captions.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

SUPERSEDED = "this session goes on in another connection"


@dataclass(frozen=True, slots=True)
class Speaker:
    """A session and the room it publishes into. `generation` counts its connections: a newer one fences out the older.

    `offset` is the newest that its client was told: the room goes on behind it, even where the store has lost it.
    """

    room: str
    session: str
    generation: int = 1
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Final:
    """A final on its way into its room. A session and the number of an utterance are there once.

    `shown`: what viewers are told, as the members of a JSON object without its braces. `ticket`: with it the session
    goes on behind this final; viewers are never told.
    """

    speaker: Speaker
    utterance: int
    shown: str
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A final as the room has it."""

    offset: int
    session: str
    utterance: int
    shown: str
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """What a room is, and some of its finals in order."""

    epoch: str
    first: int  # the oldest offset that is kept, 0 for none
    last: int  # the newest offset that was ever given
    left: float  # seconds for which somebody may still go on speaking; negative: since when nobody may
    finals: list[Kept]


@dataclass(frozen=True, slots=True)
class Claim:
    """A session is the connection's of this generation; `missed` are the finals its ticket does not know of."""

    generation: int
    missed: list[Kept]


@dataclass(frozen=True, slots=True)
class Said:
    """Something new in a room: a final, or with offset 0 a partial."""

    session: str
    utterance: int
    shown: str
    epoch: str = ""
    offset: int = 0


Notify = Callable[[str, Said | None], None]
"""Told in the event loop of a room's news; None: read it again."""


class Store(Protocol):
    """Every call may raise StoreAway (errors.py), and may not come back: whoever calls sets the limit."""

    name: str
    remote: bool  # may go away while nobody calls it

    async def start(self, notify: Notify) -> None:
        """Once, before all else. Does not fail where the store is away."""

    async def open(self, speaker: Speaker) -> None:
        """The room is there, and this session speaks in it for `lease_s` from now on."""

    async def append(self, final: Final) -> tuple[str, int]:
        """Epoch and offset, also of a final that is there already. Raises Superseded for an older generation."""

    async def claim(self, speaker: Speaker, known: int, utterance: int) -> Claim:
        """Take a session over with a ticket of the generation `known` whose next utterance has this number.

        Raises Superseded where finals of a newer generation are there.
        """

    async def close(self, speaker: Speaker) -> None:
        """The session is over. A room that never had a final goes with its last session."""

    async def read(self, room: str, after: int, limit: int) -> Page | None:
        """The finals behind an offset, at most `limit`; None where no such room is known."""

    def show(self, room: str, said: Said) -> None:
        """A partial, to everybody who follows. Never waits; may be lost."""

    async def follow(self, room: str) -> None:
        """From when this returns, news of the room are told."""

    async def leave(self, room: str) -> None: ...

    async def ping(self) -> None: ...

    async def sweep(self) -> None:
        """Delete what is older than `retention_s`; of a room itself something is known for twice that time."""

    async def aclose(self) -> None: ...


def new_epoch() -> str:
    return secrets.token_hex(4)

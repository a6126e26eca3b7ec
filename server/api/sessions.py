"""Who speaks in which session: one connection, the newest. A generation number tells new from old."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import Superseded

SUPERSEDED = "this session goes on in another connection"


@dataclass(slots=True, eq=False)
class Hold:
    """A connection's right to speak in a session, until it leaves or `lose` is called."""

    session: str
    generation: int
    lose: Callable[[], None]
    away: bool = False  # its client vanished, and may come back
    proven: bool = True  # its client has the tickets of this generation


@dataclass(frozen=True, slots=True)
class Fence:
    """The newest proven generation of a session that had several; kept until every older ticket has expired."""

    generation: int
    expires: float


class Sessions:
    """The sessions of this process. Between processes there is no fence: the client leaves one for another."""

    def __init__(self, remember_s: float) -> None:
        self._remember_s = remember_s
        self._holds: dict[str, Hold] = {}
        self._fences: dict[str, Fence] = {}

    def __len__(self) -> int:
        return len(self._holds)

    def __iter__(self) -> Iterator[Hold]:
        return iter(self._holds.values())

    @property
    def connected(self) -> int:
        """Those whose client is there."""
        return sum(not hold.away for hold in self)

    def open(self, session: str, lose: Callable[[], None]) -> Hold:
        """A new session."""
        self._holds[session] = hold = Hold(session, 1, lose)
        return hold

    def take(self, session: str, generation: int, lose: Callable[[], None], now: float) -> Hold:
        """Take over with a ticket of `generation`; whoever holds the session loses it. `now`: seconds since 1970.

        Raises Superseded for a ticket that is older than what the client is known to have. Until that is known, the
        former ticket stays good: the answer to it may have been lost with the connection.
        """
        fence = self._fences.get(session)
        if fence and generation < fence.generation:
            raise Superseded(SUPERSEDED, param="ticket")
        newest = generation
        if holder := self._holds.pop(session, None):
            newest = max(newest, holder.generation)
            holder.lose()
        self._holds[session] = hold = Hold(session, newest + 1, lose, proven=False)
        self._forget(now)
        return hold

    def prove(self, hold: Hold, now: float) -> None:
        """The client goes on with what `take` was answered: from now on older tickets are worth nothing."""
        if not hold.proven:
            hold.proven = True
            self._fences.pop(hold.session, None)  # to the end: they stand in the order in which they expire
            self._fences[hold.session] = Fence(hold.generation, now + self._remember_s)

    def leave(self, hold: Hold) -> None:
        """Nothing more comes from this connection."""
        if self._holds.get(hold.session) is hold:
            del self._holds[hold.session]

    def _forget(self, now: float) -> None:
        while self._fences and (first := next(iter(self._fences.items())))[1].expires <= now:
            del self._fences[first[0]]

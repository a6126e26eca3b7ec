"""Rooms in one SQLite file, or in memory: for a server that is alone.

One thread does all that may wait for a disk. WAL with `synchronous=NORMAL` survives every end of the process; only a
machine that loses its power may lose the last moments, and no caption waits for a disk to turn.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ..errors import StoreAway, Superseded
from .base import SUPERSEDED, Claim, Final, Kept, Notify, Page, Said, Speaker, new_epoch

BUSY_S = 0.5  # seconds to wait for another process that has the file locked
VERSION = 2

CLAIMS = """
CREATE TABLE claims (
    room TEXT, session TEXT, generation INTEGER, utterance INTEGER, PRIMARY KEY (room, session, generation)
);
"""
SCHEMA = f"""{CLAIMS}
CREATE TABLE rooms (name TEXT PRIMARY KEY, epoch TEXT, last INTEGER, seen REAL);
CREATE TABLE sessions (
    room TEXT, session TEXT, generation INTEGER, proven INTEGER, newest INTEGER, until REAL, PRIMARY KEY (room, session)
);
CREATE TABLE finals (
    room TEXT, offset INTEGER, session TEXT, utterance INTEGER, kept REAL, shown TEXT, ticket TEXT,
    PRIMARY KEY (room, offset)
);
CREATE INDEX finals_kept ON finals (kept);
PRAGMA user_version = {VERSION};
"""

SCHEMA_1 = f"""{CLAIMS}
INSERT INTO claims SELECT room, session, generation, resumed FROM sessions WHERE resumed > 0;
ALTER TABLE sessions DROP COLUMN resumed;
PRAGMA user_version = {VERSION};
"""
FROM = {0: SCHEMA, 1: SCHEMA_1}  # the version of a file, 0 for an empty one

T = TypeVar("T")


def delete(path: Path) -> None:
    """The file, if there is one, and what SQLite keeps beside it. Raises OSError."""
    for end in ("-wal", "-shm", ""):
        path.with_name(path.name + end).unlink(missing_ok=True)


class Sqlite:
    """`path` None: in memory. See base.Store."""

    remote = False

    def __init__(self, path: Path | None, *, retention_s: float, lease_s: float) -> None:
        self.name = "sqlite" if path else "memory"
        self._path = path
        self._retention_s = retention_s
        self._lease_s = lease_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rooms")
        self._db: sqlite3.Connection | None = None
        self._notify: Notify = lambda room, said: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news: list[tuple[str, Said | None]] = []  # to be told after the commit

    async def start(self, notify: Notify) -> None:
        self._notify, self._loop = notify, asyncio.get_running_loop()

    async def open(self, speaker: Speaker) -> None:
        await self._call(lambda db: self._open(db, speaker))

    async def append(self, final: Final) -> tuple[str, int]:
        return await self._call(lambda db: self._append(db, final))

    async def claim(self, speaker: Speaker, known: int, utterance: int) -> Claim:
        return await self._call(lambda db: self._claim(db, speaker, known, utterance))

    async def close(self, speaker: Speaker) -> None:
        await self._call(lambda db: self._close(db, speaker))

    async def read(self, room: str, after: int, limit: int) -> Page | None:
        return await self._call(lambda db: self._read(db, room, after, limit), writes=False)

    def show(self, room: str, said: Said) -> None:
        self._notify(room, said)

    async def follow(self, room: str) -> None:
        """Whoever is told of one room here is told of all."""

    async def leave(self, room: str) -> None:
        pass

    async def ping(self) -> None:
        """Writes what is there already: a full disk can still be read."""
        await self._call(lambda db: db.execute(f"PRAGMA user_version = {VERSION}"))

    async def sweep(self) -> None:
        await self._call(self._sweep)

    async def aclose(self) -> None:
        def close() -> None:
            if self._db:
                self._db.close()

        await asyncio.wrap_future(self._thread.submit(close))
        self._thread.shutdown(wait=False)

    # -- in the thread -----------------------------------------------------------------------------------------

    async def _call(self, work: Callable[[sqlite3.Connection], T], writes: bool = True) -> T:
        def call() -> T:
            try:
                db = self._db or self._connect()
                if not writes:
                    return work(db)
                db.execute("BEGIN IMMEDIATE")
                try:
                    done = work(db)
                    db.execute("COMMIT")
                except BaseException:
                    self._news.clear()
                    if db.in_transaction:  # a full disk may have ended it already
                        db.execute("ROLLBACK")
                    raise
                self._tell()
                return done
            except (sqlite3.Error, OSError) as error:
                raise StoreAway(f"captions are not kept: {error}") from None

        if self._path is None:
            return call()  # tens of microseconds: as long as it takes to ask a thread
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _connect(self) -> sqlite3.Connection:
        if self._path:
            self._path.parent.mkdir(0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))  # what was said is for this user only
        db = sqlite3.connect(self._path or ":memory:", timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA secure_delete = FAST")  # what is deleted is not to be read in the file
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version in FROM:
                db.executescript(f"BEGIN IMMEDIATE; {FROM[version]} COMMIT;")
            elif version != VERSION:
                raise OSError(f"{self._path} is of another version of Sotto ({version}, expected {VERSION})")
        except BaseException:
            db.close()
            raise
        self._db = db
        return db

    def _room(self, db: sqlite3.Connection, speaker: Speaker) -> tuple[str, int]:
        """Epoch and last offset; the room is made where there is none."""
        found = db.execute("SELECT epoch, last FROM rooms WHERE name = ?", (speaker.room,)).fetchone()
        epoch, last = found or ("", 0)
        if not found or speaker.offset > last:
            epoch, last = new_epoch(), speaker.offset
        db.execute("INSERT OR REPLACE INTO rooms VALUES (?, ?, ?, ?)", (speaker.room, epoch, last, time.time()))
        return epoch, last

    def _session(self, db: sqlite3.Connection, speaker: Speaker) -> tuple[int, int, int]:
        """Its generation, the one of its newest final, and its newest utterance."""
        sql = "SELECT generation, proven, newest FROM sessions WHERE room = ? AND session = ?"
        return db.execute(sql, (speaker.room, speaker.session)).fetchone() or (0, 0, 0)

    def _resumed(self, db: sqlite3.Connection, speaker: Speaker) -> int:
        """At which utterance others have gone on behind this generation."""
        sql = "SELECT min(utterance) FROM claims WHERE room = ? AND session = ? AND generation > ?"
        (utterance,) = db.execute(sql, (speaker.room, speaker.session, speaker.generation)).fetchone()
        return utterance or 0

    def _keep(self, db: sqlite3.Connection, speaker: Speaker, *state: int) -> None:
        sql = "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?)"
        db.execute(sql, (speaker.room, speaker.session, *state, time.time() + self._lease_s))

    def _open(self, db: sqlite3.Connection, speaker: Speaker) -> None:
        self._room(db, speaker)
        generation, *rest = self._session(db, speaker)
        if speaker.generation >= generation:
            self._keep(db, speaker, speaker.generation, *rest)
        self._news.append((speaker.room, None))

    def _append(self, db: sqlite3.Connection, final: Final) -> tuple[str, int]:
        speaker, utterance = final.speaker, final.utterance
        epoch, last = self._room(db, speaker)
        generation, proven, newest = self._session(db, speaker)
        if speaker.generation < generation and utterance >= self._resumed(db, speaker):
            raise Superseded(SUPERSEDED)
        if utterance <= newest:
            sql = "SELECT offset FROM finals WHERE room = ? AND session = ? AND utterance = ?"
            if found := db.execute(sql, (speaker.room, speaker.session, utterance)).fetchone():
                return epoch, found[0]
        offset = last + 1
        db.execute("UPDATE rooms SET last = ? WHERE name = ?", (offset, speaker.room))
        row = (speaker.room, offset, speaker.session, utterance, time.time(), final.shown, final.ticket)
        db.execute("INSERT INTO finals VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        newer = max(generation, speaker.generation), max(proven, speaker.generation)
        self._keep(db, speaker, *newer, max(newest, utterance))
        self._news.append((speaker.room, Said(speaker.session, utterance, final.shown, epoch, offset)))
        return epoch, offset

    def _claim(self, db: sqlite3.Connection, speaker: Speaker, known: int, utterance: int) -> Claim:
        self._room(db, speaker)
        generation, proven, newest = self._session(db, speaker)
        if known < proven:
            raise Superseded(SUPERSEDED, param="ticket")
        generation = max(generation + 1, speaker.generation)
        self._keep(db, speaker, generation, proven, newest)
        claim = (speaker.room, speaker.session, generation, utterance)
        db.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?)", claim)
        sql = (
            "SELECT offset, session, utterance, shown, ticket FROM finals"
            " WHERE room = ? AND session = ? AND utterance >= ? ORDER BY offset"
        )
        rows = db.execute(sql, (speaker.room, speaker.session, utterance))
        return Claim(generation, [Kept(*row) for row in rows])

    def _close(self, db: sqlite3.Connection, speaker: Speaker) -> None:
        now = time.time()
        sql = "UPDATE sessions SET until = ? WHERE room = ? AND session = ? AND generation <= ?"
        db.execute(sql, (now, speaker.room, speaker.session, speaker.generation))
        sql = "DELETE FROM rooms WHERE name = ? AND last = 0 AND NOT EXISTS (" + (
            "SELECT 1 FROM sessions WHERE room = name AND until > ?)"
        )
        if db.execute(sql, (speaker.room, now)).rowcount:
            db.execute("DELETE FROM sessions WHERE room = ?", (speaker.room,))
        self._news.append((speaker.room, None))

    def _read(self, db: sqlite3.Connection, room: str, after: int, limit: int) -> Page | None:
        found = db.execute("SELECT epoch, last FROM rooms WHERE name = ?", (room,)).fetchone()
        if not found:
            return None
        now = time.time()
        kept = (room, now - self._retention_s)
        (first,) = db.execute("SELECT min(offset) FROM finals WHERE room = ? AND kept > ?", kept).fetchone()
        (until,) = db.execute("SELECT max(until) FROM sessions WHERE room = ?", (room,)).fetchone()
        sql = (
            "SELECT offset, session, utterance, shown FROM finals"
            " WHERE room = ? AND kept > ? AND offset > ? ORDER BY offset LIMIT ?"
        )
        rows = db.execute(sql, (*kept, after, limit))
        return Page(found[0], first or 0, found[1], (until or 0.0) - now, [Kept(*row) for row in rows])

    def _sweep(self, db: sqlite3.Connection) -> None:
        now = time.time()
        db.execute("DELETE FROM finals WHERE kept <= ?", (now - self._retention_s,))
        # A session that is over still fences out its older connections until their tickets have expired.
        db.execute("DELETE FROM sessions WHERE until <= ?", (now - self._lease_s,))
        db.execute("DELETE FROM claims WHERE (room, session) NOT IN (SELECT room, session FROM sessions)")
        db.execute(
            "DELETE FROM rooms WHERE seen <= ? AND name NOT IN (SELECT room FROM sessions)",
            (now - 2 * self._retention_s,),
        )

    def _tell(self) -> None:
        """Whatever becomes of the call that brought it about: its caller may not wait any more."""
        assert self._loop
        for room, said in self._news:
            self._loop.call_soon_threadsafe(self._notify, room, said)
        self._news.clear()

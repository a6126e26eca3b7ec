"""Every store keeps the same promises."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from redis_server import RedisServer, running_redis

from server.errors import StoreAway, Superseded
from server.rooms.base import Final, Kept, Page, Said, Speaker, Store
from server.rooms.sqlite import Sqlite

from .conftest import News, Shelf

pytestmark = pytest.mark.anyio


def speaker(room: str, session: str = "s_1", generation: int = 1, offset: int = 0) -> Speaker:
    return Speaker(room, session, generation, offset)


def final(who: Speaker, utterance: int) -> Final:
    return Final(who, utterance, f'"text":"Größe {utterance} of {who.session}"', f"ticket {utterance}")


async def page(store: Store, room: str, after: int = 0, limit: int = 100) -> Page:
    found = await store.read(room, after, limit)
    assert found
    return found


async def test_finals_have_offsets_from_one_and_are_read_in_order(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:
        me = speaker(name)
        await store.open(me)
        given = [await store.append(final(me, utterance)) for utterance in (1, 2, 4)]
        read = await page(store, name)
    assert [offset for _, offset in given] == [1, 2, 3] and {epoch for epoch, _ in given} == {read.epoch}
    assert [(kept.offset, kept.utterance, kept.shown) for kept in read.finals] == [
        (1, 1, '"text":"Größe 1 of s_1"'), (2, 2, '"text":"Größe 2 of s_1"'), (3, 4, '"text":"Größe 4 of s_1"'),
    ]  # fmt: skip
    assert (read.first, read.last) == (1, 3) and 0 < read.left <= 600


async def test_a_reader_goes_on_behind_an_offset_page_by_page(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:
        for utterance in range(1, 6):
            await store.append(final(speaker(name), utterance))
        pages = [await page(store, name, after, 2) for after in (0, 2, 4, 5, 99)]
    assert [[kept.offset for kept in one.finals] for one in pages] == [[1, 2], [3, 4], [5], [], []]


async def test_a_room_nobody_opened_is_not_there(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:
        assert await store.read(name, 0, 10) is None
        await store.open(speaker(name))
        assert (await page(store, name)).finals == []


async def test_two_speakers_share_a_room_and_its_offsets(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:
        one, other = speaker(name, "s_1"), speaker(name, "s_2")
        for who, utterance in ((one, 1), (other, 1), (one, 2)):
            await store.append(final(who, utterance))
        read = await page(store, name)
    assert [(kept.offset, kept.session, kept.utterance) for kept in read.finals] == [
        (1, "s_1", 1), (2, "s_2", 1), (3, "s_1", 2),
    ]  # fmt: skip


async def test_the_same_final_again_is_the_one_that_is_there(shelf: Shelf, name: str) -> None:
    news = News()
    async with shelf.open(news) as store:
        await store.follow(name)
        me = speaker(name)
        first = [await store.append(final(me, utterance)) for utterance in (1, 2)]
        again = [await store.append(final(me, utterance)) for utterance in (2, 1)]
        await store.append(final(me, 3))
        assert first == again[::-1] and len((await page(store, name)).finals) == 3
        await news.until(lambda: [said.offset for _, said in news if said and said.offset] == [1, 2, 3])


async def test_what_many_sessions_append_at_once_is_numbered_without_a_gap(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:

        async def speak(session: str) -> None:
            for utterance in range(1, 6):
                await store.append(final(speaker(name, session), utterance))

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(speak, f"s_{number}")
        read = await page(store, name)
    assert [kept.offset for kept in read.finals] == [*range(1, 41)]
    for number in range(8):
        assert [kept.utterance for kept in read.finals if kept.session == f"s_{number}"] == [1, 2, 3, 4, 5]


# -- connections -----------------------------------------------------------------------------------------------------


async def test_who_takes_a_session_over_is_told_what_its_ticket_does_not_know(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:
        old = speaker(name)
        for utterance in (1, 2, 3):
            await store.append(final(old, utterance))
        await store.append(final(speaker(name, "s_2"), 2))
        claim = await store.claim(speaker(name, generation=2, offset=1), known=1, utterance=2)
    assert claim.generation == 2 and claim.missed == [
        Kept(2, "s_1", 2, '"text":"Größe 2 of s_1"', "ticket 2"),
        Kept(3, "s_1", 3, '"text":"Größe 3 of s_1"', "ticket 3"),
    ]


async def test_the_old_connection_is_refused_from_then_on(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:
        old = speaker(name)
        await store.append(final(old, 1))
        claim = await store.claim(speaker(name, generation=2), known=1, utterance=2)
        with pytest.raises(Superseded):
            await store.append(final(old, 2))
        await store.open(old)  # nor does it come back by saying that it is there
        await store.append(final(speaker(name, generation=claim.generation), 2))
        with pytest.raises(Superseded):
            await store.append(final(old, 3))
        assert [kept.utterance for kept in (await page(store, name)).finals] == [1, 2]


async def test_what_its_ticket_vouches_for_may_come_later_from_the_old_connection(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:
        claim = await store.claim(
            speaker(name, generation=2), known=1, utterance=2
        )  # its first final is held elsewhere
        await store.append(final(speaker(name, generation=claim.generation), 2))
        await store.append(final(speaker(name), 1))
        assert [kept.utterance for kept in (await page(store, name)).finals] == [2, 1]


async def test_and_no_more_than_the_ticket_that_its_session_went_on_with_vouches_for(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:
        one, two, three = (speaker(name, generation=generation) for generation in (1, 2, 3))
        await store.claim(two, known=1, utterance=5)
        await store.append(final(two, 7))  # it left number 6 unused
        await store.claim(three, known=2, utterance=8)
        for utterance in (5, 6):
            with pytest.raises(Superseded):
                await store.append(final(one, utterance))
        await store.append(final(one, 4))
        await store.append(final(two, 5))
        with pytest.raises(Superseded):
            await store.append(final(two, 8))
        assert [kept.utterance for kept in (await page(store, name)).finals] == [7, 4, 5]


async def test_of_two_tickets_the_older_one_says_what_may_still_come(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:
        await store.claim(speaker(name, generation=2), known=1, utterance=8)
        await store.claim(speaker(name, generation=3), known=1, utterance=5)
        with pytest.raises(Superseded):
            await store.append(final(speaker(name), 6))


async def test_two_that_present_one_ticket_are_two_generations(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:
        await store.open(speaker(name))
        claims = [await store.claim(speaker(name, generation=2), known=1, utterance=1) for _ in range(2)]
        assert [claim.generation for claim in claims] == [2, 3]


async def test_once_a_newer_one_has_a_final_an_older_ticket_is_refused(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:
        claim = await store.claim(speaker(name, generation=2), known=1, utterance=1)
        await store.append(final(speaker(name, generation=claim.generation), 1))
        with pytest.raises(Superseded):
            await store.claim(speaker(name, generation=2), known=1, utterance=1)


# -- epochs ----------------------------------------------------------------------------------------------------------


async def test_where_the_store_has_lost_a_room_another_epoch_goes_on_behind_it(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:
        before, _ = await store.append(final(speaker(name), 1))
        after, offset = await store.append(final(speaker(name, offset=7), 8))
        assert (await store.append(final(speaker(name, offset=7), 9))) == (after, 9)
        read = await page(store, name)
    assert offset == 8 and before != after == read.epoch
    assert [kept.offset for kept in read.finals] == [1, 8, 9]


# -- how long --------------------------------------------------------------------------------------------------------


async def test_a_room_lives_as_long_as_somebody_may_go_on(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:
        one, other = speaker(name, "s_1"), speaker(name, "s_2")
        await store.open(other)
        await store.append(final(one, 1))
        await store.close(one)
        assert (await page(store, name)).left > 0
        await store.close(other)
        read = await page(store, name)
    assert read.left <= 0 and len(read.finals) == 1


async def test_who_is_superseded_does_not_end_the_session(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:
        await store.append(final(speaker(name), 1))
        await store.claim(speaker(name, generation=2), known=1, utterance=2)
        await store.close(speaker(name))
        assert (await page(store, name)).left > 0


async def test_a_room_in_which_nothing_was_said_is_forgotten_at_its_end(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:
        await store.open(speaker(name))
        await store.close(speaker(name))
        assert await store.read(name, 0, 1) is None


async def test_a_session_that_gives_no_sign_is_over_in_the_end(shelf: Shelf, name: str) -> None:
    async with shelf.open(lease_s=1.0) as store:
        await store.append(final(speaker(name), 1))
        with anyio.fail_after(20):
            while (await page(store, name)).left > 0:
                pass
        await store.open(speaker(name))
        assert (await page(store, name)).left > 0


async def test_what_is_older_than_the_retention_is_gone_and_then_the_room(shelf: Shelf, name: str) -> None:
    async with shelf.open(retention_s=1.0, lease_s=0.05) as store:
        await store.append(final(speaker(name), 1))
        with anyio.fail_after(20):
            while (read := await store.read(name, 0, 1)) and read.finals:
                pass
            assert read and (read.first, read.last) == (0, 1)
            while await store.read(name, 0, 1):
                await store.sweep()


async def test_the_sweep_leaves_what_is_young(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:
        await store.append(final(speaker(name), 1))
        await store.sweep()
        assert len((await page(store, name)).finals) == 1


# -- news ------------------------------------------------------------------------------------------------------------


async def test_who_follows_is_told_of_finals_and_partials(shelf: Shelf, name: str) -> None:
    news = News()
    async with shelf.open(news) as store:
        await store.follow(name)
        partial = Said("s_1", 1, '{"type":"partial","text":"Grö"}')
        store.show(name, partial)
        await news.until(lambda: (name, partial) in news)
        epoch, _ = await store.append(final(speaker(name), 1))
        said = Said("s_1", 1, '"text":"Größe 1 of s_1"', epoch, 1)
        await news.until(lambda: (name, said) in news)
        news.clear()
        await store.close(speaker(name))
        await news.until(lambda: (name, None) in news)


async def test_what_one_server_appends_another_hears(shelf: Shelf, name: str) -> None:
    if shelf.kind in ("memory", "sqlite"):
        return  # for a server that is alone
    news = News()
    async with shelf.open() as here, shelf.open(news) as there:
        await there.follow(name)
        await here.append(final(speaker(name), 1))
        here.show(name, Said("s_1", 2, "{}"))
        await news.until(lambda: [said.utterance for _, said in news if said] == [1, 2])


async def test_who_left_is_told_nothing_more(shelf: Shelf, name: str) -> None:
    if shelf.kind in ("memory", "sqlite"):
        return  # they tell of every room, and cost nothing
    news = News()
    async with shelf.open(news) as store:
        await store.follow(name)
        await store.leave(name)
        await store.append(final(speaker(name), 1))
        await store.follow(f"{name}-2")
        await store.append(final(speaker(f"{name}-2"), 1))
        await news.until(lambda: news)
    assert {room for room, _ in news} == {f"{name}-2"}


# -- a connection that breaks ---------------------------------------------------------------------------------------


@pytest.fixture(params=["redis", "cluster", "a cluster with TLS"])
def broken(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    match request.param:
        case "redis":
            yield request.getfixturevalue("redis_server")
        case "cluster":
            yield request.getfixturevalue("redis_cluster")
        case _:
            with running_redis(cluster=True, tls=True) as server:
                yield server


async def test_what_is_said_is_heard_again_after_a_break(broken: RedisServer, name: str) -> None:
    news = News()
    async with Shelf("redis", broken.url).open(news) as store:
        await store.follow(name)
        await store.append(final(speaker(name), 1))
        with closing(broken.client) as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await news.until(lambda: (name, None) in news)  # to be read again: something may have been said meanwhile
        await store.append(final(speaker(name), 2))
        store.show(name, Said("s_1", 3, "{}"))
        await news.until(lambda: [said.utterance for _, said in news if said][-2:] == [2, 3])


async def test_a_message_that_makes_no_sense_does_not_end_the_listening(
    redis_server: RedisServer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    news = News()
    async with Shelf("redis", redis_server.url).open(news) as store:
        await store.follow(name)
        with closing(redis_server.client) as client:
            client.publish(f"sotto:{{{name}}}", "s_1 no-number")
        await news.until(lambda: (name, None) in news)
        store.show(name, Said("s_1", 1, "{}"))
        await news.until(lambda: [said.utterance for _, said in news if said] == [1])
    assert "once more" in caplog.text


# -- what a file is ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shelf", ["sqlite"], indirect=True)
async def test_a_restart_keeps_what_was_said(shelf: Shelf, name: str) -> None:
    async with shelf.open() as store:
        epoch, _ = await store.append(final(speaker(name), 1))
    async with shelf.open() as store:
        read = await page(store, name)
        assert read.epoch == epoch and len(read.finals) == 1
        assert await store.append(final(speaker(name), 2)) == (epoch, 2)


async def test_the_file_is_for_its_user_only(tmp_path) -> None:
    path = tmp_path / "state" / "rooms.db"
    async with Shelf("sqlite", path).open() as store:
        await store.append(final(speaker("room"), 1))
        modes = {file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == {0o600} and path.parent.stat().st_mode & 0o777 == 0o700


async def test_a_locked_file_is_said_to_be_and_is_used_once_it_is_free(tmp_path) -> None:
    path = tmp_path / "rooms.db"
    async with Shelf("sqlite", path).open() as store:
        await store.open(speaker("room"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreAway, match="locked"):
            await store.append(final(speaker("room"), 1))
        other.close()
        assert (await store.append(final(speaker("room"), 1)))[1] == 1


async def test_a_file_that_can_only_be_read_is_not_said_to_be_there(tmp_path) -> None:
    path = tmp_path / "rooms.db"
    async with Shelf("sqlite", path).open() as store:
        await store.append(final(speaker("room"), 1))
        await store.ping()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert len((await page(store, "room")).finals) == 1
            with pytest.raises(StoreAway, match="locked"):
                await store.ping()
        await store.ping()


async def test_a_full_disk_is_said_to_be_and_nobody_hears_of_what_is_not_kept(tmp_path) -> None:
    news = News()
    async with Shelf("sqlite", tmp_path / "rooms.db").open(news) as store:
        assert isinstance(store, Sqlite)
        await store.append(final(speaker("room"), 1))
        news.clear()
        await store._call(lambda db: db.execute("PRAGMA max_page_count = 1").fetchall(), writes=False)
        long = replace(final(speaker("room"), 2), shown='"text":"' + "a" * 100_000 + '"')
        with pytest.raises(StoreAway, match="full"):
            await store.append(long)
        await store._call(lambda db: db.execute("PRAGMA max_page_count = 100000").fetchall(), writes=False)
        assert (await store.append(long))[1] == 2
        await news.until(lambda: len(news) == 1)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
async def test_a_file_that_is_none_of_ours_is_left_alone(tmp_path, content) -> None:
    path = tmp_path / "rooms.db"
    path.write_bytes(content)
    if not content:
        path.unlink()
        path.mkdir()
    async with Shelf("sqlite", path).open() as store:
        with pytest.raises(StoreAway, match="not kept"):
            await store.open(speaker("room"))
    assert path.is_dir() or path.read_bytes() == content


async def test_a_file_of_the_first_version_goes_on(tmp_path) -> None:
    with closing(sqlite3.connect(tmp_path / "rooms.db", isolation_level=None)) as db:
        db.executescript((Path(__file__).parent / "rooms-1.sql").read_text())
    for _ in range(2):
        async with Shelf("sqlite", tmp_path / "rooms.db").open() as store:
            assert [kept.utterance for kept in (await page(store, "hall")).finals] == [3, 1]
            with pytest.raises(Superseded):
                await store.append(final(speaker("hall"), 2))
            assert await store.append(final(speaker("hall"), 1)) == ("e1", 2)
            assert (await store.append(final(speaker("hall", generation=2), 3)))[1] == 1


async def test_a_file_of_a_later_version_is_left_alone(tmp_path) -> None:
    with sqlite3.connect(path := tmp_path / "rooms.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    async with Shelf("sqlite", path).open() as store:
        with pytest.raises(StoreAway, match="another version"):
            await store.open(speaker("room"))

"""The rooms of a server, with a store that is slow or fails: who follows never costs who speaks anything."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from api.conftest import Clock
from fakes import HeldStore

from server.errors import RoomNotFound, StoreAway
from server.rooms import rooms as hub
from server.rooms.base import Final, Speaker
from server.rooms.room import PAGE, RECENT, Frame, Gap, Viewer
from server.rooms.rooms import BEAT_S, CALL_S, PING_S, READS, Rooms

pytestmark = pytest.mark.anyio

ME = Speaker("hall", "s_1")


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(asyncio.get_running_loop(), monkeypatch)


def opened(store: HeldStore) -> Rooms:
    return Rooms(store, lease_s=600, max_viewers=1000)


def final(utterance: int, who: Speaker = ME) -> Final:
    return Final(who, utterance, f'"text":"{utterance}"')


# -- many who follow -------------------------------------------------------------------------------------------------


async def test_who_waits_in_vain_for_the_store_does_not_make_it_away_for_who_speaks(clock: Clock) -> None:
    store = HeldStore()
    async with opened(store) as rooms, anyio.create_task_group() as tasks:
        await rooms.open(ME)
        store.hold()

        async def visit() -> None:
            with pytest.raises(StoreAway):
                async with rooms.follow("hall"):
                    pass

        tasks.start_soon(visit)
        await clock.forward(CALL_S + 0.1)
        assert rooms.away is None and await rooms.append(final(1)) == 1
        store.release()


async def test_but_the_store_is_asked_whether_it_is_there(clock: Clock) -> None:
    store = HeldStore()
    async with opened(store) as rooms:
        await rooms.open(ME)
        store.fail = True
        with pytest.raises(StoreAway):
            await rooms.find("hall")
        await clock.forward(1)
        assert rooms.away == "it does not answer"


async def test_few_are_read_for_at_once_and_each_has_its_own_second(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "CALL_S", 60.0)  # the machine's own time passes as well
    store, inside = HeldStore(), 0
    async with opened(store) as rooms, anyio.create_task_group() as tasks:

        async def visit(speaker: Speaker) -> None:
            nonlocal inside
            await rooms.find(speaker.room)
            inside += 1

        store.hold()
        for number in range(3 * READS):
            await rooms.open(speaker := Speaker(f"room-{number}", f"s_{number}"))
            tasks.start_soon(visit, speaker)
        for _ in range(3):
            await clock.forward(30)
            assert store.running == READS
            store.release_those()
        await wait_all_tasks_blocked()
    assert inside == 3 * READS and store.most == READS


async def test_what_is_not_held_any_more_is_read_and_written_down_once_for_all_who_come_together() -> None:
    store, last = HeldStore(), RECENT + 2 * PAGE
    seen: list[list[Frame]] = []
    async with opened(store) as rooms, anyio.create_task_group() as tasks:
        for utterance in range(1, last + 1):
            await rooms.append(final(utterance))

        async def visit(after: int) -> None:
            async with rooms.follow("hall") as room:
                viewer, told = Viewer(room, rooms.read, after, None), []
                while not viewer.at_end:
                    told += [item for item in await viewer.next() or [] if isinstance(item, Frame)]
                seen.append(told)

        for number in range(20):
            tasks.start_soon(visit, number)
    assert sorted(len(told) for told in seen) == [*range(last - 19, last + 1)]
    for told in seen:
        assert [frame.offset for frame in told] == [*range(last - len(told) + 1, last + 1)]
    assert len({id(frame) for told in seen for frame in told}) == last
    assert store.reads == 3 + 2  # the room, then two pages


async def test_when_all_rooms_are_read_anew_few_reads_are_under_way(clock: Clock) -> None:
    store = HeldStore()
    async with opened(store) as rooms, AsyncExitStack() as stack:
        for number in range(3 * READS):
            await rooms.open(Speaker(f"room-{number}", f"s_{number}"))
            await stack.enter_async_context(rooms.follow(f"room-{number}"))
        store.hold()
        await clock.forward(BEAT_S + 0.1)
        assert store.running == READS
        store.release()
        await wait_all_tasks_blocked()
        assert store.running == 0 and store.most == READS and rooms.away is None


async def test_what_could_not_be_read_is_read_when_the_store_answers(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = HeldStore()
    async with opened(store) as rooms, AsyncExitStack() as stack:
        await rooms.open(ME)
        room = await stack.enter_async_context(rooms.follow("hall"))
        store.hold()
        monkeypatch.setattr(store, "_tell", store._news.clear)  # nobody is told what it is
        await store.append(final(1))
        rooms._hear("hall", None)
        await clock.forward(CALL_S + 0.1)
        assert room.last == 0
        store.release()
        await clock.forward(2 * PING_S)
        assert room.last == 1


async def test_who_comes_waits_for_nobody_who_reads_the_past_of_the_room(clock: Clock) -> None:
    store = HeldStore()
    async with opened(store) as rooms, anyio.create_task_group() as tasks:
        for utterance in range(1, RECENT + PAGE + 1):
            await rooms.append(final(utterance))
        async with rooms.follow("hall") as room:
            store.hold()
            viewer = Viewer(room, rooms.read, 0, None)
            await viewer.next()  # what the room is
            tasks.start_soon(viewer.next)
            await wait_all_tasks_blocked()
            assert room.loading.locked()
            with anyio.fail_after(CALL_S):
                async with rooms.follow("hall") as same:
                    assert same is room
            store.release()


async def test_nobody_waits_for_a_store_that_is_known_to_be_away(clock: Clock) -> None:
    store = HeldStore()
    store.remote = True
    async with opened(store) as rooms, anyio.create_task_group() as tasks:
        await rooms.open(ME)
        store.fail = True
        await clock.forward(PING_S)
        store.hold()

        async def visit() -> None:
            with pytest.raises(StoreAway):
                async with rooms.follow("hall"):
                    pass

        for _ in range(3):
            tasks.start_soon(visit)
        await wait_all_tasks_blocked()
        assert rooms.away and rooms.viewers == 0 and store.reads == 0


async def test_what_is_said_while_a_room_is_read_is_told_as_soon_as_it_is(clock: Clock) -> None:
    store = HeldStore()
    async with opened(store) as rooms, anyio.create_task_group() as tasks:
        await rooms.open(ME)
        store.hold()
        told: list[int] = []

        async def visit() -> None:
            async with rooms.follow("hall") as room:
                viewer = Viewer(room, rooms.read, 0, None)
                while not told:
                    told.extend(item.offset for item in await viewer.next() or [] if isinstance(item, Frame))

        tasks.start_soon(visit)
        for _ in range(2):  # what it is, and once more when it is listened to
            await wait_all_tasks_blocked()
            store.release_those()
        await wait_all_tasks_blocked()
        await rooms.append(final(1))  # too late for the third
        store.release()
        await wait_all_tasks_blocked()
        assert told == [1]


async def test_where_nothing_is_kept_any_more_a_viewer_is_told_what_it_missed() -> None:
    store = HeldStore()
    async with opened(store) as rooms:
        for utterance in range(1, 6):
            await rooms.append(final(utterance))
        await store._call(lambda db: db.execute("UPDATE finals SET kept = 0"))
        async with rooms.follow("hall") as room:
            old, new = Viewer(room, rooms.read, 3, None), Viewer(room, rooms.read, 0, None)
            assert await old.next() == [old.state] and await new.next() == [new.state]
            assert await old.next() == [Gap(4, 5)] and old.at_end
            await rooms.append(final(6))
            await wait_all_tasks_blocked()
            for viewer in (old, new):
                assert [item.offset for item in await viewer.next() or [] if isinstance(item, Frame)] == [6]


# -- who speaks ------------------------------------------------------------------------------------------------------


async def test_a_final_that_cannot_be_kept_ends_nothing_but_itself(clock: Clock) -> None:
    async with opened(HeldStore()) as rooms:
        for shown in ('"text":"\ud800"', '"text":"well"'):
            rooms.append_later(Final(ME, len(shown), shown))
        await clock.forward(600)
        assert [kept.shown for kept in (await rooms.store.read("hall", 0, 9)).finals] == ['"text":"well"']
        await clock.forward(BEAT_S)
        assert await rooms.append(final(99)) == 2


async def test_a_room_that_begins_while_the_store_is_away_is_there_once_it_is_back(clock: Clock) -> None:
    store = HeldStore()
    async with opened(store) as rooms:
        store.fail = True
        await rooms.open(ME)
        await rooms.open(Speaker("other", "s_2"))
        await rooms.close(Speaker("other", "s_2"), over=True)
        assert rooms.away
        store.fail = False
        await clock.forward(PING_S)
        assert rooms.away is None and (await rooms.find("hall")).left > 0
        with pytest.raises(RoomNotFound):
            await rooms.find("other")


async def test_a_room_the_store_has_lost_is_there_again_also_while_nobody_says_anything(clock: Clock) -> None:
    store = HeldStore()
    async with opened(store) as rooms:
        await rooms.open(ME)
        assert [await rooms.append(final(utterance)) for utterance in (1, 2)] == [1, 2]
        async with rooms.follow("hall") as room:
            store.lose()
            store.fail = True
            await rooms.open(Speaker("other", "s_2"))
            store.fail = False
            await clock.forward(PING_S)
            assert rooms.away is None and room.live
            epoch = (await rooms.find("hall")).epoch
            assert await rooms.append(Final(replace(ME, offset=2), 3, '"text":"3"')) == 3
        assert (await rooms.find("hall")).epoch == room.epoch == epoch

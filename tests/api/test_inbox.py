"""What a client sent and nobody worked on yet: all of it, in order, and never without bound."""

import anyio
import pytest

from server.api.inbox import BITE, ENVELOPE, Inbox
from server.errors import IdleTimeout
from server.live import Command, Input

pytestmark = pytest.mark.anyio

LIMIT = 10_000  # bytes


async def test_chunks_that_wait_together_are_taken_together() -> None:
    inbox = Inbox(LIMIT)
    for chunk in (b"ab", b"c", b"def"):
        await inbox.put(chunk)
    assert await inbox.get() == b"abcdef"


async def test_a_command_stays_between_the_chunks_it_came_between() -> None:
    inbox = Inbox(LIMIT)
    sent: list[Input] = [b"ab", b"c", Command.RECORDING, Command.FINALIZE, b"d", Command.STOP]
    for said in sent:
        await inbox.put(said)
    assert [await inbox.get() for _ in range(5)] == [b"abc", Command.RECORDING, Command.FINALIZE, b"d", Command.STOP]


async def test_no_bite_is_larger_than_one_thread_should_chew() -> None:
    inbox = Inbox(100 * BITE)
    for _ in range(20):
        await inbox.put(b"x" * (BITE // 3))
    await inbox.put(b"y" * 2 * BITE)
    bites = [await inbox.get() for _ in range(9)]
    assert [len(bite) for bite in bites if isinstance(bite, bytes)] == [BITE // 3 * 3] * 6 + [BITE // 3 * 2, BITE, BITE]


async def test_get_waits_for_something_to_come() -> None:
    inbox, got = Inbox(LIMIT), []

    async def worker() -> None:
        for _ in range(2):
            got.append(await inbox.get())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker)
        for said in (b"a", Command.STOP):
            await anyio.wait_all_tasks_blocked()
            await inbox.put(said)
            await anyio.wait_all_tasks_blocked()
            assert got[-1] == said


@pytest.mark.parametrize("said", [b"x" * 1000, b"x", Command.FINALIZE], ids=["chunks", "tiny chunks", "commands"])
async def test_a_flood_is_held_back_whatever_it_is_made_of(said: Input) -> None:
    inbox, sent = Inbox(LIMIT), []

    async def flood() -> None:
        for number in range(1000):
            await inbox.put(said)
            sent.append(number)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flood)
        await anyio.wait_all_tasks_blocked()
        most = LIMIT // ENVELOPE if said != b"x" * 1000 else LIMIT // 1000
        assert 0 < len(sent) <= most
        before = len(sent)
        while len(sent) == before:
            await inbox.get()
            await anyio.wait_all_tasks_blocked()
        assert len(sent) <= 2 * most + 1  # it goes on as far as there is room again
        tasks.cancel_scope.cancel()


async def test_a_flood_arrives_whole() -> None:
    inbox, got = Inbox(LIMIT), b""
    sent = [bytes([number % 256]) * (number % 700) for number in range(300)]

    async def flood() -> None:
        for chunk in sent:
            await inbox.put(chunk)
        await inbox.put(Command.STOP)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flood)
        while isinstance(said := await inbox.get(), bytes):
            got += said
    assert got == b"".join(sent) and said is Command.STOP


async def test_a_chunk_larger_than_the_limit_is_taken_all_the_same() -> None:
    inbox = Inbox(10)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(inbox.put, b"x" * 1000)
        assert await inbox.get() == b"x" * 1000


async def test_a_fault_is_told_after_what_came_before_it() -> None:
    inbox = Inbox(LIMIT)
    await inbox.put(b"heard")
    inbox.fail(IdleTimeout("nothing came"))
    assert await inbox.get() == b"heard"
    for _ in range(2):
        with pytest.raises(IdleTimeout):
            await inbox.get()


async def test_a_fault_wakes_who_waits() -> None:
    inbox = Inbox(LIMIT)

    async def worker() -> None:
        with pytest.raises(IdleTimeout):
            await inbox.get()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker)
        await anyio.wait_all_tasks_blocked()
        inbox.fail(IdleTimeout("nothing came"))

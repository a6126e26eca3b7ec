"""A reader's messages: in order, the newest of each key, and never without bound."""

import anyio
import pytest

from server.errors import ClientSlow
from server.rooms.outbox import Outbox

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def rest(outbox: Outbox) -> list[str]:
    outbox.close()
    messages = []
    while (message := await outbox.next()) is not None:
        messages.append(message)
    return messages


async def test_messages_come_out_in_order() -> None:
    outbox = Outbox()
    for message in "abc":
        outbox.put(message)
    assert await rest(outbox) == ["a", "b", "c"]


async def test_a_newer_partial_replaces_the_unsent_one_of_its_utterance() -> None:
    outbox = Outbox()
    outbox.put("hel", key=1)
    outbox.put("a warning")
    outbox.put("hello", key=1)
    outbox.put("wor", key=2)
    assert await rest(outbox) == ["hello", "a warning", "wor"]


async def test_a_final_takes_its_partial_back() -> None:
    outbox = Outbox()
    outbox.put("hel", key=1)
    outbox.drop(1)
    outbox.drop(2)
    outbox.put("Hello.")
    assert await rest(outbox) == ["Hello."]


async def test_a_reader_waits_for_the_next_message() -> None:
    outbox, read = Outbox(), []

    async def reader() -> None:
        while (message := await outbox.next()) is not None:
            read.append(message)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader)
        for message in "ab":
            await anyio.wait_all_tasks_blocked()
            outbox.put(message)
            await anyio.wait_all_tasks_blocked()
            assert read[-1] == message
        outbox.put("lost", key=1)
        outbox.drop(1)  # before the reader has awoken
        await anyio.wait_all_tasks_blocked()
        outbox.close()
    assert read == ["a", "b"]


async def test_as_many_as_may_wait_are_all_read() -> None:
    outbox = Outbox(limit=3)
    for message in "abc":
        outbox.put(message)
    assert await rest(outbox) == ["a", "b", "c"]


async def test_a_slow_reader_loses_partials_first() -> None:
    outbox = Outbox(limit=3)
    outbox.put("par", key=1)
    outbox.put("a")
    outbox.put("b")
    outbox.put("lost", key=2)
    outbox.put("partial", key=1)
    assert await rest(outbox) == ["partial", "a", "b"]


async def test_and_then_its_connection() -> None:
    outbox = Outbox(limit=3)
    for message in "abcd":
        outbox.put(message)
    outbox.close()
    for _ in range(2):
        with pytest.raises(ClientSlow, match="3 messages"):
            await outbox.next()


async def test_however_long_a_reader_is_away_what_waits_is_bounded() -> None:
    outbox = Outbox(limit=10)
    for number in range(1000):
        outbox.put("message")
        outbox.put("partial", key=number)
    assert len(outbox._messages) <= 10


async def test_after_the_end_nothing_is_taken() -> None:
    outbox = Outbox()
    outbox.put("last")
    outbox.close()
    outbox.put("too late")
    assert await rest(outbox) == ["last"]
    assert await outbox.next() is None


async def test_what_is_discarded_is_never_read() -> None:
    outbox = Outbox()
    outbox.put("a final")
    outbox.discard()
    outbox.put("another")
    assert await outbox.next() is None

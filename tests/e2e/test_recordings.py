"""What browsers recorded, streamed to the real server at the pace they recorded it, with the embedded engine."""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import jiwer
import pytest
import websockets
from process import running_server

OWN = Path(__file__).parents[1] / "recordings"
SHARED = Path(__file__).parents[3] / "shared" / "recordings"
MOST_ERRORS = 0.25  # of the words: the tiny model's own slips
PAUSED = 12  # words at most that a recording with a pause does not hold
ENOUGH_S = 90.0  # for all of them at once, of which the longest lasts 21 s


@dataclass(frozen=True)
class Told:
    """What the server said, and how the socket was closed."""

    messages: list[dict]
    code: int

    @property
    def text(self) -> str:
        return " ".join(m["text"] for m in self.messages if m["type"] == "final")


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spool")


@pytest.fixture(scope="module")
def server(spool: Path) -> Iterator[str]:
    with running_server(SOTTO_ENGINE="moonshine", SOTTO_TEMP_DIR=str(spool)) as url:
        yield url.replace("http", "ws") + "/api/captions"


async def speak(url: str, chunks: list[bytes], times: list[float]) -> Told:
    """Send each chunk at its time (seconds), then stop, and listen to the end."""
    async with websockets.connect(url) as socket:
        begin = asyncio.get_running_loop().time()

        async def send() -> None:
            for chunk, time in zip(chunks, times, strict=True):
                await asyncio.sleep(begin + time - asyncio.get_running_loop().time())
                await socket.send(chunk)
            await socket.send(json.dumps({"type": "stop"}))

        sending = asyncio.create_task(send())
        messages = []
        with suppress(websockets.ConnectionClosedError):  # the test looks at the code
            async for message in socket:
                messages.append(json.loads(message))
        await sending
        return Told(messages, socket.close_code)


def load(story: Path) -> tuple[dict, list[bytes], list[float]]:
    told = json.loads(story.read_text())
    data = next(p for p in story.parent.glob(f"{story.stem}.*") if p.suffix != ".json").read_bytes()
    chunks, at = [], 0
    for size, _ in told["chunks"]:
        chunks.append(data[at : at + size])
        at += size
    return told, chunks, [ms / 1000 for _, ms in told["chunks"]]


def words(text: str) -> list[str]:
    return re.sub(r"[^a-z' ]", " ", text.lower()).split()


def errors(told: dict, text: str) -> float:
    """Word error rate; where the recorder was paused, without the run of words that it did not hear."""
    reference, heard = words(told["reference_text"]), " ".join(words(text))
    missing = range(PAUSED + 1) if "pause" in str(told.get("actions")) else range(1)
    return min(
        jiwer.wer(" ".join(reference[:at] + reference[at + gone :]), heard)
        for gone in missing
        for at in range(len(reference) - gone + 1 if gone else 1)
    )


@pytest.mark.parametrize("folder", [OWN, SHARED], ids=["own", "shared"])
def test_every_recording_streams_at_its_pace_and_its_words_come_back(server: str, folder: Path) -> None:
    stories = sorted(folder.glob("*.json"))
    if not stories:
        pytest.skip("../shared/recordings is not here")

    async def all_at_once() -> list[Told]:
        return await asyncio.wait_for(asyncio.gather(*(speak(server, *load(s)[1:]) for s in stories)), ENOUGH_S)

    for story, told in zip(stories, asyncio.run(all_at_once()), strict=True):
        assert told.code == 1000 and told.messages[-1]["type"] == "done", story.stem
        assert not [m for m in told.messages if m["type"] == "error"], story.stem
        grew = any(m["type"] == "partial" for m in told.messages)
        late = any(m.get("code") == "engine.delayed" for m in told.messages)  # then finals go first
        assert grew or late, story.stem
        wrong = errors(json.loads(story.read_text()), told.text)
        assert wrong <= MOST_ERRORS, f"{story.stem}: {wrong:.0%} of the words are wrong: {told.text}"


def test_byte_by_byte_the_words_are_the_same(server: str) -> None:
    _, chunks, _ = load(next(OWN.glob("*webm*.json")))
    data = b"".join(chunks)
    whole = asyncio.run(speak(server, [data], [0.0]))
    bytewise = asyncio.run(speak(server, [data[i : i + 1] for i in range(len(data))], [0.0] * len(data)))
    assert words(bytewise.text) == words(whole.text) and "times" in words(whole.text)


def test_nothing_is_left_behind(server: str, spool: Path) -> None:
    refused = asyncio.run(speak(server, [b"<html>not audio at all</html>"], [0.0]))
    assert refused.code == 4515
    left = [p for p in spool.rglob("*") if p.is_file() and not p.name.endswith("lock")]
    assert left == []

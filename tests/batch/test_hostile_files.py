"""What somebody sends who means harm: it is refused, and nobody else notices."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from api.conftest import serving
from flac import silent
from test_batch_decode import ATTACKS, encoded, wav, with_samples_in
from webm import recorded

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def hostile(secret: Path, door: socket.socket) -> dict[str, bytes]:
    """Files that name others: each was made for a decoder that guesses the format, and follows what it reads."""
    texts = {name: text.format(path=secret, port=door.getsockname()[1]).encode() for name, text in ATTACKS.items()}
    return {
        **texts,
        "a playlist behind a tag": b"ID3\x04\0\0\0\0\0\0" + texts["playlist"],
        "samples in another file": with_samples_in(secret),
        "a codec that is not listed": encoded("wav", "adpcm_ima_wav", 22_050, "mono"),
        "pictures": f"P5 1 1 255 {secret}%d.png".encode(),
    }


BOMBS = {
    "1 Hz": wav(bytes(200_000), rate=1),
    "8 channels of 192 kHz": silent(3600, 192_000, channels=8),
    "longer than the limit": silent(12.1 * 3600, 8000),
    "longer than the limit, and not saying so": silent(12.1 * 3600, 8000, declared=False),
    "longer than the limit, as a recorder writes it": recorded(12.1 * 3600),
}
ENOUGH_S = 5.0  # of CPU for a refusal: a process that is started takes most of a second


@contextmanager
def soon() -> Iterator[None]:
    """Little work for this process and for those that it starts meanwhile."""
    before = cpu()
    yield
    assert cpu() - before < ENOUGH_S


def cpu() -> float:
    times = psutil.Process().cpu_times()
    return times.user + times.system + times.children_user + times.children_system


async def test_files_that_name_others_are_refused_and_nothing_else_is_opened(bait):
    secret, door = bait
    async with serving() as site:
        for name, data in hostile(secret, door).items():
            with soon():
                answer = await site.client.post("/api/transcribe", files={"file": ("a.wav", data, "audio/wav")})
            told = (answer.status_code, answer.json()["error"]["code"])
            assert told in ((415, "audio.unsupported_format"), (422, "audio.corrupt")), (name, answer.text)
        assert site.service.pool.engine.asked == []
    with pytest.raises(BlockingIOError):
        door.accept()


@pytest.mark.parametrize("name", BOMBS)
async def test_bombs_are_refused_before_they_are_heard(name):
    async with serving() as site:
        with soon():
            answer = await site.client.post("/api/transcribe", files={"file": ("a.flac", BOMBS[name])})
        assert answer.status_code in (413, 415), answer.text
        assert answer.json()["error"]["code"] in ("audio.too_large", "audio.unsupported_format")
        assert site.service.pool.engine.asked == []

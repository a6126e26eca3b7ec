"""However many files are sent, live captions go on."""

import anyio
import pytest
from anyio.lowlevel import checkpoint
from api.conftest import PATIENCE_S, STOP, chunks, read, send, serving
from api.engines import Waits

from server.engines.base import Speech
from server.speech.types import Hypothesis

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Busy(Waits):
    """Counts the finals that have come before `go`, when it answers them."""

    finals = 0

    def transcribe(self, speech: Speech) -> Hypothesis:
        self.finals += speech.final and not self.go.is_set()
        return super().transcribe(speech)


async def test_files_leave_half_of_the_engine_to_those_who_speak():
    engine, recording = Busy(), chunks()
    statuses = []
    async with serving(engine, engine_concurrency=2, stall_s=60) as site, anyio.create_task_group() as tasks:

        async def upload() -> None:
            answer = await site.client.post("/api/transcribe", files={"file": b"".join(recording)}, timeout=PATIENCE_S)
            statuses.append(answer.status_code)

        for _ in range(4):
            tasks.start_soon(upload)
        with anyio.fail_after(PATIENCE_S):
            while engine.finals + site.service.file_calls.statistics().tasks_waiting < 4:
                await checkpoint()
        async with site.open() as socket:
            for chunk in recording[: len(recording) // 2]:  # to mid-speech, where partials are
                await send(socket, chunk)
            assert (await read(socket, until="partial")).messages[-1]["text"]
            assert engine.finals == 1
            engine.go.set()
            await send(socket, STOP)
            assert (await read(socket)).messages[-1]["type"] == "done"
    assert statuses == [200] * 4

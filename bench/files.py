"""A file of hours: whether every word is there at its true time, in how much memory, and how soon."""

import asyncio
import io
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
from av.audio.resampler import AudioResampler

from .clip import RATE, Speech, Spoken, silence
from .process import Process, upload
from .rig import Bench, remote
from .words import normalise

HOURS, QUICK_HOURS = 3.0, 0.5
KNOWN = 4  # repetitions in the upstream's recording: two minutes lie in it wherever they begin
BITS = 48_000  # a second: three hours are 65 MB
FRAME = 1024  # samples of AAC
NEAR_S = 0.15  # a word so far off is still at its time: encoders begin with up to 45 ms of nothing
LONGEST_S = 1800.0  # to wait for the answer
LOOK_S = 0.05  # between two looks at the memory


async def run(it: Bench) -> None:
    """A clip repeated for hours, and an upstream behind the server that knows every word of it."""
    if it.url:
        return
    clip = whole_frames(it.speech)
    count = round((QUICK_HOURS if it.quick else HOURS) * 3600 / clip.seconds)
    data = aac(clip) * count
    with TemporaryDirectory(prefix="sotto-bench-") as folder:
        reduce(add, [clip] * KNOWN).write(Path(folder))
        async with remote(Path(folder)) as rig:
            begin, cpu = time.perf_counter(), rig.server.cpu()
            reading = asyncio.create_task(
                upload(f"{rig.server.url}/api/transcribe", data, "hours.aac", LONGEST_S, format="verbose_json")
            )
            it.note("files.memory", await most_memory(rig.server, reading) / 1e6)
            seconds, cpu = time.perf_counter() - begin, rig.server.cpu() - cpu
    answer = reading.result()
    it.note("files.hours", answer["duration"] / 3600)
    it.note("files.faster", answer["duration"] / seconds)
    it.note("files.cpu", 1000 * cpu / answer["duration"])
    said = [replace(w, start=w.start + k * clip.seconds) for k in range(count) for w in clip.words]
    heard = [Spoken(word["text"], word["start"], word["end"]) for word in answer["words"]]
    it.note("files.misplaced", misplaced(said, heard))


async def most_memory(server: Process, task: asyncio.Task[Any]) -> float:
    """Resident bytes of the server and its children, at most, until the task is done."""
    most = 0.0
    while not task.done():
        most = max(most, server.memory())
        await asyncio.sleep(LOOK_S)
    return most


def misplaced(said: Sequence[Spoken], heard: Sequence[Spoken]) -> int:
    """Words that were not heard within NEAR_S of their time, and words heard where nobody said them."""
    starts = [word.start for word in heard]  # in order
    found: set[int] = set()
    for word in said:
        near = range(bisect_left(starts, word.start - NEAR_S), bisect_right(starts, word.start + NEAR_S))
        same = (i for i in near if i not in found and normalise(heard[i].text) == normalise(word.text))
        found.add(next(same, -1))
    right = len(found - {-1})
    return len(said) - right + len(heard) - right


def whole_frames(speech: Speech) -> Speech:
    """Filled up with silence, so that it can be repeated without a seam."""
    return speech + silence((-len(speech.samples) % FRAME) / RATE)


def aac(speech: Speech) -> bytes:
    """As ADTS, whose frames stand for themselves: the file twice in a row is the speech twice in a row."""
    file = io.BytesIO()
    with av.open(file, "w", format="adts") as output:
        stream = output.add_stream("aac", rate=RATE, layout="mono", bit_rate=BITS)
        frame = av.AudioFrame.from_ndarray(speech.samples[None], format="flt", layout="mono")
        frame.sample_rate = RATE
        packets = []
        for part in AudioResampler(format="fltp", layout="mono", rate=RATE, frame_size=FRAME).resample(frame):
            packets += stream.encode(part)
        packets += stream.encode(None)
        output.mux(packets[: len(speech.samples) // FRAME])
    return file.getvalue()

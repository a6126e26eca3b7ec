"""A whole file's text: every piece asked once, few at a time, joined in order with true times."""

import io
import os
import struct
import tempfile
import threading
import wave

import anyio
import numpy as np
import pytest
from anyio import CapacityLimiter, Event, create_task_group, fail_after, get_cancelled_exc_class, lowlevel

from server.batch.split import LONG_SILENCE
from server.batch.transcribe import IN_AIR, transcribe
from server.errors import AudioCorrupt, AudioTooLarge, EngineUnavailable
from server.speech.types import FRAME, FRAME_S, RATE, Hypothesis, Word

pytestmark = pytest.mark.anyio

TOO_MUCH = " ".join(f"w{i}" for i in range(1000))  # for any piece here


@pytest.fixture
def anyio_backend():
    return "asyncio"


def hear(samples):
    return (np.abs(samples.reshape(-1, FRAME)).max(axis=1) > 0.01).astype(np.float32)


def file_of(*utterances: float) -> io.BytesIO:
    """A WAV file of so many seconds of speech each, three seconds of silence before every one."""
    parts = [part for seconds in utterances for part in (np.zeros(3 * RATE), np.full(round(seconds * RATE), 0.5))]
    file = io.BytesIO()
    with wave.open(file, "wb") as output:
        output.setparams((1, 2, RATE, 0, "NONE", ""))
        output.writeframes((np.concatenate(parts or [np.zeros(0)]) * 32767).astype("<i2").tobytes())
    return file


async def one_word(speech):
    """An engine that answers with the second in which the piece ends."""
    text = f"{speech.end:.0f}"
    return Hypothesis(f" {text} ", (Word(text, speech.start, speech.end),), "en")


async def text_of(file, ask=one_word, **options):
    options = {"limiter": CapacityLimiter(1), "longest": 30.0, "longest_s": 3600.0} | options
    with fail_after(20):
        return await transcribe(file, ask, hear, **options)


async def test_a_file_becomes_text_with_true_times():
    transcript = await text_of(file_of(2, 2))
    assert transcript.text == "5 10" and transcript.language == "en"
    assert transcript.duration == 10.0
    assert [segment.text for segment in transcript.segments] == ["5", "10"]
    assert transcript.words[1].start == pytest.approx(7.6, abs=0.1)


async def test_silence_asks_for_nothing():
    async def ask(speech):
        raise AssertionError("nobody speaks")

    transcript = await text_of(file_of(0), ask)
    assert (transcript.text, transcript.segments, transcript.duration) == ("", (), 3.0)


async def test_an_hour_of_silence_asks_for_nothing_either(tmp_path):
    header = bytearray(file_of().getvalue()[:44])
    size = 2 * 8000 * 3600
    struct.pack_into("<II", header, 24, 8000, 16_000)
    struct.pack_into("<I", header, 4, size + 36)
    struct.pack_into("<I", header, 40, size)
    path = tmp_path / "hour.wav"
    path.write_bytes(header)
    os.truncate(path, size + 44)
    with path.open("rb") as file:
        transcript = await text_of(file)
    assert (transcript.text, transcript.duration) == ("", 3600.0)


async def test_the_request_says_what_the_caller_said():
    asked = []

    async def ask(speech):
        asked.append((speech.language, speech.prompt, speech.final, len(speech.audio.samples()) > RATE))
        return Hypothesis("")

    transcript = await text_of(file_of(2), ask, language="de", prompt="names")
    assert asked == [("de", "names", True, True)]
    assert transcript.language == "de"


async def test_answers_in_any_order_are_published_in_the_files():
    published, last = [], Event()

    async def ask(speech):
        if speech.end > 14:
            last.set()
        await last.wait()
        return await one_word(speech)

    transcript = await text_of(file_of(2, 2, 2), ask, publish=published.append)
    assert [segment.text for segment in published] == ["5", "10", "15"]
    assert tuple(published) == transcript.segments


async def test_scripts_without_spaces_are_joined_without():
    said = {5: "今日は", 10: "いい天気", 15: "ですね。", 20: "OK?"}

    async def ask(speech):
        return Hypothesis(said[round(speech.end / 5) * 5])

    assert (await text_of(file_of(2, 2, 2, 2), ask)).text == "今日はいい天気ですね。 OK?"


async def test_a_loop_is_asked_for_again_without_the_prompt():
    async def ask(speech):
        return Hypothesis("and so " * 30 if speech.prompt else "and so on")

    assert (await text_of(file_of(4), ask, prompt="and so")).text == "and so on"


async def test_what_was_said_before_a_loop_is_kept():
    async def ask(speech):
        return Hypothesis("it was said " + "and so " * 30)

    assert (await text_of(file_of(4), ask)).text == "it was said and so"


async def test_what_nobody_can_have_said_is_left_out():
    asked = []

    async def ask(speech):
        asked.append(speech.prompt)
        return Hypothesis(TOO_MUCH) if speech.start < 5 else await one_word(speech)

    transcript = await text_of(file_of(4, 2), ask, prompt="names")
    assert transcript.text == "12" and [segment.text for segment in transcript.segments] == ["12"]
    assert asked == ["names", "", "names"] or asked == ["names", "names", ""]


async def test_a_loop_in_a_long_piece_takes_only_its_own_part_away():
    async def ask(speech):
        looping = speech.start < 10 and speech.end > 5
        return Hypothesis(TOO_MUCH if looping else f"{speech.start:.0f} ", language="en")

    transcript = await text_of(file_of(100), ask, longest=200.0)
    starts = [segment.start for segment in transcript.segments]
    assert starts == sorted(starts) and 20 < starts[0] < 40
    assert transcript.segments[-1].end == pytest.approx(103, abs=0.1)


async def test_only_a_few_pieces_are_with_the_engine_at_once():
    in_air, most, full = 0, 0, Event()

    async def ask(speech):
        nonlocal in_air, most
        in_air += 1
        most = max(most, in_air)
        if in_air == IN_AIR:
            full.set()
        await full.wait()
        await lowlevel.checkpoint()
        in_air -= 1
        return await one_word(speech)

    transcript = await text_of(file_of(*[2] * 10), ask)
    assert len(transcript.segments) == 10 and most == IN_AIR


async def test_a_failing_engine_fails_the_file_with_its_own_error():
    async def ask(speech):
        raise EngineUnavailable("the engine is away")

    with pytest.raises(EngineUnavailable, match="away"):
        await text_of(file_of(2, 2, 2), ask)


async def test_a_damaged_file_is_told_and_so_is_one_that_is_too_long():
    with pytest.raises(AudioCorrupt):
        await text_of(io.BytesIO())
    with pytest.raises(AudioTooLarge):
        await text_of(file_of(2, 2), longest_s=7)


async def test_a_file_of_silence_lets_others_have_the_thread():
    limiter = CapacityLimiter(1)
    heard = 0

    def slow_hear(samples):
        nonlocal heard
        heard += len(samples)
        anyio.from_thread.run_sync(begun.set)
        return hear(samples)

    begun = Event()
    with fail_after(20):
        async with create_task_group() as tasks:

            async def long_file():
                await transcribe(file_of(*[0] * 200), one_word, slow_hear, limiter=limiter, longest=30, longest_s=3600)

            tasks.start_soon(long_file)
            await begun.wait()
            assert (await text_of(file_of(2), limiter=limiter)).text == "5"
            assert heard < 200 * RATE
            tasks.cancel_scope.cancel()


async def test_who_goes_away_stops_the_reading():
    read = 0

    def slow_hear(samples):
        nonlocal read
        read += len(samples)
        anyio.from_thread.run_sync(begun.set)
        return hear(samples)

    begun = Event()
    file = file_of(*[0] * 200)
    with fail_after(20):
        async with create_task_group() as tasks:

            async def request():
                with pytest.raises(get_cancelled_exc_class()):
                    await transcribe(file, one_word, slow_hear, limiter=CapacityLimiter(1), longest=30, longest_s=3600)

            tasks.start_soon(request)
            await begun.wait()
            tasks.cancel_scope.cancel()
    assert read < 600 * RATE


async def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    threads = threading.active_count()
    await text_of(file_of(2, 2))
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() <= threads + 1  # the one that decodes


def test_what_the_files_here_call_silence_is_a_long_one():
    assert LONG_SILENCE * FRAME_S < 3

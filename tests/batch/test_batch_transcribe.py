"""A whole file's text: every piece asked once, few at a time, joined in order with true times."""

import numpy as np
import pytest
from anyio import (
    CapacityLimiter,
    Event,
    create_task_group,
    fail_after,
    lowlevel,
    sleep_forever,
    wait_all_tasks_blocked,
)

from server.batch.split import LONG_SILENCE
from server.batch.transcribe import IN_AIR, transcribe
from server.errors import AudioCorrupt, EngineUnavailable
from server.speech.types import FRAME, FRAME_S, RATE, Hypothesis, Word

pytestmark = pytest.mark.anyio

TOO_MUCH = " ".join(f"w{i}" for i in range(1000))  # for any piece here


@pytest.fixture
def anyio_backend():
    return "asyncio"


def hear(samples):
    return (np.abs(samples.reshape(-1, FRAME)).max(axis=1) > 0.01).astype(np.float32)


def sound_of(*utterances: float):
    """What gives so many seconds of speech each, three seconds of silence before every one, and 8 s at a time."""
    parts = [part for seconds in utterances for part in (np.zeros(3 * RATE), np.full(round(seconds * RATE), 0.5))]
    whole = np.concatenate([np.zeros(0), *parts]).astype(np.float32)
    return sound_in(whole[at : at + 8 * RATE] for at in range(0, len(whole), 8 * RATE))


def sound_in(blocks):
    blocks = iter(blocks)

    async def read():
        await lowlevel.checkpoint()
        return next(blocks, None)

    return read


async def one_word(speech):
    """An engine that answers with the second in which the piece ends."""
    text = f"{speech.end:.0f}"
    return Hypothesis(f" {text} ", (Word(text, speech.start, speech.end),), "en")


async def text_of(sound, ask=one_word, **options):
    options = {"limiter": CapacityLimiter(1), "longest": 30.0} | options
    with fail_after(20):
        return await transcribe(sound, ask, hear, **options)


async def test_a_file_becomes_text_with_true_times():
    transcript = await text_of(sound_of(2, 2))
    assert transcript.text == "5 10" and transcript.language == "en"
    assert transcript.duration == 10.0
    assert [segment.text for segment in transcript.segments] == ["5", "10"]
    assert transcript.words[1].start == pytest.approx(7.6, abs=0.1)


async def test_silence_asks_for_nothing():
    async def ask(speech):
        raise AssertionError("nobody speaks")

    transcript = await text_of(sound_of(0), ask)
    assert (transcript.text, transcript.segments, transcript.duration) == ("", (), 3.0)


async def test_an_hour_of_silence_asks_for_nothing_either():
    told = []
    transcript = await text_of(sound_in([np.zeros(16 * RATE, np.float32)] * 225), progress=told.append)
    assert (transcript.text, transcript.duration) == ("", 3600.0)
    assert told == sorted(told) and len(told) == 226 and told[100] > 1500


async def test_the_request_says_what_the_caller_said():
    asked = []

    async def ask(speech):
        asked.append((speech.language, speech.prompt, speech.final, len(speech.audio.samples()) > RATE))
        return Hypothesis("")

    transcript = await text_of(sound_of(2), ask, language="de", prompt="names")
    assert asked == [("de", "names", True, True)]
    assert transcript.language == "de"


async def test_answers_in_any_order_are_published_in_the_files():
    published, last = [], Event()

    async def ask(speech):
        if speech.end > 14:
            last.set()
        await last.wait()
        return await one_word(speech)

    transcript = await text_of(sound_of(2, 2, 2), ask, publish=published.append)
    assert [segment.text for segment in published] == ["5", "10", "15"]
    assert tuple(published) == transcript.segments


async def test_scripts_without_spaces_are_joined_without():
    said = {5: "今日は", 10: "いい天気", 15: "ですね。", 20: "OK?"}

    async def ask(speech):
        return Hypothesis(said[round(speech.end / 5) * 5])

    assert (await text_of(sound_of(2, 2, 2, 2), ask)).text == "今日はいい天気ですね。 OK?"


async def test_a_loop_is_asked_for_again_without_the_prompt():
    async def ask(speech):
        return Hypothesis("and so " * 30 if speech.prompt else "and so on")

    assert (await text_of(sound_of(4), ask, prompt="and so")).text == "and so on"


async def test_what_was_said_before_a_loop_is_kept():
    async def ask(speech):
        return Hypothesis("it was said " + "and so " * 30)

    assert (await text_of(sound_of(4), ask)).text == "it was said and so"


async def test_what_nobody_can_have_said_is_left_out():
    asked = []

    async def ask(speech):
        asked.append(speech.prompt)
        return Hypothesis(TOO_MUCH) if speech.start < 5 else await one_word(speech)

    transcript = await text_of(sound_of(4, 2), ask, prompt="names")
    assert transcript.text == "12" and [segment.text for segment in transcript.segments] == ["12"]
    assert asked == ["names", "", "names"] or asked == ["names", "names", ""]


async def test_a_loop_in_a_long_piece_takes_only_its_own_part_away():
    async def ask(speech):
        looping = speech.start < 10 and speech.end > 5
        return Hypothesis(TOO_MUCH if looping else f"{speech.start:.0f} ", language="en")

    transcript = await text_of(sound_of(100), ask, longest=200.0)
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

    transcript = await text_of(sound_of(*[2] * 10), ask)
    assert len(transcript.segments) == 10 and most == IN_AIR


async def test_a_failing_engine_fails_the_file_with_its_own_error():
    async def ask(speech):
        raise EngineUnavailable("the engine is away")

    with pytest.raises(EngineUnavailable, match="away"):
        await text_of(sound_of(2, 2, 2), ask)


async def test_progress_waits_for_the_first_answer_that_is_missing():
    told, go = [], Event()

    async def ask(speech):
        if speech.end < 6:
            await go.wait()
        elif speech.end > 19:
            assert 2 < max(told) < 5
            go.set()
        return await one_word(speech)

    await text_of(sound_of(2, 2, 2, 2), ask, progress=told.append)
    assert told == sorted(told) and told[-1] == pytest.approx(20, abs=0.1)


async def test_an_answer_without_text_is_no_segment():
    async def ask(speech):
        return Hypothesis(" ")

    published = []
    transcript = await text_of(sound_of(2), ask, publish=published.append)
    assert transcript.segments == () and published == []


async def test_what_the_reading_raises_ends_it():
    async def read():
        raise AudioCorrupt("nothing can be decoded")

    with pytest.raises(AudioCorrupt):
        await text_of(read)


async def test_no_more_is_read_than_the_engine_keeps_up_with():
    read, stuck = 0, Event()

    def blocks():
        nonlocal read
        for _ in range(100):
            read += 1
            yield np.concatenate([np.full(5 * RATE, 0.5, np.float32), np.zeros(3 * RATE, np.float32)])

    async def ask(speech):
        if speech.start > 8 * (IN_AIR - 1.5):
            stuck.set()
        await sleep_forever()

    with fail_after(20):
        async with create_task_group() as tasks:
            tasks.start_soon(text_of, sound_in(blocks()), ask)
            await stuck.wait()
            await wait_all_tasks_blocked()
            assert read <= IN_AIR + 2
            tasks.cancel_scope.cancel()


def test_what_the_files_here_call_silence_is_a_long_one():
    assert LONG_SILENCE * FRAME_S < 3

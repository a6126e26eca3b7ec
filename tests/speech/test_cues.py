"""What was said becomes cues that can be read: never twice, never over each other, never too long for a line."""

import json
import math
import random
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.speech.cues import CHARACTER_MS, LINE, LONGEST_MS, SHORTEST_MS, Cue, cues, milliseconds, width
from server.speech.types import Caption, Word

TESTS = Path(__file__).parents[1]
CASES = json.loads((TESTS / "cues.json").read_text())  # shared with tests/js/cues.test.js
TWIN = """
import { cues } from "./static/captions/cues.js";
import { readFileSync } from "node:fs";
console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(cues)));
"""

seconds = st.floats(0, 30)
texts = st.one_of(st.text(), st.lists(st.sampled_from("it was, the best. of 字幕。 「 times! x".split())).map(" ".join))


def final(start, end, text, words=()):
    return Caption(1, start, end, text, 0, True, tuple(Word(w["text"], w["start"], w["end"]) for w in words))


@st.composite
def transcripts(draw):
    """Finals in order, with or without word times, some of them nonsense."""
    finals, now = [], 0.0
    for text in draw(st.lists(texts, max_size=6)):
        start = now + draw(st.floats(0, 5))
        now = start + draw(seconds)
        words = [{"text": w, "start": draw(seconds), "end": draw(seconds)} for w in text.split() if draw(st.booleans())]
        finals.append(final(start, now, text, words))
    return finals


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_cases(case):
    expected = [Cue(cue["start"], cue["end"], tuple(cue["lines"])) for cue in case["cues"]]
    assert cues([final(**one) for one in case["finals"]]) == expected


@given(transcripts())
def test_every_word_is_there_once_and_in_order(finals):
    shown = "".join("".join(cue.lines) for cue in cues(finals))
    assert "".join(shown.split()) == "".join("".join(f.text.split()) for f in finals)


@given(transcripts())
def test_every_cue_fits_on_the_screen_and_into_its_time(finals):
    for cue in cues(finals):
        assert 1 <= len(cue.lines) <= 2
        assert all(line == line.strip() and 0 < width(line) <= LINE for line in cue.lines)
        assert SHORTEST_MS <= cue.end - cue.start <= LONGEST_MS


@given(transcripts())
def test_cues_never_overlap_and_stay_until_they_are_read_or_the_next_one_comes(finals):
    made = cues(finals)
    for i, cue in enumerate(made):
        later = made[i + 1].start if i + 1 < len(made) else math.inf
        read = cue.start + CHARACTER_MS * sum(map(width, cue.lines))
        assert min(read, later) <= cue.end <= later


@given(st.lists(st.sampled_from(["It was the best of times.", "Yes.", "Why, indeed?"]), max_size=8))
def test_with_time_enough_each_cue_begins_with_its_speech(said):
    finals = [final(8.0 * i, 8.0 * i + 2, text) for i, text in enumerate(said)]
    assert [cue.start for cue in cues(finals)] == [milliseconds(f.start) for f in finals]


def test_the_browsers_twin_makes_the_same_cues():
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node is installed")
    dice = random.Random(1)
    spoken = [
        "it",
        "was",
        "the",
        "best,",
        "of",
        "times.",
        "wisdom",
        "«Why»?",
        "x" * 50,
        "字幕",
        "です。",
        "한국어",
        "สวัสดี",
        "20",
    ]
    transcripts = []
    for _ in range(200):
        finals, now = [], 0.0
        for _ in range(dice.randrange(6)):
            said = dice.choices(spoken, k=dice.randrange(30))
            start, now = now, now + dice.uniform(0, 15)
            words = [{"text": w.strip(",."), "start": start + dice.uniform(0, 15), "end": now} for w in said]
            finals.append({"start": start, "end": now, "text": " ".join(said), "words": dice.choice([[], words])})
            now += dice.uniform(-0.2, 2)
        transcripts.append(finals)
    command = [node, "--input-type=module", "--eval", TWIN]
    told = subprocess.run(
        command, cwd=TESTS.parent, input=json.dumps(transcripts), capture_output=True, text=True, timeout=60, check=True
    )
    ours = [[asdict(cue) for cue in cues([final(**one) for one in finals])] for finals in transcripts]
    assert json.loads(told.stdout) == json.loads(json.dumps(ours))

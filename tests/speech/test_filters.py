"""No loops, no phantoms; nothing that people do say is dropped."""

import pytest

from server.speech.filters import loop, suspicion, unlooped
from server.speech.types import Hypothesis


@pytest.mark.parametrize(
    ("text", "voiced"),
    [
        ("Yes.", 0.3),
        ("No, no, no.", 1.2),
        ("It was very, very good.", 1.5),
        ("it was the best of times it was the worst of times it was the age of wisdom", 6.0),
        ("Thank you.", 0.8),
        ("Thank you for watching.", 1.4),
        ("You", 0.5),
        ("Bye bye.", 0.6),
        ("今日は天気がいいですね", 2.0),
        ("", 0.0),
    ],
)
def test_what_people_say_passes(text, voiced):
    assert suspicion(Hypothesis(text, logprob=-0.3, no_speech=0.1), voiced) is None
    assert suspicion(Hypothesis(text), voiced) is None


def test_a_loop_is_dropped():
    assert suspicion(Hypothesis("I am going to the " * 8), 6.0) == "a loop"
    assert suspicion(Hypothesis("no " * 30, compression=3.5), 20.0)


def test_three_of_the_same_are_a_loop_only_with_evidence():
    text = "row row row your boat"
    assert suspicion(Hypothesis(text), 2.0) is None
    assert suspicion(Hypothesis(text, logprob=-1.5), 2.0) == "a loop"


def test_more_words_than_the_time_allows_are_dropped():
    assert suspicion(Hypothesis("this is far too much to have been said in so short a time"), 0.5)


def test_the_engine_may_say_itself_that_there_is_nothing():
    assert suspicion(Hypothesis("So.", no_speech=0.9, logprob=-1.4), 1.0)
    assert suspicion(Hypothesis("So.", no_speech=0.9, logprob=-0.2), 1.0) is None


@pytest.mark.parametrize("text", ["Thank you for watching!", "Thanks for watching.", "字幕by某人", "Bye."])
def test_phantom_phrases_are_dropped_with_weak_evidence_only(text):
    assert suspicion(Hypothesis(text, no_speech=0.5), 1.5) == "a phantom phrase"
    assert suspicion(Hypothesis(text), 1.5) is None


def test_how_often_a_run_repeats():
    assert loop("a b c".split()) == 1
    assert loop("a b a b a b".split()) == 3
    assert loop("x a a a a y".split()) == 4


def test_what_was_said_before_a_loop_is_kept():
    said = unlooped(Hypothesis("It was the age of wisdom. And then, and then, and then, and then"), 2.5)
    assert said and said.text == "It was the age of wisdom. And then,"
    assert unlooped(Hypothesis("It was the age of wisdom."), 2.5) is None


def test_so_is_what_was_said_before_a_repetition_that_the_time_does_not_allow():
    fast = Hypothesis("It was the spring of hope. It was the wind from the wind from the")
    assert suspicion(fast, 1.9) == "more words than the time allows"
    said = unlooped(fast, 1.9)
    assert said and said.text == "It was the spring of hope. It was the wind from"


def test_but_not_what_cannot_be_either():
    assert unlooped(Hypothesis("Bye bye bye", no_speech=0.5), 1.5) is None
    assert unlooped(Hypothesis("one two three four five one two three four five"), 0.3) is None

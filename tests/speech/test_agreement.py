"""What is agreed stays, whatever the next answer looks like."""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.speech.agreement import Draft, appending, beyond, join, tokenise, write
from server.speech.types import Hypothesis, Word


def draft(*texts):
    made = Draft()
    for text in texts:
        made.update(Hypothesis(text))
    return made


def split(made):
    return made.text[: made.stable], made.text[made.stable :]


def timed(text, start=0.0):
    words = tuple(Word(w, start + i, start + i + 0.8) for i, w in enumerate(text.split()))
    return Hypothesis(text, words)


def test_nothing_is_agreed_after_one_answer():
    assert split(draft("hello world")) == ("", "hello world")


def test_two_answers_agree_on_what_they_begin_with():
    assert split(draft("hello word", "hello world again")) == ("hello", " world again")


def test_punctuation_and_case_that_change_hinder_nothing():
    assert split(draft("hello world how", "Hello, world. How are")) == ("Hello, world. How", " are")


def test_the_newest_form_is_shown_and_punctuation_behind_the_last_agreed_word_may_change():
    made = draft("best of times", "best of times.", "best of times, it was")
    assert split(made) == ("best of times", ", it was")


def test_an_answer_that_says_an_agreed_word_differently_neither_doubles_nor_loses_a_word():
    assert draft("i see the sea", "i see the sea now", "eye see a sea now yes").text == "i see the sea now yes"


def test_an_answer_that_forgets_the_beginning_takes_nothing_away():
    made = draft("it was the best of times", "it was the best of times")
    made.update(Hypothesis(""))
    assert made.text == "it was the best of times"


def test_real_repetitions_stay():
    assert draft("it is very very good", "it is very very good it is").text == "it is very very good it is"


def test_scripts_without_spaces_agree_by_character():
    assert split(draft("今日は天気", "今日は元気です")) == ("今日は", "元気です")


@pytest.mark.parametrize(
    "texts, joined",
    [
        (["one", " two ", "", " ", "three"], "one two three"),
        (["", "今日は", "", "いい天気。", "です"], "今日はいい天気。です"),
        (["今日は", "OK", "です"], "今日は OK です"),
        (["今日は", "(", "です"], "今日は ( です"),
        ([], ""),
    ],
)
def test_texts_are_joined_with_a_space_where_the_script_has_one(texts, joined):
    append = appending()
    assert join(texts) == "".join(append(text) for text in texts) == joined


def test_what_was_said_in_a_day_is_joined_at_once():
    began = process_time()
    assert join(["今日はいい天気です。"] * 40_000) == "今日はいい天気です。" * 40_000
    assert process_time() - began < 2.0  # a twentieth of it is enough; where each looks at all before it takes minutes


def test_scripts_mixed_in_one_line_are_joined_as_written():
    text = "私は Python が好き, really 好き。"
    assert write(tokenise(Hypothesis(text))) == text


def test_hangul_is_written_with_spaces():
    assert write(tokenise(Hypothesis("안녕하세요 여러분"))) == "안녕하세요 여러분"


def test_a_lone_dash_belongs_to_its_neighbour():
    assert [t.text for t in tokenise(Hypothesis("yes - no"))] == ["yes -", "no"]
    assert [t.text for t in tokenise(Hypothesis("- yes"))] == ["- yes"]


def test_a_window_that_starts_later_goes_on_from_its_word():
    made = Draft()
    made.update(timed("one two three four"))
    made.update(timed("one two three four five"))
    base = made.anchor(latest=2.0)
    assert made.agreed[base].text == "three"
    made.update(timed("three four five six", start=2.0), base)
    assert split(made) == ("one two three four five", " six")


def test_without_word_times_there_is_no_anchor():
    assert draft("one two three", "one two three").anchor(99.0) == 0


@pytest.mark.parametrize("words", [("Hello,", "world."), ("Hello", "world")])
def test_word_times_come_along_with_or_without_punctuation(words):
    tokens = tokenise(Hypothesis("Hello, world.", (Word(words[0], 1, 2), Word(words[1], 2, 3))))
    assert [(t.text, t.start, t.end) for t in tokens] == [("Hello,", 1, 2), ("world.", 2, 3)]


WORDS = st.lists(
    st.sampled_from(["the", "The,", "best", "best.", "of", "—", "時", "間。", "", "times", "no"]), max_size=12
)


@given(st.lists(WORDS, max_size=8))
def test_the_stable_part_never_changes(answers):
    made, before = Draft(), ""
    for answer in answers:
        made.update(Hypothesis(" ".join(answer)))
        assert made.text.startswith(before)
        before = made.text[: made.stable]


@given(st.text(max_size=60))
def test_any_text_survives_being_taken_apart(text):
    tokens = tokenise(Hypothesis(text))
    assert write(tokens).split() == text.split() or all(not t.key for t in tokens)


def test_where_no_word_has_a_time_a_word_is_not_older_than_the_last_window_without_it():
    made = Draft()
    made.update(Hypothesis("one two"), end=10.0)
    made.update(Hypothesis("one two three four"), end=12.0)
    made.update(Hypothesis("one two three four five six"), end=14.0)
    assert made.agreed[2].text == "three" and made.agreed[2].start == 9.0
    assert made.anchor(99.0) <= len(made.agreed) - 3, "and some words are read twice, to find the place again"


def test_a_window_that_begins_nobody_knows_where_doubles_nothing_even_where_speech_repeats():
    made = Draft()
    for text in ("it was the spring of hope it was the", "it was the spring of hope it was the winter"):
        made.update(Hypothesis(text), end=5.0)
    made.update(Hypothesis("spring of hope it was the winter of despair"), 6, end=7.0, exact=False)
    assert made.text == "it was the spring of hope it was the winter of despair"
    made.update(Hypothesis("it was the winter of despair we had"), 6, end=8.0, exact=False)
    assert made.text == "it was the spring of hope it was the winter of despair we had"


@pytest.mark.parametrize(
    "told, text, more",
    [
        ("", "Hello.", "Hello."),
        ("Hello wor", "Hello world", None),
        ("hello world", "Hello, world. How", ". How"),
        ("Hello world.", "Hello, world, how", " how"),
        ("Hello world", "Hello", None),
        ("Hello", "Hello", ""),
        ("well -", "Well — yes", " — yes"),
        ("你好", "你好，世界", "，世界"),
    ],
)
def test_what_a_text_says_beyond_the_words_that_were_told(told, text, more):
    assert beyond(told, text) == more

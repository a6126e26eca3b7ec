"""How late captions are counted to be."""

import pytest
from figures import figures

from server.meter import ARRIVALS, Meter
from server.metrics import Metrics
from server.speech.types import Caption


class Watch:
    """A clock in the hand."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


@pytest.fixture
def watch():
    return Watch()


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def meter(metrics, watch):
    """Sound comes every half second, at its own pace, up to 10 s."""
    meter = Meter(metrics, watch)
    for n in range(21):
        meter.heard(n / 2, watch.time + n / 2)
    watch.time += 10.0
    return meter


def partial(text, end, utterance=1):
    return Caption(utterance, 0.0, end, text, 0, False)


def final(text, end, utterance=1):
    return Caption(utterance, 0.0, end, text, len(text), True)


def told_by(metrics):
    return figures(metrics.page().decode())


def test_a_caption_is_as_late_as_its_last_sound_came_long_ago(meter, metrics):
    meter.told(partial("it was", end=9.5))
    meter.told(final("It was.", end=9.0))
    told = told_by(metrics)
    assert told['sotto_caption_lag_seconds_sum{kind="partial"}'] == pytest.approx(0.5)
    assert told['sotto_caption_lag_seconds_sum{kind="final"}'] == pytest.approx(1.0)


def test_sound_that_came_within_a_chunk_came_with_its_end(meter, metrics):
    meter.told(final("It was.", end=8.7))
    assert told_by(metrics)['sotto_caption_lag_seconds_sum{kind="final"}'] == pytest.approx(1.0)


def test_each_word_counts_once_at_the_first_caption_that_shows_it(meter, metrics):
    meter.told(partial("it was", end=8.0))
    meter.told(partial("it was the best", end=9.0))
    meter.told(final("It was the best of times.", end=9.0))
    told = told_by(metrics)
    assert told["sotto_word_latency_seconds_count"] == 6
    assert told["sotto_word_latency_seconds_sum"] == pytest.approx(2 * 2.0 + 4 * 1.0)


def test_words_that_are_taken_back_and_come_again_count_once(meter, metrics):
    for text in ("it was the", "it", "it was the"):
        meter.told(partial(text, end=9.0))
    assert told_by(metrics)["sotto_word_latency_seconds_count"] == 3


def test_the_words_of_two_utterances_are_not_mixed_up(meter, metrics):
    meter.told(partial("one two", end=5.0, utterance=1))
    meter.told(partial("three", end=9.0, utterance=2))
    meter.told(final("One two.", end=5.0, utterance=1))
    meter.told(final("Three four.", end=9.0, utterance=2))
    assert told_by(metrics)["sotto_word_latency_seconds_count"] == 4


def test_sound_is_counted_from_where_the_session_begins(metrics, watch):
    meter = Meter(metrics, watch)
    for time in (600.0, 600.3, 600.3, 601.0):  # it goes on where another one stood
        meter.heard(time, watch.time)
    assert told_by(metrics)['sotto_audio_seconds_total{source="live"}'] == pytest.approx(1.0)


def test_what_came_too_long_ago_is_not_counted_as_fresh(meter, metrics, watch):
    for n in range(ARRIVALS + 10):
        meter.heard(11 + n, watch.time)
    meter.told(final("It was.", end=9.0))
    assert 'sotto_caption_lag_seconds_sum{kind="final"}' not in told_by(metrics)

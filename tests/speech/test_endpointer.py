"""Where an utterance starts, pauses and ends."""

import numpy as np

from server.speech.endpointer import Edge, Endpointer
from server.speech.types import FRAME_S, Frame

SAMPLES = np.zeros(512, np.float32)


def push(endpointer, *runs, hang=0.6):
    """Runs of (seconds, probability); every edge with its time."""
    edges, count = [], 0
    for seconds, speech in runs:
        for _ in range(round(seconds / FRAME_S)):
            edge = endpointer.push(Frame(count * FRAME_S, SAMPLES, speech), lambda: hang)
            count += 1
            if edge is not Edge.NONE:
                edges.append((edge, round(count * FRAME_S, 1)))
    return edges


def test_speech_starts_pauses_and_ends():
    assert push(Endpointer(), (1, 0), (1, 0.9), (1, 0)) == [(Edge.START, 1.2), (Edge.PAUSE, 2.1), (Edge.END, 2.6)]


def test_a_click_is_no_speech():
    assert push(Endpointer(), (1, 0), (0.1, 0.9), (1, 0)) == []


def test_the_onset_is_where_the_voice_began():
    endpointer = Endpointer()
    push(endpointer, (1, 0), (0.5, 0.9))
    assert abs(endpointer.onset - 1.0) < FRAME_S


def test_a_wavering_voice_does_not_flicker():
    assert push(Endpointer(), (0.3, 0.9), *[(0.1, 0.4), (0.1, 0.6)] * 10) == [(Edge.START, 0.2)]


def test_a_voice_below_the_upper_threshold_opens_nothing():
    assert push(Endpointer(), (5, 0.45)) == []


def test_after_a_pause_speech_goes_on_and_may_pause_again():
    edges = push(Endpointer(), (0.5, 0.9), (0.3, 0), (0.5, 0.9), (1, 0))
    assert [e for e, _ in edges] == [Edge.START, Edge.PAUSE, Edge.PAUSE, Edge.END]


def test_a_short_hang_ends_sooner():
    assert push(Endpointer(), (1, 0.9), (1, 0), hang=0.3)[-1] == (Edge.END, 1.3)


def test_forced_an_open_utterance_ends_and_a_short_word_still_counts():
    endpointer = Endpointer()
    push(endpointer, (1, 0.9))
    assert endpointer.force() is Edge.END
    short = Endpointer()
    push(short, (0.15, 0.9))
    assert short.force() is Edge.START
    assert Endpointer().force() is Edge.NONE

"""Long audio is cut where nobody speaks, and no word is lost or read twice."""

import io
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.batch.split import Splitter
from server.speech.types import FRAME, RATE


def hear(samples):
    """An honest ear for made-up audio: whatever is not silent speaks, in each whole frame."""
    return (np.abs(samples.reshape(-1, FRAME)).max(axis=1) > 0.01).astype(np.float32)


def speech(seconds: float) -> np.ndarray:
    """Samples no two of which are alike, so that a lost or doubled one shows."""
    count = round(seconds * RATE)
    return np.linspace(0.1, 0.9, count, dtype=np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def pieces_of(*parts: np.ndarray, longest: float = 30, block: int = 7001):
    whole = np.concatenate(parts)
    splitter = Splitter(hear, longest)
    pieces = [piece for at in range(0, len(whole), block) for piece in splitter.push(whole[at : at + block])]
    return pieces + splitter.finish()


def test_a_short_file_is_one_piece_with_a_little_silence_around():
    (piece,) = pieces_of(silence(5), speech(3), silence(5))
    assert piece.start == pytest.approx(4.65, abs=0.1) and piece.end == pytest.approx(8.3, abs=0.1)


def test_a_long_silence_is_left_out_and_times_stay_true():
    first, second = pieces_of(speech(2), silence(60), speech(2))
    assert first.start == 0 and first.end < 2.5
    assert 61.5 < second.start < 62 and second.end == pytest.approx(64, abs=0.04)


def test_a_short_pause_stays_inside():
    assert len(pieces_of(speech(2), silence(1.5), speech(2))) == 1


def test_nobody_speaks_no_piece():
    assert pieces_of(silence(100)) == []


def test_a_click_is_not_a_word():
    assert pieces_of(silence(3), np.full(100, 0.5, np.float32), silence(3)) == []


def test_long_speech_is_cut_in_its_longest_pause():
    first, second = pieces_of(speech(18), silence(0.2), speech(3), silence(0.8), speech(6), longest=25)
    assert 21.2 < first.end < 22 and second.start == first.end


def test_speech_without_a_pause_is_cut_where_it_is_softest():
    loud, soft = np.full(RATE * 16, 0.8, np.float32), np.full(RATE, 0.05, np.float32)
    first, second = pieces_of(loud, soft, loud, longest=20)
    assert 16 < first.end < 17 and second.start == first.end


def test_the_last_breath_of_a_word_after_a_cut_is_kept():
    pieces = pieces_of(speech(20.02), longest=20)
    assert sum(len(piece.pcm) for piece in pieces) >= 20.02 * RATE


@settings(deadline=None)  # the clock of a busy machine says nothing about the cut
@given(
    lengths=st.lists(st.tuples(st.floats(0.2, 9), st.floats(0, 4)), min_size=1, max_size=6),
    longest=st.floats(2, 12),
    block=st.integers(100, 50_000),
)
def test_all_speech_is_in_exactly_one_piece(lengths, longest, block):
    whole = np.concatenate([part for talk, pause in lengths for part in (speech(talk), silence(pause))])
    pieces = pieces_of(whole, longest=longest, block=block)
    heard = np.zeros(len(whole) + FRAME, np.float32)
    for piece in pieces:
        assert piece.end - piece.start <= longest
        at = round(piece.start * RATE)
        assert not heard[at : at + len(piece.pcm)].any()
        heard[at : at + len(piece.pcm)] += piece.samples()
    assert np.abs(heard[: len(whole)] - whole).max() < 1e-4
    assert [piece.start for piece in pieces] == sorted(piece.start for piece in pieces)


def test_where_the_next_piece_may_begin_is_known_in_silence_too():
    splitter = Splitter(hear, 30)
    assert splitter.push(silence(50)) == [] and 49 < splitter.start < 50
    assert splitter.push(speech(5)) == [] and 49 < splitter.start < 50
    (piece,) = splitter.push(silence(5))
    assert 49 < piece.start < 50 and splitter.start == pytest.approx(60, abs=0.5)


def test_a_piece_knows_how_long_somebody_speaks_in_it():
    (piece,) = pieces_of(silence(5), speech(1), silence(1), speech(1), silence(5))
    assert piece.voiced == pytest.approx(2, abs=0.1)


def test_the_halves_of_a_piece_meet_in_the_pause_and_are_all_of_it():
    (piece,) = pieces_of(speech(8), silence(0.5), speech(6))
    first, second = piece.halves()
    assert first.start == piece.start and 8 < first.end < 8.5 and second.start == first.end
    assert np.concatenate([first.pcm, second.pcm]).tolist() == piece.pcm.tolist()
    assert first.voiced + second.voiced == pytest.approx(piece.voiced)


def test_a_piece_is_a_wav_file_for_engines_that_want_one():
    (piece,) = pieces_of(speech(1))
    clip = piece.clip()
    assert clip.suffix == ".wav" and clip.start == piece.start
    with wave.open(io.BytesIO(clip.data)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        assert file.readframes(RATE * 2) == piece.pcm.tobytes()
    assert piece.samples().dtype == np.float32

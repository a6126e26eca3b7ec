"""A session, told as stories: what was heard, what is asked, what is shown."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.speech.session import Ended, Missing, Policy, Publish, Session, Started, Unheard
from server.speech.types import FRAME_S, Frame, Hypothesis, Kind, Mark, Word
from server.speech.utterance import Transcribe

LOUD = np.full(512, 0.1, np.float32)


EDGES = (Started, Ended, Unheard)


class Quiet(Session):
    """Without its edges: they have stories of their own."""


def without_edges(name):
    def method(self, *args):
        return [action for action in getattr(Session, name)(self, *args) if not isinstance(action, EDGES)]

    return method


for name in ("hear", "pulse", "hypothesis", "failed", "finalize", "stall", "finish", "leave"):
    setattr(Quiet, name, without_edges(name))


class Story:
    """A session, and somebody who speaks into it."""

    def __init__(self, session=Quiet, **policy):
        self.session = session(Policy(**policy))
        self.frames = 0
        self.actions = []

    def say(self, seconds, speech=1.0, samples=LOUD):
        """Speak for so long; what the session wants because of it."""
        actions = []
        for _ in range(round(seconds / FRAME_S)):
            actions += self.session.hear(Frame(self.frames * FRAME_S, samples, speech)) + self.session.pulse()
            self.frames += 1
        return actions

    def silence(self, seconds):
        return self.say(seconds, speech=0.0)

    def answer(self, request, text):
        return self.session.hypothesis(request, Hypothesis(text))


def asked(actions, *kinds):
    return [a for a in actions if isinstance(a, Transcribe) and (not kinds or a.kind in kinds)]


def shown(actions):
    return [
        (c.text[: c.stable], c.text[c.stable :], c.final)
        for c in (a.caption for a in actions if isinstance(a, Publish))
    ]


def edges(actions):
    return [(type(action), action.utterance) for action in actions if isinstance(action, EDGES)]


def test_an_utterance_is_told_when_it_starts_and_when_it_ends():
    story = Story(Session)
    [started] = (a for a in story.say(1.0) if isinstance(a, EDGES))
    assert started == Started(1, 0.0)
    [ended] = (a for a in story.silence(1.0) if isinstance(a, EDGES))
    assert isinstance(ended, Ended) and ended.time == pytest.approx(1.0, abs=0.05) and not ended.cut


def test_a_cut_ends_one_utterance_and_starts_the_next_at_the_same_time():
    actions = Story(Session).say(21)
    assert edges(actions) == [(Started, 1), (Ended, 1), (Started, 2)]
    _, ended, started = (a for a in actions if isinstance(a, EDGES))
    assert ended.time == started.time and ended.cut


def test_an_utterance_without_a_text_is_told_to_have_none_and_in_its_turn():
    story = Story(Session)
    first = asked(story.say(1.0) + story.silence(1.0), Kind.EARLY)
    second = asked(story.say(1.0) + story.silence(1.0), Kind.EARLY)
    assert not edges(story.answer(second[-1], ""))
    actions = story.answer(first[-1], "hello")
    assert [type(a) for a in actions if isinstance(a, (Publish, Unheard))] == [Publish, Unheard]
    assert edges(actions) == [(Unheard, 2)]


def test_an_utterance_whose_text_is_missing_says_so():
    story = Story(Session, partials=False)
    story.say(1.5)
    [final] = asked(story.session.finish())
    assert story.session.failed(final)[-1] == Unheard(1, missing=True)


def test_what_is_cleared_is_never_ended_never_shown_and_no_part_of_what_comes():
    story = Story(Session)
    [request] = asked(story.say(0.7))
    story.session.clear()
    assert story.answer(request, "cleared") == []
    actions = story.silence(1.0) + story.say(1.0) + story.silence(1.0)
    assert edges(actions) == [(Started, 2), (Ended, 2)]
    assert all(later.start >= 0.7 - FRAME_S for later in asked(actions))


def test_what_ended_before_a_clear_has_its_final_but_is_no_prompt():
    story = Story()
    early = asked(story.say(1.0) + story.silence(1.0), Kind.EARLY)[-1]
    story.session.clear()
    assert shown(story.answer(early, "Hello.")) == [("Hello.", "", True)]
    assert all(request.prompt == "" for request in asked(story.say(1.0)))


def test_a_wish_counts_from_the_next_request_on():
    story = Story()
    story.say(1.0)
    story.session.wish(Policy(endpoint=2.0), "de", "Sotto")
    requests = asked(story.silence(1.0))
    assert {(r.kind, r.language, r.prompt) for r in requests} == {(Kind.EARLY, "de", "Sotto")}
    assert not [a for a in story.silence(0.9) if isinstance(a, Ended)]


def test_a_higher_threshold_hears_no_soft_voice():
    assert Story(Session, threshold=0.8).say(2.0, speech=0.7) == []
    assert edges(Story(Session, threshold=0.6).say(2.0, speech=0.7)) == [(Started, 1)]


def test_silence_asks_nothing():
    assert Story().silence(60) == []


def test_the_first_partial_comes_half_a_second_after_the_onset():
    [request] = asked(Story().say(0.7))
    assert request.kind is Kind.PARTIAL
    assert request.end == pytest.approx(0.5, abs=0.05)


def test_partials_come_once_per_interval_while_the_engine_keeps_up():
    story = Story()
    [one] = story.say(0.7)
    story.answer(one, "hello")
    [two] = story.say(1.0)
    assert 0.85 <= two.end - one.end <= 1.05


def test_long_windows_are_asked_less_often():
    story, ends = Story(cut_after=99, cut_at=99), []
    for _ in range(300):
        for request in story.say(0.1):
            ends.append(request.end)
            story.answer(request, "hello")
    assert ends[-1] - ends[-2] > 4


def test_a_slow_engine_is_asked_once_and_nothing_is_queued():
    assert len(Story().say(10)) == 1


def test_two_requests_are_in_the_air_in_the_fastest_setting():
    assert len(Story(partials_in_air=2).say(10)) == 2


def test_without_partials_only_the_pause_asks():
    story = Story(partials=False)
    assert story.say(5) == []
    assert [r.kind for r in story.silence(0.2)] == [Kind.EARLY]


def test_words_become_stable_when_two_answers_agree():
    story = Story()
    [one] = story.say(0.7)
    assert shown(story.answer(one, "hello word")) == [("", "hello word", False)]
    [two] = story.say(1.5)
    assert shown(story.answer(two, "hello world again")) == [("hello", " world again", False)]


def test_an_answer_that_changes_nothing_is_not_shown_again():
    story = Story(partials_in_air=2)
    one, two, *_ = story.say(3)
    story.answer(one, "hello")
    assert shown(story.answer(two, "hello")) == [("hello", "", False)]
    three, *_ = story.say(1)
    assert shown(story.answer(three, "hello")) == []


def test_an_older_answer_never_replaces_a_newer_one():
    story = Story(partials_in_air=2)
    one, two, *_ = story.say(3)
    story.answer(two, "hello world")
    assert story.answer(one, "hello") == []


def test_the_engine_works_while_the_silence_lasts():
    story = Story()
    story.say(2)
    [early] = asked(story.silence(0.3), Kind.EARLY)
    assert story.answer(early, "hello world.")
    assert shown(story.silence(0.6)) == [("hello world.", "", True)]


def test_an_early_answer_that_is_still_on_its_way_becomes_the_final():
    story = Story()
    story.say(2)
    [early] = asked(story.silence(1), Kind.EARLY)
    assert shown(story.answer(early, "hello world.")) == [("hello world.", "", True)]


def test_when_speech_goes_on_the_early_answer_is_but_a_partial():
    story = Story()
    story.say(2)
    [early] = asked(story.silence(0.2), Kind.EARLY)
    story.say(1)
    assert shown(story.answer(early, "hello")) == [("hello", "", False)]
    requests = asked(story.silence(1), Kind.EARLY, Kind.FINAL)
    assert requests[-1].end > early.end


def test_a_sentence_that_is_agreed_ends_sooner():
    story = Story()
    [partial] = story.say(1)
    story.answer(partial, "hello world")
    [early] = asked(story.silence(0.2), Kind.EARLY)
    story.answer(early, "Hello world.")
    assert shown(story.silence(0.2)) == [("Hello world.", "", True)]


def test_half_a_sentence_does_not():
    story = Story()
    [partial] = story.say(1)
    story.answer(partial, "hello world and")
    [early] = asked(story.silence(0.2), Kind.EARLY)
    story.answer(early, "hello world and")
    assert story.silence(0.2) == []
    assert shown(story.silence(0.3)) == [("hello world and", "", True)]


def test_a_failed_early_request_is_made_again_as_a_final():
    story = Story()
    story.say(2)
    [early] = asked(story.silence(1), Kind.EARLY)
    [final] = story.session.failed(early)
    assert final.kind is Kind.FINAL
    assert shown(story.answer(final, "hello")) == [("hello", "", True)]


def test_a_late_partial_never_replaces_a_final():
    story = Story()
    [partial] = story.say(1.5)
    [early] = asked(story.silence(1), Kind.EARLY)
    story.answer(early, "hello world")
    assert story.answer(partial, "hello") == []


def test_an_engine_failure_keeps_what_was_shown_and_says_so():
    story = Story()
    [partial] = story.say(1.5)
    story.answer(partial, "hello")
    [final] = story.session.finish()
    [publish] = story.session.failed(final)
    assert (publish.caption.text, publish.caption.final, publish.caption.degraded) == ("hello", True, True)


def test_an_empty_final_keeps_what_was_shown():
    story = Story()
    [partial] = story.say(1.5)
    story.answer(partial, "hello")
    [final] = story.session.finish()
    assert shown(story.answer(final, "")) == [("hello", "", True)]


def test_where_nothing_was_understood_nothing_is_shown():
    story = Story()
    story.say(1.5)
    [final] = story.session.finish()
    assert story.answer(final, "") == []


def test_finals_come_in_order_even_when_answers_do_not():
    story = Story()
    story.say(1)
    [first] = asked(story.silence(1), Kind.EARLY)
    story.say(1)
    [second] = asked(story.silence(1), Kind.EARLY)
    assert story.answer(second, "two") == []
    assert [text for text, _, _ in shown(story.answer(first, "one"))] == ["one", "two"]


def test_the_last_words_are_asked_for_at_the_end():
    story = Story()
    story.say(1.5)
    [final] = story.session.finish()
    assert final.kind is Kind.FINAL and final.end == pytest.approx(1.5, abs=0.05)


def test_a_word_cut_off_by_the_end_is_asked_for_too():
    story = Story()
    story.say(0.16)
    [final] = story.session.finish()
    assert final.kind is Kind.FINAL


def test_finish_after_silence_has_nothing_to_add():
    story = Story()
    story.say(1)
    [early] = asked(story.silence(2), Kind.EARLY)
    story.answer(early, "hello")
    assert story.session.finish() == []


def test_a_stream_that_stalls_is_made_final_and_may_go_on():
    story = Story()
    [partial] = story.say(1.5)
    story.answer(partial, "hello")
    assert [a.kind for a in story.session.stall()] == [Kind.FINAL]
    assert story.session.stall() == []
    assert asked(story.say(1.5))[0].utterance == 2


def test_the_beginning_of_a_word_is_not_cut_off():
    story = Story()
    story.silence(2)
    [request] = story.say(0.7)
    assert request.start == pytest.approx(2 - 0.5, abs=0.05)


def test_the_audio_of_two_utterances_does_not_overlap():
    story = Story(endpoint=0.25, endpoint_settled=0.25)
    [partial] = story.say(1)
    story.answer(partial, "hello")
    [early] = asked(story.silence(0.3), Kind.EARLY)
    [next_request] = asked(story.say(0.6))
    assert next_request.utterance == early.utterance + 1
    assert next_request.start >= 1 + 0.2 - 0.05


def test_from_twelve_seconds_on_the_next_pause_is_the_end():
    story = Story(partials=False)
    story.say(13)
    [final] = story.silence(0.2)
    assert final.kind is Kind.FINAL
    assert story.say(1) == []
    [rest] = story.silence(0.2)
    assert rest.utterance == final.utterance + 1


def test_a_monologue_is_cut_at_its_quietest_moment_and_nothing_is_between():
    story = Story(partials=False)
    story.say(19.5)
    story.say(FRAME_S * 3, samples=LOUD / 100)
    [final] = story.say(1, samples=LOUD)
    assert final.end == pytest.approx(19.55, abs=0.05)
    [rest] = story.session.finish()
    assert rest.start == final.end and rest.utterance == final.utterance + 1


def timed(*words):
    return Hypothesis(" ".join(w for w, _, _ in words), tuple(Word(*w) for w in words))


def test_with_word_times_a_word_at_the_cut_is_read_whole_by_both_and_kept_by_one():
    story = Story()
    [partial] = story.say(0.7)
    story.session.hypothesis(partial, timed(("so", 0.1, 0.4)))
    story.say(19)
    [final] = asked(story.say(0.5), Kind.FINAL)
    where = next(u.end for u in story.session._ending)
    around = timed(("before", where - 0.5, where - 0.1), ("after", where - 0.05, where + 0.4))
    assert final.end > where
    assert shown(story.session.hypothesis(final, around)) == [("before", "", True)]
    [rest] = asked(story.session.finish(), Kind.FINAL)
    assert rest.start < where
    assert shown(story.session.hypothesis(rest, around)) == [("after", "", True)]


@pytest.mark.parametrize("answered", [True, False])
def test_what_is_shown_behind_a_cut_is_in_no_final_before_it(answered):
    story = Story(partials_in_air=9)
    [partial] = story.say(0.7)
    story.session.hypothesis(partial, timed(("so", 0.1, 0.4)))
    story.say(2.6)
    [early] = asked(story.say(0.2, speech=0.0, samples=LOUD / 99), Kind.EARLY)
    story.session.hypothesis(early, timed(("so", 0.1, 0.4), ("far", 2.9, 3.2)))
    *_, partial = asked(story.say(2.5), Kind.PARTIAL)
    both = timed(("we", 3.6, 3.8), ("were", 5.2, 5.5))
    assert shown(story.session.hypothesis(partial, both)) == [("so far", " we were", False)]
    [final] = asked(story.session.leave(), Kind.FINAL)
    actions = story.session.hypothesis(final, both) if answered else story.session.failed(final)
    [told] = (a for a in actions if isinstance(a, Publish))
    assert told.mark.time < 5.2 and told.caption.text == "so far we" and told.caption.degraded is not answered


def test_with_word_times_what_was_read_before_a_pause_is_not_cut_any_more():
    story = Story(partials=False)
    story.say(3.3)
    [early] = asked(story.silence(0.2), Kind.EARLY)
    story.session.hypothesis(early, timed(("so", 0.1, 0.4), ("far", 2.9, 3.2)))
    story.say(0.4)
    [told] = (a for a in story.session.leave() if isinstance(a, Publish))
    assert 3.3 < told.mark.time < 3.4 and told.caption.text == "so far"


@pytest.mark.parametrize("another", [False, True])
def test_a_word_at_the_cut_is_kept_by_one_also_where_a_pause_follows_it(another):
    story = Story(cut_after=99)
    [partial] = story.say(0.7)
    story.session.hypothesis(partial, timed(("so", 0.1, 0.4)))
    story.say(19)
    [final] = asked(story.say(0.5), Kind.FINAL)
    where = final.end - 0.5 if final.end < story.frames * FRAME_S else next(u.end for u in story.session._ending)
    around = timed(("before", where - 0.5, where - 0.1), ("shared", where - 0.3, where + 0.2))
    [told] = (a for a in story.session.hypothesis(final, around) if isinstance(a, Publish))
    assert told.caption.text == "before shared" and told.mark.cut
    if another:  # goes on at the mark
        story.session, story.frames = Quiet(story.session.policy, mark=told.mark), round(where / FRAME_S)
        story.say(1)
    [early] = asked(story.silence(0.3), Kind.EARLY)
    assert early.start < where - 0.4
    rest = timed(("shared", where - 0.3, where + 0.2), ("after", where + 0.2, where + 0.5))
    story.session.hypothesis(early, rest)
    assert [text for _, text, _ in shown(story.silence(1))] == [""] and story.session._said.endswith("shared after")


def test_an_answer_without_word_times_about_both_sides_of_a_cut_is_asked_for_again():
    story = Story()
    [partial] = story.say(0.7)
    story.session.hypothesis(partial, timed(("so", 0.1, 0.4)))
    story.say(19)
    [final] = asked(story.say(0.5), Kind.FINAL)
    [again] = story.answer(final, "so before and some of what comes after")
    assert final.end > again.end == next(u.end for u in story.session._ending)
    assert shown(story.answer(again, "so before")) == [("so before", "", True)]


def test_with_word_times_a_partial_starts_at_the_last_agreed_word():
    story, words = Story(), [(f"w{i}", i * 1.0, i + 0.9) for i in range(12)]
    requests = story.say(0.7)
    for _ in range(80):
        for request in requests:
            heard = [w for w in words if request.start <= w[1] and w[2] <= request.end]
            story.session.hypothesis(request, timed(*heard))
        requests = story.say(0.1)
        if requests and requests[0].base:
            break
    assert requests[0].start >= 1.0
    assert requests[0].end - requests[0].start >= 1.0


def test_the_bound_on_cost_spares_the_finals():
    story = Story(max_cost_ratio=1.5, cut_after=99, cut_at=99)
    for _ in range(600):
        for request in story.say(0.1):
            story.answer(request, "hello")
    requests = story.session.finish()
    assert requests and story.session.sent <= 1.5 * story.session.time + 0.5


def test_the_prompt_is_what_was_said_before():
    story = Story()
    [partial] = story.say(1)
    story.answer(partial, "hello")
    [early] = asked(story.silence(1), Kind.EARLY)
    assert early.prompt == ""
    story.answer(early, "Hello world.")
    [request] = asked(story.say(0.7))
    assert request.prompt == "Hello world."


def test_a_loop_is_neither_shown_nor_a_prompt_and_the_final_is_asked_for_without_one():
    story = Story()
    story.say(1)
    [early] = asked(story.silence(1), Kind.EARLY)
    story.answer(early, "Hello world.")
    story.say(1)
    [second] = asked(story.silence(1), Kind.EARLY)
    [again] = story.answer(second, "and so and so " * 10)
    assert again.kind is Kind.FINAL and again.prompt == ""
    assert shown(story.answer(again, "and so on")) == [("and so on", "", True)]


def speak_in(story, language, seconds):
    story.say(seconds)
    [early] = asked(story.silence(1), Kind.EARLY)
    story.session.hypothesis(early, Hypothesis("ja ja", language=language))
    return early


def test_a_language_that_was_recognised_for_long_enough_stays():
    story = Story(partials=False)
    assert [speak_in(story, "de", 5).language for _ in range(2)] == [None, None]
    assert speak_in(story, "nl", 1).language == "de"
    assert story.session.language == "de"


def test_a_language_that_changes_is_not_taken_for_granted():
    story = Story(partials=False)
    for language in ("de", "nl", "de", "en"):
        assert speak_in(story, language, 4).language is None


def test_an_engine_that_loops_again_and_again_does_not_take_away_what_came_before():
    story = Story(partials=False)
    story.say(4)
    [final] = story.session.finish()
    assert shown(story.answer(final, "hello world " + "and so " * 12)) == [("hello world and so", "", True)]


def test_what_came_before_a_loop_is_told_where_less_was_shown_and_else_what_was_shown():
    for before, told in (("one two three four", "one two three four and so"), ("one", "one two three")):
        story = Story()
        [partial] = story.say(1)
        story.answer(partial, "one two three")
        story.say(4)
        [final] = asked(story.session.finish(), Kind.FINAL)
        assert shown(story.answer(final, before + " and so" * 12))[-1] == (told, "", True)


def test_memory_does_not_grow_with_the_session():
    story = Story(partials=False)
    for _ in range(300):
        story.say(1)
        for request in asked(story.silence(1)):
            story.answer(request, "one two three four")
    assert len(story.session._ending) == 0
    assert len(story.session._said) <= 200
    assert story.session.time - story.session.needs < 2


def test_what_goes_on_after_a_forced_cut_is_not_taken_for_too_many_words():
    story = Story(partials=False)
    story.say(19)
    story.say(FRAME_S * 3, samples=LOUD / 100)
    [final] = asked(story.say(0.96))
    story.answer(final, "so it went on")
    story.say(0.3)
    [rest] = story.session.finish()
    assert shown(story.answer(rest, "one two three four five six")) == [("one two three four five six", "", True)]


def test_an_answer_at_a_pause_that_comes_after_a_newer_one_settles_nothing():
    story = Story(piece=0.5)
    [first] = story.say(1)
    story.answer(first, "seven")
    [early] = asked(story.silence(0.2), Kind.EARLY)
    [partial] = asked(story.say(1), Kind.PARTIAL)
    story.answer(partial, "seven eight nine ten")
    story.answer(early, "seven eight")
    [newer] = asked(story.say(1), Kind.PARTIAL)
    [publish] = story.answer(newer, "seven eight nine ten eleven")
    assert publish.caption.text == "seven eight nine ten eleven"


def test_an_engine_that_fails_at_a_pause_is_not_asked_again_before_there_is_more_to_say():
    story = Story()
    story.say(2)
    [early] = asked(story.silence(0.2), Kind.EARLY)
    story.session.failed(early)
    assert story.silence(0.3) == []
    assert [r.kind for r in asked(story.silence(0.3))] == [Kind.FINAL]


def test_an_early_answer_that_comes_after_the_end_does_not_double_what_the_final_says():
    story = Story(piece=0.5)
    [partial] = story.say(1)
    story.answer(partial, "one two")
    [early] = asked(story.silence(0.2), Kind.EARLY)
    story.say(0.3)
    [final] = story.session.finish()
    assert story.answer(early, "one two") == []
    assert shown(story.answer(final, "one two three")) == [("one two three", "", True)]


def test_speech_without_a_text_is_told():
    story = Story(partials=False)
    story.say(1.5)
    [final] = story.session.finish()
    [missing] = story.session.failed(final)
    assert isinstance(missing, Missing) and missing.end - missing.start == pytest.approx(1.5, abs=0.05)


class Engine:
    """Answers some requests late and in any order, some never, as it is told; with word times, or with tokens."""

    def __init__(self, session, fates, timed):
        self.session, self.fates, self.waiting, self.timed = session, deque(fates), deque(), timed
        self.forgotten = 0.0  # the audio before this is gone

    def take(self, actions):
        published = []
        todo = deque(actions)
        while todo:
            action = todo.popleft()
            if isinstance(action, Publish):
                published.append(action.caption)
            if not isinstance(action, Transcribe):
                continue
            assert action.start >= self.forgotten, "only audio that is still there is asked for"
            assert action.end > action.start
            fate = self.fates.popleft() if self.fates else "now"
            if fate.startswith("late"):
                self.waiting.append((action, fate))
            elif fate == "fail":
                todo.extend(self.session.failed(action))
            else:
                todo.extend(self.reply(action))
        return published

    def reply(self, request):
        # One word for each second of the session's time that the window holds most of.
        words = [
            Word(f"w{s}", float(s), s + 0.9)
            for s in range(int(request.start), int(request.end) + 1)
            if request.start <= s + 0.2 and s + 0.7 <= request.end
        ]
        if self.timed:
            return self.session.hypothesis(request, Hypothesis(" ".join(w.text for w in words), tuple(words)))
        newest = max(request.known, default=-1)
        assert newest < request.end, "what is known was said before"
        new = tuple(token for w in words if (token := int(w.text[1:])) > newest)
        return self.session.hypothesis(request, Hypothesis(" ".join(f"w{t}" for t in new), tokens=new))

    def catch_up(self):
        published = []
        while self.waiting:
            request, fate = self.waiting.popleft()
            if fate == "late, after others" and self.waiting:
                self.waiting.append((request, "late"))
            else:
                published += self.take(self.session.failed(request) if fate == "late failure" else self.reply(request))
        return published


PARTS = st.tuples(st.floats(0.1, 9), st.sampled_from([0.0, 0.4, 1.0]), st.booleans())
FATES = st.lists(st.sampled_from(["now", "late", "late, after others", "late failure", "fail"]), max_size=40)


@settings(max_examples=200, deadline=None)
@given(st.lists(PARTS, max_size=10), FATES, st.booleans())
def test_whatever_happens_the_promises_hold(parts, fates, timed):
    story = Story(context=0.0 if timed else 4.0)
    engine = Engine(story.session, fates, timed)
    captions, in_air = [], 0
    for seconds, speech, left in parts:
        for _ in range(round(seconds / FRAME_S)):
            engine.forgotten = story.session.needs
            captions += engine.take(story.say(FRAME_S, speech))
            in_air = max(in_air, sum(r.kind is Kind.PARTIAL for r, _ in engine.waiting))
        if len(engine.waiting) > 2:
            captions += engine.catch_up()
        if left:
            captions += engine.take(story.session.leave())
    captions += engine.take(story.session.finish())
    engine.fates.clear()
    captions += engine.catch_up()

    assert in_air <= story.session.policy.partials_in_air
    finals = [c for c in captions if c.final]
    assert [c.utterance for c in finals] == sorted({c.utterance for c in finals}), "one final each, in order"
    done, stable = set(), {}
    for caption in captions:
        assert caption.utterance not in done, "nothing after the final"
        if caption.final:
            done.add(caption.utterance)
        else:
            assert caption.text.startswith(stable.get(caption.utterance, "")), "what is agreed stays"
            stable[caption.utterance] = caption.text[: caption.stable]
    cut = any(left for _, _, left in parts)  # then it may be in the next one
    assert all(n in done or (cut and n < max(done, default=0)) for n in stable), "what was shown becomes final"
    if not any("fail" in fate for fate in fates):
        said = [int(word[1:]) for final in finals for word in final.text.split()]
        assert said == sorted({*said}), "no word twice, and all in order"
    assert not story.session._ending


def test_what_was_said_later_and_read_sooner_is_no_context():
    story = Story(context=8.0, partials=False)
    first = asked(story.say(1.0) + story.silence(0.6), Kind.EARLY)[-1]
    second = asked(story.say(1.0) + story.silence(1.0), Kind.EARLY)[-1]
    assert shown(story.session.hypothesis(second, Hypothesis("Later.", tokens=(1, 2)))) == []
    [final] = asked(story.session.failed(first))
    assert (final.start, final.known) == (first.start, ()) and final.start < final.end < second.end


@pytest.mark.parametrize("times", [True, False], ids=["word times", "text only"])
@pytest.mark.parametrize("pauses", [True, False], ids=["with pauses", "without a pause"])
def test_in_minutes_of_speech_no_word_is_lost_or_doubled(times, pauses):
    """An engine that knows every word, and says those it hears most of; each lasts 0.3 s, with 0.1 s between."""
    random = np.random.default_rng(5)
    words, at = [], 0.5
    while at < 120:
        words.append(Word(f"w{len(words)}", at, at + 0.3))
        at += 0.4 if not pauses or random.random() > 0.15 else random.uniform(0.5, 1.5)

    session, published, late = Session(Policy(max_cost_ratio=2.5)), [], deque()

    def take(actions):
        for action in actions:
            (late if isinstance(action, Transcribe) else published).append(action)

    def answer():
        request = late.popleft()
        heard = tuple(w for w in words if request.start <= w.start + 0.1 and w.end - 0.1 <= request.end)
        answer = Hypothesis(" ".join(w.text for w in heard), heard if times else ())
        take(session.hypothesis(request, answer))

    for i in range(round(at / FRAME_S)):
        time = i * FRAME_S
        voiced = any(
            w.start <= time + FRAME_S / 2 < w.end for w in words[max(0, int(time / 1.2) - 5) : int(time / 0.4) + 2]
        )
        # Between two words of a breath the detector hears no silence, but it is quieter there.
        breath = any(
            w.end <= time + FRAME_S / 2 < w.end + 0.12 for w in words[max(0, int(time / 1.2) - 5) : int(time / 0.4) + 2]
        )
        take(session.hear(Frame(time, LOUD if voiced else LOUD / 100, 1.0 if voiced or breath else 0.0)))
        if i % 9 == 0:
            take(session.pulse())
        while late and (len(late) > 2 or random.random() < 0.05):
            answer()
    take(session.finish())
    while late:
        answer()
    said = " ".join(a.caption.text for a in published if isinstance(a, Publish) and a.caption.final)
    assert said.split() == [w.text for w in words]
    assert session.sent <= 2.5 * session.time


def test_who_speaks_while_the_server_leaves_is_cut_at_the_quietest_moment_that_is_heard_around():
    story = Story()
    [partial] = story.say(0.7)
    story.session.hypothesis(partial, timed(("so", 0.1, 0.4)))
    story.say(1.6)
    quiet = story.frames * FRAME_S
    story.say(3 * FRAME_S, samples=LOUD / 10)
    story.say(0.5)
    story.say(3 * FRAME_S, samples=LOUD / 20)  # a word may end behind it
    [request] = asked(story.session.leave(), Kind.FINAL)
    assert quiet < request.end - 0.5 < quiet + 3 * FRAME_S
    [final] = story.session.hypothesis(request, timed(("and", 0.1, 0.4), ("so", 0.5, 0.8)))
    assert final.mark.time == request.end - 0.5 and final.mark.cut
    assert (final.mark.utterance, final.mark.finals) == (2, 1)


@pytest.mark.parametrize("answered", ["before", "after", "never"])
def test_without_word_times_at_the_latest_pause(answered):
    story = Story(partials_in_air=9)
    story.say(2.5)
    voice_end = story.frames * FRAME_S
    [early] = asked(story.silence(0.2), Kind.EARLY)
    if answered == "before":
        story.answer(early, "and so")
    elif answered == "never":
        story.session.failed(early)
    story.say(0.5)
    actions = story.session.leave()
    if answered == "after":
        actions += story.answer(early, "and so")
    elif answered == "never":
        [request] = asked(actions, Kind.FINAL)
        assert voice_end <= request.end <= voice_end + 0.1
        actions += story.answer(request, "and so")
    [final] = (action for action in actions if isinstance(action, Publish) and action.caption.final)
    assert voice_end <= final.mark.time <= voice_end + 0.1 and (final.mark.utterance, final.mark.cut) == (2, False)
    assert final.caption.text == "and so"
    [partial] = asked(story.say(0.5), Kind.PARTIAL)
    assert (partial.utterance, partial.start) == (2, final.mark.time)


def test_and_without_a_pause_it_is_left_whole():
    story = Story(partials=False)
    story.say(11)
    assert story.session.leave() == []


def test_what_has_just_begun_is_left_whole_when_the_server_leaves():
    story = Story(partials=False)
    story.say(1.5)
    assert story.session.leave() == []


def test_a_session_that_goes_on_hears_nothing_before_its_mark():
    session = Session(Policy(), mark=Mark(2.0, utterance=4, finals=3))
    asked_for = [a for n in range(150) for a in session.hear(Frame(n * FRAME_S, LOUD, 1.0)) + session.pulse()]
    [request] = asked(asked_for)
    assert request.start == 2.0 and request.utterance == 4

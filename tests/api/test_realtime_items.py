"""Captions become items: one for each turn the server finds, or for each commit."""

from collections import deque
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.realtime.items import Empty, Items
from server.audio.packet import Place
from server.live import Cleared, Finalized, Passed, Settled
from server.speech.agreement import join
from server.speech.session import Ended, Policy, Publish, Session, Started, Unheard
from server.speech.types import FRAME_S, Caption, Frame, Hypothesis, Mark
from server.speech.utterance import Transcribe


def partial(utterance, text, stable):
    return Caption(utterance, 0.0, 1.0, text, stable, False)


def final(utterance, text):
    return Settled(Mark(), Place(), Caption(utterance, 0.0, 1.0, text, len(text), True))


def tell(items, *told):
    return [event for one in told for event in items.tell(one)]


def short(events):
    """The last part of each event's name."""
    return [event["type"].rpartition(".")[2] for event in events]


def deltas(events):
    return "".join(event["delta"] for event in events if "delta" in event)


def turns():
    return Items(detects=True, lead=0.5)


def manual():
    return Items(detects=False, lead=0.5)


TURN = ["speech_stopped", "committed", "added", "done"]


def test_a_turn_is_started_stopped_committed_and_transcribed():
    items = turns()
    [started] = tell(items, Started(1, 2.0))
    assert started["audio_start_ms"] == 1500
    events = tell(items, Ended(1, 4.0), final(1, "Hello world."))
    assert short(events) == [*TURN, "delta", "completed"]
    assert events[0]["audio_end_ms"] == 4000 and events[1]["previous_item_id"] is None
    assert events[-1]["transcript"] == "Hello world." and events[-1]["usage"] == {"type": "duration", "seconds": 2.5}
    assert {event.get("item_id") or event["item"]["id"] for event in events} == {started["item_id"]}
    assert len({event["event_id"] for event in [started, *events]}) == 7


def test_the_languages_of_an_item_are_told():
    items = manual()
    for number, language in ((1, "en"), (2, None), (3, "de"), (4, "en")):
        said = Caption(number, 0.0, 1.0, "Hello.", 6, True, language=language)
        tell(items, Started(number, number), Settled(Mark(), Place(), said))
    assert items.commit(5.0)[-1]["languages"] == [{"code": "en"}, {"code": "de"}]


def test_items_are_chained():
    items, ids = turns(), []
    for number in (1, 2, 3):
        events = tell(items, Started(number, number), Ended(number, number + 0.5))
        ids.append((events[2]["previous_item_id"], events[2]["item_id"]))
    assert ids[0][0] is None and [previous for previous, _ in ids[1:]] == [own for _, own in ids[:-1]]


def test_deltas_only_grow_and_come_to_the_transcript():
    events = tell(
        turns(), Started(1, 0.0), partial(1, "hello wor", 6), partial(1, "hello world how", 11),
        partial(1, "hello world now", 11), Ended(1, 1.0), final(1, "hello world, now."),
    )  # fmt: skip
    assert [event["delta"] for event in events if "delta" in event] == ["hello", " world", ", now."]
    assert deltas(events) == events[-1]["transcript"]


def test_a_final_that_corrects_only_a_comma_still_goes_on_where_the_deltas_stopped():
    events = tell(
        turns(), Started(1, 0.0), partial(1, "Hello. World", 12), Ended(1, 1.0), final(1, "Hello, world, now.")
    )
    assert deltas(events) == "Hello. World, now."


def test_a_final_that_corrects_what_was_stable_tells_the_truth_without_a_delta():
    events = tell(turns(), Started(1, 0.0), partial(1, "hello wor", 6), Ended(1, 1.0), final(1, "Yellow word."))
    assert deltas(events) == "hello" and events[-1]["transcript"] == "Yellow word."


def test_a_turn_without_a_text_is_complete_and_one_the_engine_gave_up_has_failed():
    quiet = tell(turns(), Started(1, 0.0), Ended(1, 1.0), Unheard(1))
    assert quiet[-1]["type"].endswith(".completed") and quiet[-1]["transcript"] == ""
    lost = tell(turns(), Started(1, 0.0), Ended(1, 1.0), Unheard(1, missing=True))
    assert lost[-1]["type"].endswith(".failed") and lost[-1]["error"]["code"] == "audio_unintelligible"


def test_all_utterances_before_a_commit_are_one_item():
    items = manual()
    before = tell(items, Started(1, 0.0), Ended(1, 2.0), Started(2, 3.0), final(1, "One."), partial(2, "two", 3))
    assert short(before) == ["delta", "delta"] and deltas(before) == "One. two"
    tell(items, Ended(2, 4.0))
    commit = items.commit(4.5)
    assert short(commit) == ["committed", "added", "done"]
    after = tell(items, Started(3, 5.0), final(2, "two three"), final(3, "Next."))
    assert short(after) == ["delta", "completed", "delta"]
    assert after[1]["transcript"] == deltas(before) + after[0]["delta"] == "One. two three"
    assert after[1]["usage"]["seconds"] == 4.5 and after[2]["item_id"] != after[1]["item_id"]


def test_after_a_correction_the_next_utterance_has_deltas_again():
    items = manual()
    events = tell(items, Started(1, 0.0), partial(1, "won", 3), Ended(1, 1.0), Started(2, 2.0))
    events += tell(items, partial(2, "two", 3), final(1, "One"), partial(2, "two three", 3))
    assert [event["delta"] for event in events if "delta" in event] == ["won", " two"]


def test_a_commit_in_silence_is_an_item_too():
    events = manual().commit(1.0)
    assert short(events) == ["committed", "added", "done", "completed"]
    assert events[-1]["transcript"] == ""


def test_items_are_complete_in_their_order():
    items = manual()
    tell(items, Started(1, 0.0), Ended(1, 1.0))
    items.commit(1.0)
    assert short(items.commit(2.0)) == ["committed", "added", "done"]
    assert short(tell(items, final(1, "One."))) == ["delta", "completed", "completed"]


def test_a_commit_of_less_than_100_ms_is_empty_and_they_are_kept_for_the_next():
    items = manual()
    items.commit(1.0)
    with pytest.raises(Empty):
        items.commit(1.05)
    assert items.commit(1.1)[0]["type"] == "input_audio_buffer.committed"


def test_a_commit_in_mid_speech_is_the_end_of_the_turn_and_not_one_more_item():
    items = turns()
    tell(items, Started(1, 0.0), Passed(2.0))
    assert short(tell(items, Ended(1, 2.0))) == TURN
    assert items.commit(2.0) == []
    with pytest.raises(Empty):
        items.commit(2.0)


def test_after_a_turn_the_silence_that_ended_it_is_in_no_item():
    items = turns()
    tell(items, Started(1, 0.0), Ended(1, 2.0), Passed(2.6))
    with pytest.raises(Empty):
        items.commit(2.65)
    assert items.commit(3.0)


def test_a_pause_in_the_sound_that_ends_a_turn_is_no_commit():
    assert short(tell(turns(), Started(1, 0.0), Ended(1, 1.0), Finalized(1.5, asked=False))) == [
        "speech_started",
        *TURN,
    ]
    assert tell(manual(), Started(1, 0.0), Ended(1, 1.0), Finalized(1.5, asked=False)) == []


@pytest.mark.parametrize("items", [turns(), manual()], ids=["turns", "manual"])
def test_what_is_cleared_has_no_item_and_what_was_committed_keeps_its_own(items):
    tell(items, Started(1, 0.0), Ended(1, 1.0))
    if not items.detects:
        items.commit(1.0)
    tell(items, Started(2, 2.0), partial(2, "no", 2))
    assert short(tell(items, Cleared(3.0), final(1, "Yes."), final(2, "No."))) == ["cleared", "delta", "completed"]
    with pytest.raises(Empty):
        items.commit(3.0)


def test_a_turn_never_begins_before_what_was_cleared():
    items = turns()
    tell(items, Cleared(3.0))
    assert tell(items, Started(1, 3.1))[0]["audio_start_ms"] == 3000


def test_when_the_server_no_longer_finds_the_turns_the_open_one_waits_for_a_commit():
    items = turns()
    [started] = tell(items, Started(1, 0.0))
    items.detects = False
    assert tell(items, Ended(1, 1.0)) == []
    assert items.commit(1.5)[0]["item_id"] == started["item_id"]


def test_when_the_server_begins_to_find_turns_what_was_not_committed_goes_with_the_next():
    items = manual()
    tell(items, Started(1, 0.0), Ended(1, 1.0), final(1, "One."))
    items.detects = True
    events = tell(items, Started(2, 2.0), Ended(2, 3.0), final(2, "Two."))
    assert events[-1]["transcript"] == "One. Two."


class Talk:
    """A session and its items, and a client and an engine that do what they like."""

    def __init__(self, detects):
        self.session, self.items = Session(Policy()), Items(detects, lead=0.5)
        self.requests, self.events, self.finals, self.frames = deque(), [], [], 0

    def perform(self, actions):
        for action in actions:
            match action:
                case Transcribe():
                    self.requests.append(action)
                case Publish(caption, mark):
                    self.finals += [caption.text] if mark else []
                    self.events += self.items.tell(Settled(mark, Place(), caption) if mark else caption)
                case Started() | Ended() | Unheard():
                    self.events += self.items.tell(action)

    def hear(self, frames, speech):
        for _ in range(frames):
            self.perform(self.session.hear(Frame(self.frames * FRAME_S, np.full(512, 0.1, np.float32), speech)))
            self.frames += 1
        self.perform(self.session.pulse())
        self.events += self.items.tell(Passed(self.session.time))

    def do(self, what):
        match what:
            case "speak":
                self.hear(20, 1.0)
            case "pause":
                self.hear(20, 0.0)
            case "commit":
                self.perform(self.session.finalize())
                with suppress(Empty):
                    self.events += self.items.commit(self.session.time)
            case "clear":
                self.session.clear()
                self.events += self.items.tell(Cleared(self.session.time))
            case "turn over":
                self.items.detects = not self.items.detects
            case "answer" | "fail" if self.requests:
                request = self.requests.popleft()
                text = Hypothesis(f"One {'two ' * round(request.end - request.start)}three")
                failed = what == "fail"
                self.perform(self.session.failed(request) if failed else self.session.hypothesis(request, text))

    def of(self, *ends):
        return [event for event in self.events if event["type"].endswith(ends)]


@given(st.lists(st.sampled_from(["speak", "pause", "commit", "clear", "turn over", "answer", "fail"])), st.booleans())
def test_whatever_happens_what_is_committed_ends_once_and_in_order_and_nothing_else_does(deeds, detects):
    talk = Talk(detects)
    for deed in [*deeds, "pause", "commit"]:
        talk.do(deed)
    while talk.requests:
        talk.do("answer")
    committed = talk.of(".committed")
    items = [event["item_id"] for event in committed]
    assert [event["previous_item_id"] for event in committed] == [None, *items][: len(items)]
    assert [event["item_id"] for event in talk.of(".completed", ".failed")] == items == list(dict.fromkeys(items))
    for ended in talk.of(".completed"):
        after = talk.events[talk.events.index(ended) :]
        assert ended["item_id"] not in [event["item_id"] for event in after if "delta" in event]
    if "clear" not in deeds:
        assert join([event["transcript"] for event in talk.of(".completed")]) == join(talk.finals)

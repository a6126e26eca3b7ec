"""What clients say is checked, whatever it is; what they are told is one line of JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api import messages
from server.api.messages import Audio, Finalize, Keepalive, Recording, Resume, Start, Stop
from server.audio.packet import Place
from server.errors import RequestInvalid, TooManySessions
from server.live import Warning
from server.speech.types import Caption, Mark, Word
from server.tickets import Ticket

MARK = Mark(60.5, finals=5, sent=92.4)
TICKET = Ticket("s_1", "s_1", 1, Place(1, 48_213, 213, 60.0), MARK, 0.0, offset=5, began=1_800_000_000.0)
SAID = {
    '{"type":"start"}': Start(),
    '{"type":"start","language":"de","interim":false}': Start(language="de", interim=False),
    '{"type":"start","audio":{"encoding":"mulaw","sample_rate":8000}}': Start(
        audio=Audio(encoding="mulaw", sample_rate=8000, channels=1)
    ),
    '{"type":"start","something":"new"}': Start(),
    '{"type":"resume","ticket":"1.a.b"}': Resume(type="resume", ticket="1.a.b"),
    '{"type":"recording"}': Recording(type="recording"),
    '{"type":"finalize"}': Finalize(type="finalize"),
    '{"type":"keepalive"}': Keepalive(type="keepalive"),
    ' {"type" : "stop"} ': Stop(type="stop"),
}


@pytest.mark.parametrize("text, message", SAID.items(), ids=SAID)
def test_a_message_is_read(text, message):
    assert messages.read(text) == message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
)


@given(st.text() | JSON.map(json.dumps) | st.builds('{{"type":"start","audio":{}}}'.format, JSON.map(json.dumps)))
def test_any_text_is_a_message_or_told_in_one_line(text):
    try:
        messages.read(text)
    except RequestInvalid as fault:
        assert "\n" not in fault.message and len(fault.message) < 400


def test_deep_nesting_is_told_too():
    with pytest.raises(RequestInvalid):
        messages.read("[" * 100_000)


def test_what_the_later_options_do_not_say_stays():
    first = Start(language="en", prompt="names", interim=False)
    assert Start(language="de").over(first) == Start(language="de", prompt="names", interim=False)
    assert Start(interim=True).over(first).interim is True


def test_the_query_has_no_type_and_no_audio():
    assert messages.options({"type": "stop", "audio": "1", "language": "", "interim": "0"}) == Start(interim=False)


def test_a_partial_and_a_final():
    partial = Caption(4, 12.3204, 14.0, "hello wor", 6, False)
    assert json.loads(messages.partial("s_1", partial)) == {
        "type": "partial", "session": "s_1", "utterance": 4, "start": 12.32, "end": 14.0,
        "text": "hello wor", "stable": 6,
    }  # fmt: skip
    final = Caption(4, 12.32, 14.2, "Grüße.", 6, True, (Word("Grüße.", 12.32, 14.2),), "de")
    line = messages.final(messages.shown(final, TICKET), TICKET, "1.a.b")
    assert "Grüße." in line and "\n" not in line
    told = json.loads(line)
    assert (told["offset"], told["language"]) == (5, "de") and "degraded" not in told
    assert told["ack"] == {
        "recording": 1, "bytes": 48_213, "header": 213, "audio_s": 60.5, "billed_s": 92.4, "ticket": "1.a.b",
    }  # fmt: skip
    assert told["session"] == "s_1" and told["at"] == 1_800_000_012.32
    assert told["words"] == [{"text": "Grüße.", "start": 12.32, "end": 14.2}]


def test_a_final_that_is_a_guess_says_so():
    final = Caption(1, 0.0, 1.0, "hello", 5, True, degraded=True)
    assert messages.members(messages.shown(final, TICKET))["degraded"] is True


def test_a_warning_has_a_lag_only_where_it_is_known():
    assert json.loads(messages.warning(Warning("audio.gap", "…"))) == {
        "type": "warning", "code": "audio.gap", "message": "…",
    }  # fmt: skip
    assert json.loads(messages.warning(Warning("engine.delayed", "…", 2.5)))["lag_s"] == 2.5


def test_the_error_object_always_has_all_its_keys():
    told = json.loads(messages.error(TooManySessions("all taken", retry_after_s=5), "r_1"))
    assert told["error"] == {
        "code": "quota.sessions", "message": "all taken", "param": None, "retryable": True, "retry_after_s": 5,
        "request_id": "r_1",
    }  # fmt: skip

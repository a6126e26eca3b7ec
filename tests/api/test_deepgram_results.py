"""A session's captions as Deepgram's messages: plain calls, no socket."""

from collections.abc import Iterable

import pytest
from starlette.datastructures import QueryParams

from server.api.deepgram.options import FileOptions, LiveOptions, read
from server.api.deepgram.results import Results
from server.api.deepgram.words import alternative, spread
from server.audio.packet import Place
from server.errors import RequestInvalid
from server.live import Finalized, Output, Passed, Settled, Warning
from server.speech.session import Ended, Started, Unheard
from server.speech.types import Caption, Mark, Word
from server.tickets import Samples

ALL = "interim_results=true&vad_events=true&utterance_end_ms=1000"


def live(query: str) -> LiveOptions:
    return read(QueryParams(query), LiveOptions)


def partial(utterance: int, start: float, end: float, text: str) -> Caption:
    return Caption(utterance, start, end, text, 0, False)


def final(utterance: int, start: float, end: float, text: str, *words: Word, language: str | None = None) -> Settled:
    return Settled(Mark(), Place(), Caption(utterance, start, end, text, len(text), True, words, language))


def told(*story: Output, query: str = ALL) -> list[dict]:
    results = Results(live(query), {"request_id": "r"})
    return [message for one in story for message in results.tell(one)]


def text(result: dict) -> str:
    return result["channel"]["alternatives"][0]["transcript"]


def brief(messages: Iterable[dict]) -> list[tuple]:
    """What is said of which range: (start, end, text, flags)."""
    flags = {"is_final": "F", "speech_final": "S", "from_finalize": "Z"}
    return [
        (m["start"], round(m["start"] + m["duration"], 3), text(m), "".join(c for f, c in flags.items() if m[f]))
        if m["type"] == "Results"
        else (m["type"], m.get("timestamp", m.get("last_word_end")))
        for m in messages
    ]


# -- ranges --------------------------------------------------------------------------------------------------------


def test_an_interim_result_replaces_its_range_and_a_final_one_freezes_it():
    story = [Started(1, 0.5), partial(1, 0.5, 1.5, "hello"), Ended(1, 2.0), final(1, 0.5, 2.0, "Hello world.")]
    assert brief(told(*story)) == [
        ("SpeechStarted", 0.5),
        (0.0, 1.5, "hello", ""),
        (0.0, 2.0, "Hello world.", "FS"),
    ]


def test_a_long_silence_is_a_range_of_its_own():
    messages = told(Started(1, 3.0), partial(1, 3.0, 4.0, "so"), Ended(1, 4.5), final(1, 3.0, 4.5, "So."))
    assert brief(messages)[1:] == [(0.0, 3.0, "", "F"), (3.0, 4.0, "so", ""), (3.0, 4.5, "So.", "FS")]


def test_final_ranges_follow_on_each_other():
    messages = told(
        Started(1, 0.2), Ended(1, 1.23456), final(1, 0.2, 1.23456, "One."),
        Started(2, 1.9), Ended(2, 2.7), final(2, 1.9, 2.7, "Two."),
        Started(3, 8.0), Ended(3, 8.8), final(3, 8.0, 8.8, "Three."),
    )  # fmt: skip
    ranges = [(start, end) for start, end, _, _ in brief(m for m in messages if m["type"] == "Results")]
    assert ranges == [(0.0, 1.235), (1.235, 2.7), (2.7, 8.0), (8.0, 8.8)]


def test_interim_results_wait_for_the_final_one_before():
    before = [Started(1, 0.1), Ended(1, 1.0), Started(2, 1.7), partial(2, 1.7, 2.5, "tw"), partial(2, 1.7, 3.0, "two")]
    assert brief(told(*before)) == [("SpeechStarted", 0.1), ("SpeechStarted", 1.7)]
    after = told(*before, final(1, 0.1, 1.0, "One."))
    assert brief(after)[2:] == [(0.0, 1.0, "One.", "FS"), (1.0, 3.0, "two", "")]


def test_what_was_shown_and_comes_to_nothing_is_frozen_without_a_text():
    messages = told(Started(1, 0.1), partial(1, 0.1, 0.6, "you"), Ended(1, 0.7), Unheard(1))
    assert brief(messages)[1:] == [(0.0, 0.6, "you", ""), (0.0, 0.7, "", "FS")]
    assert messages[-1]["channel"]["alternatives"][0] == {"transcript": "", "confidence": 0.0, "words": []}


def test_a_cut_through_speech_ends_no_utterance_and_starts_none():
    messages = told(
        Started(1, 0.0), Ended(1, 19.5, cut=True), Started(2, 19.5), final(1, 0.0, 19.5, "on and"),
        Ended(2, 21.0), final(2, 19.5, 21.0, "on."),
    )  # fmt: skip
    assert brief(messages) == [("SpeechStarted", 0.0), (0.0, 19.5, "on and", "F"), (19.5, 21.0, "on.", "FS")]


def test_without_endpointing_no_result_ends_an_utterance():
    messages = told(Started(1, 0.0), Ended(1, 1.0), final(1, 0.0, 1.0, "One."), query="endpointing=false")
    assert brief(messages) == [(0.0, 1.0, "One.", "F")]


def test_by_default_there_are_final_results_only():
    story = [Started(1, 0.5), partial(1, 0.5, 1.5, "hello"), Ended(1, 2.0), final(1, 0.5, 2.0, "Hello."), Passed(9.0)]
    assert brief(told(*story, query="")) == [(0.0, 2.0, "Hello.", "FS")]


def test_warnings_are_not_told():
    assert told(Warning("engine.delayed", "late", 2.5)) == []


# -- Finalize ------------------------------------------------------------------------------------------------------


def test_a_finalize_is_answered_by_the_final_of_what_was_said():
    messages = told(Started(1, 0.0), Ended(1, 1.0), Finalized(1.0, asked=True), final(1, 0.0, 1.0, "One."))
    assert brief(messages)[1:] == [(0.0, 1.0, "One.", "FSZ")]


def test_a_finalize_of_nothing_is_answered_at_once():
    assert brief(told(Passed(0.4), Finalized(0.4, asked=True))) == [(0.0, 0.4, "", "FSZ")]


def test_every_finalize_has_its_answer():
    twice = [Finalized(1.0, asked=True), Finalized(1.0, asked=True)]
    messages = told(Started(1, 0.0), Ended(1, 1.0), *twice, final(1, 0.0, 1.0, "One."), Finalized(1.0, asked=True))
    assert brief(messages)[1:] == [(0.0, 1.0, "One.", "FSZ"), (1.0, 1.0, "", "FSZ"), (1.0, 1.0, "", "FSZ")]


def test_a_finalize_waits_for_the_last_utterance_and_not_for_one_after_it():
    messages = told(
        Started(1, 0.0), Ended(1, 1.0), Started(2, 1.5), Ended(2, 2.0), Finalized(2.0, asked=True),
        Started(3, 2.5), final(1, 0.0, 1.0, "One."), Unheard(2), Ended(3, 3.0), final(3, 2.5, 3.0, "Three."),
    )  # fmt: skip
    assert [flags for *_, flags in brief(m for m in messages if m["type"] == "Results")] == ["FS", "FSZ", "FS"]


# -- UtteranceEnd --------------------------------------------------------------------------------------------------

SAID = [Started(1, 0.0), Ended(1, 1.0), final(1, 0.0, 1.0, "One.")]
END = ("UtteranceEnd", 1.0)


def test_an_utterance_end_comes_when_no_word_follows_for_long_enough_and_once():
    assert END not in brief(told(*SAID, Passed(1.9)))
    assert brief(told(*SAID, Passed(1.9), Passed(2.0), Passed(3.0))).count(END) == 1


def test_speech_that_goes_on_in_time_puts_the_utterance_end_off():
    more = [Started(2, 1.8), Passed(2.5), Ended(2, 2.6), final(2, 1.8, 2.6, "Two."), Passed(3.0), Passed(4.0)]
    assert [m for m in brief(told(*SAID, *more)) if m[0] == "UtteranceEnd"] == [("UtteranceEnd", 2.6)]


def test_a_noise_does_not():
    assert END in brief(told(*SAID, Started(2, 1.8), Ended(2, 1.9), Passed(2.5), Unheard(2)))


def test_where_the_final_was_late_the_utterance_end_follows_it_and_comes_before_what_is_next():
    late = [*SAID[:2], Started(2, 2.5), partial(2, 2.5, 3.0, "two"), SAID[2]]
    assert brief(told(*late))[-4:] == [(0.0, 1.0, "One.", "FS"), END, (1.0, 2.5, "", "F"), (2.5, 3.0, "two", "")]


def test_where_no_sound_comes_any_more_that_is_a_gap_too():
    assert END in brief(told(*SAID, Passed(1.1), Finalized(1.1, asked=False)))
    assert END in brief(told(*SAID[:2], Finalized(1.1, asked=False), SAID[2]))


def test_a_finalize_is_no_gap():
    assert END not in brief(told(*SAID, Passed(1.1), Finalized(1.1, asked=True)))


# -- words ---------------------------------------------------------------------------------------------------------


def test_words_are_told_bare_and_as_they_are_written():
    words = Word("“Don’t", 0.1, 0.4), Word("stop!”", 0.4, 0.9)
    (message,) = told(*SAID[:2], final(1, 0.0, 1.0, "“Don’t stop!”", *words), query="")
    first, second = message["channel"]["alternatives"][0]["words"]
    assert first == {"word": "don’t", "punctuated_word": "“Don’t", "start": 0.1, "end": 0.4, "confidence": 1.0}
    assert (second["word"], second["punctuated_word"]) == ("stop", "stop!”")


def test_words_without_times_are_spread_over_what_was_said():
    words = spread("One two, eleven", 2.0, 3.3)
    assert [(w.text, round(w.start, 1), round(w.end, 1)) for w in words] == [
        ("One", 2.0, 2.3), ("two,", 2.3, 2.7), ("eleven", 2.7, 3.3),
    ]  # fmt: skip
    assert spread("", 2.0, 3.0) == []


def test_no_word_is_outside_the_range_of_its_result():
    said = alternative("One two.", (Word("One", 0.7, 1.2), Word("two.", 1.2, 2.4)), 1.0, 2.0, floor=0.9)
    assert [(word["start"], word["end"]) for word in said["words"]] == [(0.9, 1.2), (1.2, 2.0)]


def test_the_language_is_told_to_who_speaks_several():
    story = [*SAID[:2], final(1, 0.0, 1.0, "Ja.", language="de")]
    assert told(*story, query="language=multi")[0]["channel"]["alternatives"][0]["languages"] == ["de"]
    assert "languages" not in told(*story, query="language=de")[0]["channel"]["alternatives"][0]


# -- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said, meant", [("true", True), ("True", True), ("1", True), ("False", False), ("", False)])
def test_switches_are_understood_as_each_sdk_writes_them(said, meant):
    assert live(f"interim_results={said}").interim_results is meant


@pytest.mark.parametrize("said, ms", [("300", 300), ("false", 0), ("False", 0), ("0", 0), ("true", None), ("", None)])
def test_endpointing_is_a_time_or_a_switch(said, ms):
    assert live(f"endpointing={said}").endpointing == ms


def test_terms_become_the_prompt_but_for_those_not_wanted():
    query = "keyterm=Sotto&keyterm=Media Recorder&keywords=snuffle:2.5&keywords=um:-10&keywords=a:b"
    assert live(query).prompt == "Sotto, Media Recorder, snuffle, a:b"


@pytest.mark.parametrize(
    "query, samples",
    [
        ("encoding=linear16&sample_rate=16000", Samples("pcm_s16le", 16000, 1)),
        ("encoding=mulaw&sample_rate=8000&channels=2", Samples("pcm_mulaw", 8000, 2)),
        ("encoding=linear32&sample_rate=48000", Samples("pcm_f32le", 48000, 1)),
        ("encoding=ogg-opus", None),
        ("sample_rate=48000", None),
    ],
)
def test_raw_sound_is_told_by_its_encoding(query, samples):
    assert live(query).samples == samples


WRONG = {
    "encoding=flac": "encoding",
    "encoding=linear16": "sample_rate",
    "encoding=linear16&sample_rate=1": "audio",
    "sample_rate=many": "sample_rate",
    "encoding=linear16&sample_rate=16000&channels=9": "channels",
    "interim_results=perhaps": "interim_results",
    "endpointing=soon": "endpointing",
    "utterance_end_ms=0": "utterance_end_ms",
    "keyterm=" + 2001 * "a": "keyterm",
    "callback=http://127.0.0.1/": "callback",
    "redact=pci&redact=ssn": "redact",
    "multichannel=true": "multichannel",
    "multichannel=true&channels=2&encoding=linear16&sample_rate=8000": "multichannel",
}


@pytest.mark.parametrize("query", ["callback=http://h/", "redact=true", "multichannel=true", "utterances=perhaps"])
def test_of_a_file_too(query):
    with pytest.raises(RequestInvalid) as refused:
        read(QueryParams(query), FileOptions)
    assert refused.value.param == query.split("=")[0]


@pytest.mark.parametrize("query", WRONG, ids=lambda query: query[:40])
def test_what_cannot_be_done_is_refused(query):
    with pytest.raises(RequestInvalid) as refused:
        _ = live(query).samples
    assert refused.value.param == WRONG[query] and "\n" not in refused.value.message


def test_what_plugins_send_by_default_is_taken():
    livekit = "model=nova-3&punctuate=true&smart_format=false&no_delay=true&interim_results=true&encoding=linear16"
    livekit += "&vad_events=true&sample_rate=16000&channels=1&endpointing=25&filler_words=true&profanity_filter=false"
    pipecat = "detect_entities=false&diarize=false&multichannel=false&channels=1&encoding=linear16&sample_rate=16000"
    for query in (livekit + "&numerals=false&mip_opt_out=false&language=en-US", pipecat + "&redact=false"):
        assert live(query).samples == Samples("pcm_s16le", 16000, 1)

"""POST /v1/listen: what a file's text looks like, and what is no file."""

import hashlib
from collections.abc import AsyncIterator

import pytest

from server.engines.base import Speech
from server.speech.types import Hypothesis, Word

from .conftest import RECORDINGS, Site, serving
from .engines import Counts, Refuses

WEBM = (RECORDINGS / "chromium-webm-opus.webm").read_bytes()
KEY = "a-key-of-the-tests"

pytestmark = pytest.mark.anyio


class Knows(Counts):
    """Two words for every piece of three seconds, with their times."""

    longest = 3.0

    def transcribe(self, speech: Speech) -> Hypothesis:
        self.asked.append(speech)
        words = (Word("Hallo", speech.start, speech.start + 0.5), Word("Welt!", speech.start + 1, speech.start + 1.5))
        return Hypothesis("Hallo Welt!", words, "de")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving(Knows()) as site:
        yield site


async def post(site: Site, query: str = "", content: bytes = WEBM, **headers: str):
    return await site.client.post(f"/v1/listen?{query}", content=content, headers=headers)


async def test_the_body_is_the_file_whatever_it_is_called(site):
    for kind in ("audio/wav", "application/octet-stream", "audio/webm;codecs=opus"):
        answer = (await post(site, "model=nova-3&smart_format=true", **{"content-type": kind})).json()
        (said,) = answer["results"]["channels"][0]["alternatives"]
        assert said["transcript"].startswith("Hallo Welt! Hallo Welt!") and said["confidence"] == 1.0
    assert set(answer["results"]) == {"channels"}
    assert answer["metadata"]["sha256"] == hashlib.sha256(WEBM).hexdigest()
    assert 9 < answer["metadata"]["duration"] < 10 and answer["metadata"]["channels"] == 1


async def test_all_words_are_there_in_order_with_their_times(site):
    (said,) = (await post(site)).json()["results"]["channels"][0]["alternatives"]
    words = said["words"]
    assert [word["punctuated_word"] for word in words] == said["transcript"].split()
    assert words[1]["word"] == "welt" and words[1]["end"] - words[1]["start"] == pytest.approx(0.5)
    assert [word["start"] for word in words] == sorted(word["start"] for word in words)


async def test_utterances_come_when_they_are_wished(site):
    answer = (await post(site, "utterances=true")).json()
    utterances = answer["results"]["utterances"]
    assert len(utterances) > 1 and {utterance["transcript"] for utterance in utterances} == {"Hallo Welt!"}
    assert [len(utterance["words"]) for utterance in utterances] == [2] * len(utterances)


async def test_the_language_that_was_detected_is_told_to_who_asks(site):
    for query in ("detect_language=true&language=en", "detect_language=en", "detect_language=en&detect_language=de"):
        channel = (await post(site, query)).json()["results"]["channels"][0]
        assert channel["detected_language"] == "de" and site.service.pool.engine.asked[-1].language is None
    for query in ("language=en", "detect_language=false&language=en"):
        channel = (await post(site, query)).json()["results"]["channels"][0]
        assert "detected_language" not in channel and site.service.pool.engine.asked[-1].language == "en"


async def test_terms_are_told_to_the_engine(site):
    await post(site, "keyterm=Sotto&keywords=Blob:2")
    assert site.service.pool.engine.asked[0].prompt == "Sotto, Blob"


async def test_no_address_is_fetched(site):
    answer = await site.client.post("/v1/listen", json={"url": "http://127.0.0.1:8000/healthz"})
    assert answer.status_code == 400 and "no address" in answer.json()["err_msg"]


@pytest.mark.parametrize("content", [b"", b"hello", WEBM[2000:]], ids=["nothing", "text", "the middle of a recording"])
async def test_what_is_no_audio_is_a_bad_request(site, content):
    answer = await post(site, content=content)
    assert answer.status_code == 400 and set(answer.json()) == {"err_code", "err_msg", "request_id"}


async def test_options_are_checked_before_the_file_is_taken_in(site):
    for query in ("callback=http://h/", "redact=pci", "multichannel=true", "language=xx", "utterances=perhaps"):
        assert (await post(site, query)).status_code == 400
    assert not site.service.pool.engine.asked


async def test_a_file_over_the_limit_and_an_engine_that_refuses_are_told():
    async with serving(Refuses(), max_upload_bytes=1024) as site:
        answer = await post(site, content=bytes(70_000))
        assert (answer.status_code, answer.json()["err_code"]) == (413, "PAYLOAD_TOO_LARGE")
    async with serving(Refuses()) as site:
        answer = await post(site)
        assert (answer.status_code, answer.json()["err_code"]) == (503, "SERVICE_UNAVAILABLE")


async def test_a_file_needs_a_key_where_there_are_some():
    async with serving(api_keys=[KEY]) as site:
        assert (await post(site)).json()["err_code"] == "INVALID_AUTH"
        assert (await post(site, authorization=f"Token {KEY}")).status_code == 200

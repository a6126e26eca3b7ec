"""What the server leaves in its log: the life of each session, and nothing that was said or is secret."""

import json

import httpx
import pytest
from openai_server import Upstream
from websockets.sync.client import connect

from .conftest import STOP, chunks, process

KEY = "sk-a-key-nobody-may-read"
SPEECH = "whispered words"
PROMPT = "Mnemosyne"


def session(server, *said: bytes) -> list[dict]:
    with connect(f"{server.url.replace('http', 'ws')}/api/captions?prompt={PROMPT}") as socket:
        for one in (*said, json.dumps(STOP)):
            socket.send(one)
        return [json.loads(message) for message in socket]


@pytest.mark.parametrize("level", ["debug", "info"])
def test_a_sessions_life_is_in_the_log_and_no_key_and_no_speech(tmp_path, level):
    with Upstream(lambda samples: SPEECH) as upstream:
        settings = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": upstream.url, "SOTTO_LOG_LEVEL": level}
        with process(tmp_path, **settings) as server:
            told = session(server, *chunks())
            upload = httpx.post(
                f"{server.url}/api/transcribe", files={"file": b"".join(chunks())}, data={"prompt": PROMPT}, timeout=20
            )
            log = server.log()
    assert any(message.get("text") == SPEECH for message in told) and SPEECH in upload.text
    assert upstream.requests[0].authorization == f"Bearer {KEY}" and upstream.requests[0].field("prompt") == PROMPT
    for secret in (KEY, SPEECH, "words", PROMPT):
        assert secret not in log
    lines = [line for line in log.splitlines() if " INFO " in line and told[0]["session"] in line]
    assert len(lines) == 2 and lines[0].endswith("started") and "done, 9.5 s of audio" in lines[1]
    assert log.count("upload_") == 1 and "Traceback" not in log


def test_a_refused_key_is_in_the_log_without_the_key(tmp_path):
    with Upstream(lambda samples: SPEECH) as upstream:
        upstream.script(*["401"] * 20)
        with process(tmp_path, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=upstream.url) as server:
            told = session(server, *chunks())
            log = server.log()
    assert any(message.get("code") == "caption.degraded" for message in told)
    assert log.count("refused the API key") == 1 and KEY not in log


@pytest.mark.parametrize("level", ["debug", "info"])
def test_no_api_key_and_no_token_is_in_the_log(tmp_path, level):
    with process(tmp_path, SOTTO_API_KEYS=KEY, SOTTO_LOG_LEVEL=level) as server:
        headers = {"Authorization": f"Bearer {KEY}"}
        token = httpx.post(f"{server.url}/api/tokens", headers=headers, timeout=20).json()["token"]
        captions = f"{server.url.replace('http', 'ws')}/api/captions"
        for shown in (KEY, token, "wrong"):
            with connect(f"{captions}?token={shown}") as by_address, connect(captions, subprotocols=["bearer", shown]):
                by_address.recv(20)
        log = server.log()
    assert log.count("auth.invalid") == 2
    assert KEY not in log and token not in log

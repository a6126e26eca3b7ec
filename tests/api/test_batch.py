"""POST /api/transcribe: whatever a browser or a script calls its file, its bytes decide."""

import io
import json
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import Any

import anyio
import av
import httpx
import pytest
from anyio.lowlevel import checkpoint

from server.api.upload import SLOWEST
from server.batch.decode import decode

from .conftest import RECORDINGS, Bare, Clock, Process, Site, process, serving
from .engines import Breaks, Refuses, Waits

pytestmark = pytest.mark.anyio

WEBM = (RECORDINGS / "chromium-webm-opus.webm").read_bytes()
MADE = {  # suffix → PyAV's format, its encoder, the encoder's sample format
    "m4a": ("ipod", "aac", "fltp"),
    "ogg": ("ogg", "libopus", "flt"),
    "wav": ("wav", "pcm_s16le", "s16"),
    "mp3": ("mp3", "libmp3lame", "fltp"),
    "flac": ("flac", "flac", "s16"),
}
TYPES = {
    "webm": ["audio/webm;codecs=opus", "audio/webm; codecs=\"opus\"", "video/webm;codecs=vp8,opus", "AUDIO/WEBM", ""],
    "mp4": ["audio/mp4", "audio/mp4;codecs=mp4a.40.2", "video/mp4", "application/octet-stream"],
    "m4a": ["audio/x-m4a", "audio/m4a", "audio/aac"],
    "ogg": ["audio/ogg;codecs=opus", "audio/ogg; codecs=opus", "application/ogg"],
    "wav": ["audio/wav", "audio/x-wav", "audio/vnd.wave"],
    "mp3": ["audio/mpeg", "audio/mp3"],
    "flac": ["audio/flac", "audio/x-flac"],
}  # fmt: skip


@cache
def recording(suffix: str) -> bytes:
    """The same speech in every container."""
    if suffix in ("webm", "mp4"):
        return next(RECORDINGS.glob(f"*.{suffix}")).read_bytes()
    format, codec, samples = MADE[suffix]
    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        stream = container.add_stream(codec, rate=16_000)
        stream.codec_context.layout, stream.codec_context.format = "mono", samples
        fifo = av.AudioFifo()
        resampler = av.AudioResampler(samples, "mono", 16_000)
        for block in decode(io.BytesIO(WEBM), longest_s=60):
            frame = av.AudioFrame.from_ndarray(block[None], "flt", "mono")
            frame.sample_rate = 16_000
            for converted in resampler.resample(frame):
                converted.pts = None
                fifo.write(converted)
        size = stream.codec_context.frame_size or 1600
        while piece := fifo.read(size) or fifo.read():
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return file.getvalue()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as site:
        yield site


async def post(site: Site, data: bytes = WEBM, type: str = "audio/webm", name: str = "a.webm", **fields: str):
    return await site.client.post("/api/transcribe", files={"file": (name, data, type)}, data=fields)


@pytest.mark.parametrize("suffix, type", [(suffix, type) for suffix, types in TYPES.items() for type in types])
async def test_every_container_under_every_name_browsers_give_it(site, suffix, type):
    answer = await post(site, recording(suffix), type, f"recording.{suffix}")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["transcript"].startswith("zero one two") and told["language"] == "en"
    assert told["duration"] == pytest.approx(9.5, abs=0.5)


@pytest.mark.parametrize("suffix", TYPES)
@pytest.mark.parametrize("name, type", [("a.txt", "text/html"), ("../../etc/passwd", "audio/x"), ("blob", ";;=")])
async def test_a_declared_type_and_a_name_that_lie_do_not_matter(site, suffix, name, type):
    answer = await post(site, recording(suffix), type, name)
    assert answer.status_code == 200 and answer.json()["transcript"]


@pytest.mark.parametrize("data", [b"<html><body>hello</body></html>", b"ffconcat version 1.0\nfile /etc/passwd\n"])
async def test_what_is_no_audio_is_415_whatever_it_is_called(site, data):
    answer = await post(site, data, "audio/webm;codecs=opus", "a.webm")
    assert answer.status_code == 415 and error(answer)["code"] == "audio.unsupported_format"


@pytest.mark.parametrize("data", [b"", WEBM[:40]], ids=["empty", "only a header"])
async def test_audio_in_which_there_is_nothing_is_422(site, data):
    answer = await post(site, data)
    assert answer.status_code == 422 and error(answer)["code"] == "audio.corrupt"


async def test_a_form_without_the_field_says_which(site):
    for sent in ({"data": {"language": "en"}}, {"files": {"audio": ("a.webm", WEBM)}}, {"json": {"file": "a"}}, {}):
        answer = await site.client.post("/api/transcribe", **sent)
        assert answer.status_code == 400 and error(answer)["param"] == "file", sent


async def test_a_field_that_is_text_is_no_file(site):
    answer = await site.client.post("/api/transcribe", files={"file": (None, "text")})
    assert answer.status_code == 400 and error(answer)["param"] == "file"


async def test_a_form_that_can_hold_no_file_is_not_looked_into(site):
    answer = await site.client.post("/api/transcribe", data={f"a{n}": "b" for n in range(101)})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "file"


async def test_fields_that_would_fill_the_memory_are_refused(site):
    for fields in ({"a": "a" * 2_000_000}, {name: "a" * 800_000 for name in "abc"}):
        answer = await post(site, **fields)
        assert answer.status_code == 400 and error(answer)["code"] == "request.invalid"


async def test_other_fields_are_passed_over(site):
    assert (await post(site, temperature="0", model="whisper-1", room="a")).status_code == 200


@pytest.mark.parametrize(
    "fields, param",
    [({"format": "docx"}, "format"), ({"language": "xx"}, "language"), ({"prompt": "a" * 2001}, "prompt")],
)
async def test_options_are_checked(site, fields, param):
    answer = await post(site, **fields)
    assert answer.status_code == 400 and error(answer)["param"] == param


async def test_two_files_and_a_broken_form_are_refused(site):
    two = await site.client.post("/api/transcribe", files=[("file", ("a", WEBM)), ("file", ("b", WEBM))])
    headers = {"content-type": "multipart/form-data; boundary=x"}
    broken = await site.client.post("/api/transcribe", content=b"--y\r\nnothing", headers=headers)
    for answer in (two, broken):
        assert answer.status_code == 400 and error(answer)["code"] == "request.invalid"


async def test_options_reach_the_engine(site):
    await post(site, language="de-AT", prompt="Sotto")
    asked = site.service.pool.engine.asked[0]
    assert (asked.language, asked.prompt) == ("de", "Sotto")


async def test_the_formats(site):
    answers = {name: await post(site, format=name) for name in ("json", "text", "srt", "vtt", "verbose_json")}
    text = answers["json"].json()["transcript"]
    assert answers["text"].text == f"{text}\n"
    assert answers["srt"].text.startswith("1\n00:00:0") and "," in answers["srt"].text.splitlines()[1]
    assert answers["vtt"].text.startswith("WEBVTT\n\n00:00:0")
    shown = [line for line in answers["vtt"].text.splitlines()[1:] if "-->" not in line]
    assert " ".join(" ".join(shown).split()) == text and max(map(len, shown)) <= 42
    (segment,) = answers["verbose_json"].json()["segments"]
    assert segment["text"] == text and segment["start"] < segment["end"]
    assert answers["verbose_json"].json()["words"] == []
    types = {name: answer.headers["content-type"].split(";")[0] for name, answer in answers.items()}
    assert (types["text"], types["srt"], types["vtt"]) == ("text/plain", "application/x-subrip", "text/vtt")


async def test_a_page_of_another_site_is_refused(site):
    files = {"file": ("a.webm", WEBM)}
    answer = await site.client.post("/api/transcribe", files=files, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403 and not site.service.pool.engine.asked


async def test_an_engine_that_fails_is_503_and_its_reason_stays_here(caplog):
    async with serving(Refuses()) as site:
        answer = await post(site)
    assert answer.status_code == 503
    assert error(answer)["code"] == "engine.unavailable" and error(answer)["retryable"] is False
    assert "the key is wrong" in caplog.text and "the key is wrong" not in answer.text


async def test_an_engine_with_a_fault_in_partials_reads_files():
    async with serving(Breaks()) as site:
        assert (await post(site)).status_code == 200


async def test_no_temporary_file_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with serving(temp_dir=tmp_path) as site:
        for data in (recording("wav") * 8, b"<html>" * 400_000, b""):  # larger than what is held in memory, too
            await post(site, data)
            assert list(tmp_path.iterdir()) == []


# -- too much ------------------------------------------------------------------------------------------------------

MOST = 100_000


async def test_a_file_of_just_the_limit_is_taken_and_a_larger_one_is_not(tmp_path):
    wav = recording("wav")
    async with serving(max_upload_bytes=len(wav)) as site:
        assert (await post(site, wav)).status_code == 200
    async with serving(max_upload_bytes=len(wav) - 70_000) as site:
        answer = await post(site, wav)
    assert answer.status_code == 413 and error(answer)["code"] == "audio.too_large"


async def test_a_body_without_a_length_is_counted():
    async def body() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(40):
            yield bytes(MOST // 10)
        yield b"\r\n--x--\r\n"

    async with serving(max_upload_bytes=MOST) as site:
        headers = {"content-type": "multipart/form-data; boundary=x"}
        answer = await site.client.post("/api/transcribe", content=body(), headers=headers)
    assert "content-length" not in answer.request.headers and answer.status_code == 413


async def test_too_much_audio_in_a_small_file_is_told():
    async with serving(max_upload_h=0.001) as site:
        answer = await post(site)
    assert answer.status_code == 413 and "3.6 s" in error(answer)["message"]


async def test_an_upload_nobody_waits_for_is_not_transcribed_to_its_end():
    engine = Waits()
    engine.longest = 3.0  # the file is sent in pieces
    async with serving(engine, engine_concurrency=1) as site:
        async with anyio.create_task_group() as tasks:
            upload = Bare(site, WEBM)
            tasks.start_soon(upload.post)
            await anyio.to_thread.run_sync(engine.begun.wait, 20)
            assert site.service.uploads == 1
            upload.left.set()
        assert not site.service.busy
        engine.go.set()
    assert len(engine.asked) == 1


async def test_a_body_that_stops_coming_is_not_waited_for(clock: Clock):
    async with serving() as site, anyio.create_task_group() as tasks:
        upload = Bare(site)
        tasks.start_soon(upload.post)
        await clock.forward(29)
        assert site.service.uploads == 1 and not upload.got
        await clock.forward(2)
        assert site.service.uploads == 0
    start, body, _ = upload.got
    assert start["status"] == 408 and (b"connection", b"close") in start["headers"]
    assert json.loads(body["body"])["error"]["code"] == "idle.timeout"


class Slow(Bare):
    """An upload of which there are more bytes every 20 s."""

    more = b""

    async def _receive(self) -> dict[str, Any]:
        with anyio.move_on_after(0 if self._said else 20):
            await self.left.wait()
        if self.left.is_set():
            return {"type": "http.disconnect"}
        return self._said.pop() if self._said else {"type": "http.request", "body": self.more, "more_body": True}


@pytest.mark.parametrize("rate, taken", [(1, False), (SLOWEST // 2, False), (2 * SLOWEST, True)])
async def test_a_body_that_comes_in_drops_is_not_waited_for(clock: Clock, rate, taken):
    async with serving() as site, anyio.create_task_group() as tasks:
        upload = Slow(site)
        upload.more = bytes(20 * rate)
        tasks.start_soon(upload.post)
        for _ in range(2):
            await clock.forward(20)
            assert site.service.uploads == 1
        await clock.forward(25)
        assert site.service.uploads == taken and bool(upload.got) != taken
        upload.left.set()
    if not taken:
        start, body, _ = upload.got
        assert start["status"] == 408 and (b"connection", b"close") in start["headers"]
        assert f"expected {SLOWEST} bytes a second" in json.loads(body["body"])["error"]["message"]


async def test_when_too_many_files_are_under_way_the_next_is_to_come_back():
    async with serving(max_uploads=1) as site, anyio.create_task_group() as tasks:
        first = Bare(site)
        tasks.start_soon(first.post)
        await anyio.wait_all_tasks_blocked()
        answer = await post(site)
        assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
        assert error(answer)["code"] == "server.overloaded" and error(answer)["retryable"] is True
        first.left.set()
        await anyio.wait_all_tasks_blocked()
        assert (await post(site)).status_code == 200


async def test_a_server_that_is_being_stopped_takes_no_file_and_finishes_those_it_has():
    engine = Waits()
    async with serving(engine) as site, anyio.create_task_group() as tasks:
        upload = Bare(site, WEBM)
        tasks.start_soon(upload.post)
        await anyio.to_thread.run_sync(engine.begun.wait, 20)
        site.service.drain()
        answer = await post(site)
        assert answer.status_code == 503 and error(answer)["code"] == "server.draining"
        engine.go.set()
    assert upload.got[0]["status"] == 200 and not site.service.busy


class Reads(Bare):
    """An upload whose client reads nothing more of the answer until it `goes_on`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.goes_on = anyio.Event()

    async def _send(self, message: dict[str, Any]) -> None:
        await super()._send(message)
        await self.goes_on.wait()


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
async def test_a_server_that_is_being_stopped_waits_until_an_answer_has_been_read(accept):
    async with serving() as site, anyio.create_task_group() as tasks:
        upload = Reads(site, WEBM, accept)
        tasks.start_soon(upload.post)
        await upload.news.wait()
        while site.service.uploads:
            await checkpoint()
        assert site.service.busy
        upload.goes_on.set()
        while site.service.busy:
            await checkpoint()
    start, *bodies = upload.got
    assert start["status"] == 200 and bodies[-1] == {"type": "http.response.body", "body": b""}


@pytest.mark.parametrize(
    "path, settings, status",
    [
        ("/api/transcribe", {"api_keys": "a-key-of-the-tests"}, 401),
        ("/api/transcribe", {"max_upload_bytes": MOST}, 413),
        ("/v1/audio/transcriptions", {"max_upload_bytes": MOST}, 413),
        ("/v1/listen", {"max_upload_bytes": MOST}, 413),
        ("/v1/listen?multichannel=true", {}, 400),
    ],
)
async def test_a_connection_on_which_an_upload_was_refused_is_not_kept(path, settings, status):
    async with serving(**settings) as site:
        answer = await site.client.post(path, files={"file": ("a.wav", recording("wav"))})
    assert answer.status_code == status and answer.headers["connection"] == "close"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Process]:
    with process(tmp_path_factory.mktemp("server"), SOTTO_MAX_UPLOAD_BYTES=str(MOST)) as server:
        yield server


def test_a_length_that_lies_is_answered_before_any_of_the_body(server):
    head = b"POST /api/transcribe HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n"
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(head + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")


def test_a_body_without_end_is_answered_while_it_is_still_arriving(server):
    head = b"POST /api/transcribe HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + bytes(2 * MOST)
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(head + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n")
        connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")


CURL = [
    [],
    ["-H", "Expect:"],
    ["-H", "Transfer-Encoding: chunked"],
    ["-H", "Transfer-Encoding: chunked", "-H", "Expect:", "-H", "Connection: close"],
    ["-H", "Expect:", "--http1.0"],
]


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("options", CURL, ids=" ".join)
def test_curl_reads_why_rather_than_a_broken_pipe(server, tmp_path, options):
    file = tmp_path / "a.webm"
    file.write_bytes(bytes(20_000_000))
    url = f"{server.url}/api/transcribe"
    command = ["curl", "-sS", "-m", "20", "-w", "\n%{http_code}", *options, "-F", f"file=@{file}", url]
    curl = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert curl.returncode == 0, curl.stderr
    body, status = curl.stdout.rsplit("\n", 1)
    assert status == "413" and json.loads(body)["error"]["code"] == "audio.too_large"


def test_a_client_that_reads_only_after_it_has_sent_all_learns_it_too(server):
    with httpx.Client(timeout=20) as client:
        answer = client.post(
            f"{server.url}/api/transcribe", files={"file": bytes(20_000_000)}, headers={"connection": "close"}
        )
    assert answer.status_code == 413


def test_a_real_engine_reads_a_real_recording(server):
    path = RECORDINGS / "chromium-webm-opus.webm"
    with httpx.Client(timeout=60) as client:
        answer = client.post(f"{server.url}/api/transcribe", files={"file": path.read_bytes()})
    assert "best of times" in answer.json()["transcript"]


def error(answer: httpx.Response) -> dict:
    told = answer.json()["error"]
    assert set(told) == {"code", "message", "param", "retryable", "retry_after_s", "request_id"}
    return told

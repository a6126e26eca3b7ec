"""`sotto transcribe`, against the real server."""

import io
import json
import shutil
import socket
from pathlib import Path

import httpx2
import pytest

from server.cli import commands, transcribe
from server.cli.screen import Screen
from server.cli.target import Failed

from .conftest import KEY

WEBM = Path(__file__).parents[1] / "recordings" / "chromium-webm-opus.webm"


@pytest.fixture
def sotto(server, tmp_path, monkeypatch):
    """Runs a command in an empty folder with a recording in it; returns the exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOTTO_SERVER", server.url)
    monkeypatch.setenv("SOTTO_TOKEN", KEY)
    shutil.copy(WEBM, "talk.webm")
    return lambda *words: transcribe.run(commands.parse(["transcribe", *words]))


def test_the_text_of_one_file_is_written_out(sotto, capsys):
    assert sotto("talk.webm") == 0
    said = capsys.readouterr()
    assert "best of times" in said.out and said.out.endswith("\n") and said.err == ""
    assert [path.name for path in Path().iterdir()] == ["talk.webm"]


@pytest.mark.parametrize("format, begins", [("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n00:00:0"), ("json", "{")])
def test_the_formats(sotto, capsys, format, begins):
    assert sotto("talk.webm", "--format", format) == 0
    written = capsys.readouterr().out
    assert written.startswith(begins) and "best of times" in written
    if format == "json":
        assert set(json.loads(written)) == {"transcript", "language", "duration", "segments", "words"}


def test_subtitles_are_those_of_the_server(sotto, server, capsys):
    sotto("talk.webm", "--format", "srt")
    headers = {"Authorization": f"Bearer {KEY}"}
    with WEBM.open("rb") as file, httpx2.Client(headers=headers, timeout=60) as client:
        answer = client.post(f"{server.url}/api/transcribe", files={"file": file}, data={"format": "srt"})
    assert capsys.readouterr().out == answer.text


def test_those_of_several_lie_beside_their_files(sotto, capsys):
    Path("other").mkdir()
    shutil.copy("talk.webm", "other/speech.webm")
    assert sotto("talk.webm", "other/speech.webm", "--format", "vtt") == 0
    assert Path("talk.vtt").read_text() == Path("other/speech.vtt").read_text() != ""
    assert capsys.readouterr().out == ""


def test_output_is_a_file_a_folder_or_the_standard_output(sotto, capsys):
    Path("there").mkdir()
    assert sotto("talk.webm", "--output", "said.txt") == sotto("talk.webm", "--output", "there") == 0
    assert Path("said.txt").read_text() == Path("there/talk.txt").read_text()
    assert sotto("talk.webm", "talk.webm", "--output", "-") == 0
    assert capsys.readouterr().out.splitlines() == Path("said.txt").read_text().splitlines() * 2
    assert sotto("talk.webm", "talk.webm", "--output", "said.txt") == 2


def test_a_name_that_is_no_text_is_as_good_as_any(sotto, capsys):
    Path("talk.webm").rename("\udcff.webm")
    assert sotto("\udcff.webm") == 0 and "best of times" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_a_name_of_no_file_is_a_wrong_call(sotto, capsys, name):
    assert sotto(name) == 2 and "expected files" in capsys.readouterr().err


def test_nothing_is_written_over_unless_told_to(sotto, capsys):
    Path("talk.txt").write_text("mine")
    assert sotto("talk.webm", "--output", "talk.txt") == 1
    assert Path("talk.txt").read_text() == "mine" and "--force" in capsys.readouterr().err
    assert sotto("talk.webm", "--output", "talk.txt", "--force") == 0
    assert "best of times" in Path("talk.txt").read_text()


def test_a_file_that_fails_is_told_and_the_others_go_on(sotto, capsys):
    Path("page.html").write_text("<html></html>")
    assert sotto("nothing.webm", "page.html", "talk.webm") == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("sotto: nothing.webm: No such file")
    assert second.startswith("sotto: page.html: expected WebM")
    assert "best of times" in Path("talk.txt").read_text()


@pytest.mark.parametrize(
    "words, why",
    [
        (["--server", "http://127.0.0.1:1"], "cannot reach"),
        (["--server", "ftp://a"], "expected a server"),
        (["--server", "http://[a"], "expected a server"),
        (["--server", "http://127.0.0.1:99999"], "expected a server"),
        (["--token", ""], "--token gives a key"),
        (["--language", "xx"], "knows en"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(sotto, capsys, words, why):
    assert sotto("talk.webm", *words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert why in line


def test_progress_is_shown_only_on_a_terminal(sotto, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert sotto("talk.webm") == 0
    drawn = capsys.readouterr().err
    assert "talk.webm [##############################] sent" in drawn and drawn.endswith("\r\x1b[K")


def test_a_server_without_room_is_asked_again(sotto, server):
    head = f"POST /api/transcribe HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 99\r\n"
    target = f"{server.url}/api/transcribe"
    waited = []
    with socket.create_connection(("127.0.0.1", server.port), 20) as other:

        def wait(seconds: float) -> None:
            waited.append(seconds)
            other.close()

        other.sendall(f"{head}Expect: 100-continue\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n".encode())
        assert b"100" in other.recv(99)  # it is being read: the only place is taken
        with httpx2.Client(headers={"Authorization": f"Bearer {KEY}", "Accept": "text/event-stream"}) as client:
            screen = Screen(io.StringIO())
            said = transcribe.transcribed(client, target, WEBM, {"format": "verbose_json"}, screen, wait)
    assert waited[0] == 5.0 and "best of times" in said.whole["transcript"]


# -- what a server may say -----------------------------------------------------------------------------------------


def told(answer: bytes, cut: int = 65_536) -> transcribe.Transcript:
    """What becomes of this answer, whose bytes come in pieces."""
    pieces = [answer[at : at + cut] for at in range(0, len(answer), cut)]
    with httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(200, content=iter(pieces)))) as client:
        return transcribe.transcribed(client, "http://a/api/transcribe", WEBM, {}, Screen(io.StringIO()))


@pytest.mark.parametrize("cut", [1, 7, 65_536])
def test_no_character_of_a_text_ends_a_line(cut):
    text = "one\u2028two\u2029three\x85four\x0bfive\x0csix\x1cseven"
    done = json.dumps({"type": "done", "transcript": text}, ensure_ascii=False)
    assert told(f":\n\ndata: {done}\n\n".encode(), cut).text == text


@pytest.mark.parametrize(
    "answer",
    [
        b"data: {\n\n",
        b"data: \xff\n\n",
        b"data: []\n\n",
        b"data: {}\n\n",
        b'data: {"type": "done"}\n\n',
        b'data: {"type": "error", "error": "no"}\n\n',
        b'data: {"type": "progress", "done_s": "a", "duration_s": 1}\n\n',
        b'data: {"type": "final", "words": [1]}\n\n',
    ],
)
def test_an_answer_that_cannot_be_read_is_told_in_a_line(answer):
    with pytest.raises(Failed, match="^http://a/api/transcribe told something that cannot be read; is it a Sotto"):
        told(answer)


@pytest.mark.parametrize("answer", [b"<html></html>\n", b'data: {"type": "final", "words": [], "start": 1, "'])
def test_an_answer_that_breaks_off_has_no_end(answer):
    with pytest.raises(Failed, match="the server's answer has no end"):
        told(answer)

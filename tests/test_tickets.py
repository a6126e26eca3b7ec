"""A ticket says what was sealed in it, and nothing else opens; the secret is made once."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.audio.packet import Place
from server.errors import RequestInvalid, ResumeExpired
from server.secret import NAME, kept_secret
from server.speech.types import Mark
from server.tickets import LARGEST, Samples, Ticket, open_ticket, seal

SECRET, NOW = b"known to the servers", 1_800_000_000.0
MARK = Mark(61.44, True, 15, 14, "en", "the end of it", 48.2, 96.1)
TICKET = Ticket("s_1", "keynote", 2, Place(1, 48_213, 213, 60.12), MARK, NOW + 600, "Sotto, Übermut 字幕", False)
SEALED = seal(TICKET, SECRET)

numbers = st.integers(0, 2**50)
seconds = st.floats(0, 1e6).map(lambda s: round(s, 6))
marks = st.builds(
    Mark, seconds, st.booleans(), numbers, numbers, st.none() | st.just("de"), st.text(max_size=200), seconds, seconds
)
samples = st.none() | st.builds(Samples, st.just("mulaw"), numbers, numbers)
tickets = st.builds(
    Ticket, st.text(max_size=24), st.text(max_size=64), numbers, st.builds(Place, numbers, numbers, numbers, seconds),
    marks, st.just(NOW + 1), st.text(st.characters(codec="utf-8"), max_size=200), st.booleans(), samples,
    numbers, seconds,
)  # fmt: skip


@given(tickets)
def test_what_is_sealed_is_what_is_opened(ticket):
    assert open_ticket(seal(ticket, SECRET), SECRET, NOW) == ticket


@given(st.integers(0, len(SEALED) - 1), st.characters())
def test_one_changed_character_is_refused(at, character):
    text = SEALED[:at] + character + SEALED[at + 1 :]
    if text != SEALED:
        with pytest.raises(RequestInvalid):
            open_ticket(text, SECRET, NOW)


@given(st.integers(0, len(SEALED) - 1))
def test_a_part_of_a_ticket_is_none(at):
    for part in (SEALED[:at], SEALED[at + 1 :], SEALED + SEALED[at]):
        with pytest.raises(RequestInvalid):
            open_ticket(part, SECRET, NOW)


@given(st.text() | st.just("1..") | st.just("1." + "a" * LARGEST))
def test_any_other_text_is_refused(text):
    with pytest.raises(RequestInvalid):
        open_ticket(text, SECRET, NOW)


def test_a_ticket_of_another_secret_is_refused():
    with pytest.raises(RequestInvalid):
        open_ticket(seal(TICKET, b"known to somebody"), SECRET, NOW)


def test_a_ticket_is_good_until_it_expires():
    assert open_ticket(SEALED, SECRET, NOW + 599.9) == TICKET
    with pytest.raises(ResumeExpired) as late:
        open_ticket(SEALED, SECRET, NOW + 605)
    assert late.value.message == "this ticket was good until 5 s ago" and late.value.retryable


@pytest.mark.parametrize("character", ["字", "𝄞", "\x00"])
def test_the_longest_ticket_is_not_too_long(character):
    ticket = replace(TICKET, room="r" * 64, prompt=character * 2000, mark=replace(MARK, said=character * 200))
    assert open_ticket(seal(ticket, SECRET), SECRET, NOW) == ticket


# -- the secret ----------------------------------------------------------------------------------------------------


def test_a_secret_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    folder = tmp_path / "state" / "sotto"
    secret = kept_secret(folder)
    assert kept_secret(folder) == secret and len(secret) == 32
    assert [path.name for path in folder.iterdir()] == [NAME]
    assert (folder / NAME).stat().st_mode & 0o777 == 0o600 and folder.stat().st_mode & 0o777 == 0o700


def test_processes_that_start_at_once_have_the_same_secret(tmp_path):
    script = "import sys, pathlib, server.secret as s; input(); print(s.kept_secret(pathlib.Path(sys.argv[1])).hex())"
    command = [sys.executable, "-c", script, str(tmp_path / "sotto")]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": env}
    started = [subprocess.Popen(command, **pipes) for _ in range(4)]
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    assert len({process.communicate(timeout=20)[0] for process in started}) == 1


def test_the_first_to_keep_a_secret_wins(tmp_path, monkeypatch):
    link = os.link

    def late(draft: Path, path: Path) -> None:
        path.write_bytes(b"x" * 32)
        link(draft, path)

    monkeypatch.setattr(os, "link", late)
    assert kept_secret(tmp_path) == b"x" * 32 and [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize("there", [b"", b"short"])
def test_where_no_secret_can_be_kept_there_is_one_all_the_same_and_the_log_says_so(tmp_path, there, caplog):
    (tmp_path / NAME).write_bytes(there)
    assert len(kept_secret(tmp_path)) == 32 and (tmp_path / NAME).read_bytes() == there
    assert "tickets end with this process" in caplog.text

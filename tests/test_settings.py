"""Settings: a wrong one ends the process with a sentence that names it; secrets stay secret."""

import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from server import __version__
from server.__main__ import problems
from server.settings import Settings, unknown_variables, variable

ROOT = Path(__file__).parents[1]
KEY = "sk-a-key-nobody-may-read"


@pytest.fixture(autouse=True)
def nobodys_settings(monkeypatch, tmp_path):
    """No setting of whoever runs the tests, and no .env of the checkout."""
    for name in os.environ:
        if name.startswith(("SOTTO_", "OPENAI_", "WHISPER_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def start(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """The real process, in an empty folder or one with a .env."""
    env = os.environ | {"PYTHONPATH": str(ROOT)} | settings
    command = [sys.executable, "-m", "server", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)


def refusal(**settings: str) -> str:
    ended = start(**settings)
    assert ended.returncode == 1 and ended.stdout == "" and "Traceback" not in ended.stderr
    (sentence,) = ended.stderr.splitlines()
    return sentence


# -- refusing to start ---------------------------------------------------------------------------------------------


def test_openai_without_a_key_refuses_to_start():
    assert refusal(SOTTO_ENGINE="openai") == "sotto: SOTTO_ENGINE=openai needs OPENAI_API_KEY to be set"


def test_an_engine_that_cannot_be_made_refuses_to_start(tmp_path):
    sentence = refusal(SOTTO_ENGINE="whisper", WHISPER_MODEL=str(tmp_path))
    assert sentence.startswith("sotto: ") and str(tmp_path) in sentence


@pytest.mark.parametrize("settings, about", [
    ({}, "SOTTO_ENGINE"), ({"SOTTO_ENGINE": "moonshine", "OPENAI_API_KEY": KEY}, "SOTTO_ENGINE"),
    ({"OPENAI_API_KEY": KEY, "SOTTO_FALLBACK_ENGINE": "openai"}, "the chosen engine itself"),
    ({"SOTTO_ENGINE": "whisper", "SOTTO_FALLBACK_ENGINE": "openai"}, "OPENAI_API_KEY"),
])  # fmt: skip
def test_a_fallback_that_cannot_be_is_refused(settings, about, monkeypatch):
    for name, value in ({"SOTTO_FALLBACK_ENGINE": "whisper"} | settings).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as wrong:
        Settings()
    (sentence,) = problems(wrong.value)
    assert sentence.startswith("SOTTO_FALLBACK_ENGINE") and about in sentence


def test_whisper_has_a_default_model_of_its_own(tmp_path):
    pytest.importorskip("faster_whisper", reason="faster-whisper is not installed")
    assert "'small'" in refusal(SOTTO_ENGINE="whisper", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))


@pytest.mark.parametrize("keys", [",", "short", f"{KEY},short", f"{KEY} {KEY}", f"{KEY}=", f'"{KEY}"'])
def test_api_keys_that_no_header_or_address_can_carry_or_that_can_be_guessed_are_refused(keys, monkeypatch):
    monkeypatch.setenv("SOTTO_API_KEYS", keys)
    with pytest.raises(ValidationError, match="at least 16"):
        Settings()


def test_a_secret_that_is_too_short_is_told_so_in_characters(monkeypatch):
    monkeypatch.setenv("SOTTO_SECRET", "too short")
    with pytest.raises(ValidationError) as wrong:
        Settings()
    assert problems(wrong.value) == ["SOTTO_SECRET: expected at least 16 characters, got 9"]


def test_a_port_that_is_taken_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = refusal(SOTTO_PORT=str(port))
    assert sentence.startswith(f"sotto: SOTTO_PORT: cannot listen on port {port} of 127.0.0.1: ")


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_a_host_that_is_not_this_machine_is_not_blamed_on_the_port(host):
    assert refusal(SOTTO_HOST=host).startswith("sotto: SOTTO_HOST: cannot listen on port ")


def test_a_typing_error_in_the_environment_is_told_with_what_was_meant():
    assert refusal(SOTTO_PROT="9000") == "sotto: SOTTO_PROT: there is no such setting; did you mean SOTTO_PORT?"


def test_a_typing_error_in_the_file_is_told_too(tmp_path):
    (tmp_path / ".env").write_text("SOTTO_ENIGNE=moonshine\nOTHER=1\n")
    assert refusal() == "sotto: SOTTO_ENIGNE: there is no such setting; did you mean SOTTO_ENGINE?"


WRONG = {
    "SOTTO_ENGINE": "parakeet",
    "SOTTO_PORT": "eighty",
    "SOTTO_MAX_SESSIONS": "0",
    "SOTTO_ENDPOINT_S": "-1",
    "SOTTO_PARTIALS_IN_AIR": "9",
    "SOTTO_MAX_COST_RATIO": "0.5",
    "SOTTO_TEMP_DIR": "/no/such/folder",
    "SOTTO_ALLOWED_ORIGINS": "example.org",
    "SOTTO_LOG_LEVEL": "loud",
    "SOTTO_DRAIN_S": "-1",
    "SOTTO_RECORDINGS_DIR": "/no/such/folder",
    "OPENAI_BASE_URL": "127.0.0.1:9000",
    "SOTTO_API_KEYS": f"{KEY},",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_one_sentence_that_names_the_variable(name, monkeypatch):
    monkeypatch.setenv(name, WRONG[name])
    with pytest.raises(ValidationError) as wrong:
        Settings()
    (sentence,) = problems(wrong.value)
    assert sentence.startswith(f"{name}: expected ") or sentence.startswith(f"{name}: Input ")
    assert "\n" not in sentence and "SOTTO_" not in sentence.removeprefix(name)


def test_several_wrong_values_are_told_at_once():
    ended = start(SOTTO_ENGINE="parakeet", SOTTO_PORT="eighty", SOTTO_PROT="1")
    assert ended.returncode == 1
    assert [line.split(": ")[1] for line in ended.stderr.splitlines()] == ["SOTTO_PROT", "SOTTO_ENGINE", "SOTTO_PORT"]


# -- reading -------------------------------------------------------------------------------------------------------


def test_the_file_is_read_and_the_environment_wins(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("SOTTO_PORT=9001\nSOTTO_HOST=0.0.0.0\nOPENAI_API_KEY=sk-file\n")
    monkeypatch.setenv("SOTTO_PORT", "9002")
    settings = Settings()
    assert (settings.port, settings.host, settings.chosen_engine) == (9002, "0.0.0.0", "openai")


def test_an_empty_value_is_no_value(monkeypatch):
    for name in ("SOTTO_PORT", "SOTTO_ENGINE", "SOTTO_ALLOWED_ORIGINS", "SOTTO_TEMP_DIR", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "")
    settings = Settings()
    assert (settings.port, settings.chosen_engine, settings.allowed_origins) == (8000, "moonshine", [])
    assert settings.openai_api_key is None


def test_an_empty_key_is_no_key_for_openai_either():
    assert "OPENAI_API_KEY" in refusal(SOTTO_ENGINE="openai", OPENAI_API_KEY="")


@pytest.mark.parametrize("engine, key, chosen", [
    ("auto", None, "moonshine"), ("auto", KEY, "openai"), ("moonshine", KEY, "moonshine"), ("whisper", KEY, "whisper"),
])  # fmt: skip
def test_auto_is_decided_by_the_key(engine, key, chosen, monkeypatch):
    monkeypatch.setenv("SOTTO_ENGINE", engine)
    if key:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    assert Settings().chosen_engine == chosen


def test_origins_are_a_list_with_commas(monkeypatch):
    monkeypatch.setenv("SOTTO_ALLOWED_ORIGINS", "https://A.example/, http://b.example:8080")
    assert Settings().allowed_origins == ["https://a.example", "http://b.example:8080"]


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_is_known_by_its_variable(field, monkeypatch):
    monkeypatch.setenv(variable(field), "1")
    assert unknown_variables() == []


def test_lower_case_is_the_same_variable(monkeypatch):
    monkeypatch.setenv("sotto_port", "9000")
    assert unknown_variables() == [] and Settings().port == 9000


# -- secrets -------------------------------------------------------------------------------------------------------


def test_a_key_is_not_in_any_form_of_the_settings(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    settings = Settings()
    assert settings.openai_api_key and settings.openai_api_key.get_secret_value() == KEY
    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert KEY not in shown


def test_a_key_is_not_in_a_refusal():
    assert KEY not in refusal(OPENAI_API_KEY=KEY, SOTTO_ENGINE=KEY)
    assert KEY not in refusal(SOTTO_API_KEYS=f"{KEY},")


# -- the command ---------------------------------------------------------------------------------------------------


def test_the_command_tells_its_version_and_its_help():
    assert start("--version").stdout == f"sotto {__version__}\n"
    assert ".env.example" in " ".join(start("--help").stdout.split())


def test_the_version_is_that_of_the_package():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__


def test_an_argument_that_does_not_exist_is_told():
    ended = start("--prot=9000")
    assert ended.returncode == 2 and "--prot" in ended.stderr

"""Every setting, route, message and error is documented, everything documented is there, and the examples work."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import anyio
import pytest
from api.conftest import RECORDINGS, STOP, process, serving
from api.test_live import every_fault
from browsers.chromium import STEP_MS, chromium
from fastapi.routing import APIRoute, APIWebSocketRoute
from pydantic import BaseModel
from spoken import spoken_wav
from starlette.routing import Mount

from server.api import batch, messages
from server.app import create_app
from server.audio.packet import Place
from server.errors import TooManySessions
from server.live import Warning
from server.rooms.room import Gap, State
from server.settings import Settings, variable
from server.speech.types import Caption, Mark, Word
from server.tickets import Ticket

ROOT = Path(__file__).parents[1]
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
PAGES = (ROOT / "docs" / "pages.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
ENV = (ROOT / ".env.example").read_text()
LIBRARY = ROOT / "static" / "captions"
SHIPPED = Settings(_env_file=None)


def table(head: str, page: str = PROTOCOL) -> list[list[str]]:
    """The rows of the table of a page whose head begins so, cell by cell."""
    (found,) = re.findall(rf"^\| {re.escape(head)} .*\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found.splitlines()]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PROTOCOL, re.MULTILINE | re.DOTALL)


# -- settings ------------------------------------------------------------------------------------------------------


def sentences() -> dict[str, str]:
    """Each field of Settings with the sentence below it."""
    (settings,) = [
        node
        for node in ast.parse((ROOT / "server" / "settings.py").read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == "Settings"
    ]
    return {
        field.target.id: below.value.value
        for field, below in zip(settings.body, settings.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
    }


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_in_the_example_file_with_its_default_and_its_sentence(name):
    (line,) = re.findall(rf"^# {variable(name)}=(.*)  — (.*)$", ENV, re.MULTILINE)
    default, sentence = line
    assert sentence == sentences()[name]
    field = Settings.model_fields[name]
    default_is = ",".join(field.default) if isinstance(field.default, list) else field.default
    shipped = "" if field.default_factory or default_is is None else str(default_is)
    assert default == shipped


def test_the_example_file_has_no_setting_that_is_not_there():
    assert re.findall(r"^#? ?([A-Z_]+)=", ENV, re.MULTILINE) == [variable(name) for name in Settings.model_fields]


def test_the_protocol_names_no_setting_that_is_not_there():
    assert set(re.findall(r"SOTTO_[A-Z_]+", PROTOCOL)) <= {variable(name) for name in Settings.model_fields}


# -- routes --------------------------------------------------------------------------------------------------------


def routes(of: object) -> Iterator[str]:
    for route in of.routes:
        match route:
            case APIWebSocketRoute(path="/{path:path}"):
                pass  # the answer where there is none
            case APIWebSocketRoute():
                yield f"WS {route.path}"
            case APIRoute():
                yield from (f"{method} {route.path}" for method in route.methods)
            case Mount():
                yield f"GET {route.path}/…"
            case _:
                yield from routes(route.original_router)


def test_every_route_is_documented_and_no_other():
    documented = [name for row in table("route") for name in names(row[0])]
    assert sorted(documented) == sorted(routes(create_app(SHIPPED)))


def test_every_option_of_the_overlay_is_documented_and_no_other():
    read = (ROOT / "static" / "overlay_options.js").read_text()
    known = set(re.findall(r'(?:number|one|query\.get)\("(\w+)"', read))
    assert {name for row in table("option", PAGES) for name in names(row[0])} == known


# -- metrics ------------------------------------------------------------------------------------------------------


async def metrics_page() -> str:
    async with serving() as site:
        return (await site.client.get("/metrics")).text


def test_every_figure_is_documented_and_no_other():
    page = anyio.run(metrics_page)
    counted = set(re.findall(r"^# TYPE (sotto_\w+) (?:counter|gauge|histogram)$", page, re.MULTILINE))
    counted = {name for name in counted if not name.endswith("_created")}  # the library's own
    assert {name for row in table("figure", OPERATIONS) for name in names(row[0])} == counted


# -- messages ------------------------------------------------------------------------------------------------------

WORDS = (Word("Hello", 0.0, 1.0),)
TICKET = Ticket("s_1", "s_1", 1, Place(), Mark(), 0.0)
SETTLED = Caption(1, 0.0, 1.0, "Hello", 5, True, WORDS, "en", degraded=True)
TOLD = [
    messages.ready("s_1", "s_1", "moonshine tiny-en", {name: 1.0 for name in ("session_s", "idle_s", "resume_s")}),
    messages.partial("s_1", Caption(1, 0.0, 1.0, "Hello", 5, False)),
    messages.final(messages.shown(SETTLED, TICKET), TICKET, "1.a.b"),
    messages.ack(TICKET, "1.a.b"),
    messages.resumed(TICKET),
    messages.reconnect("1.a.b"),
    messages.warning(Warning("engine.delayed", "late", 2.5)),
    messages.error(TooManySessions("all taken"), "r_1"),
    messages.done(1.0, 1.0, 1.0, 1),
    messages.room(State("keynote", "1f00c2d4", True, False)),
    messages.gap(Gap(13, 15)),
]
SAID = {
    kind.model_fields["type"].annotation.__args__[0]: kind  # the one value of its Literal
    for kind in get_args(messages.ClientMessage)
}


def keys(message: object, path: str = "") -> set[str]:
    """The paths of all keys: {"a", "a.b"}."""
    if isinstance(message, list):
        return set().union(*(keys(one, path) for one in message))
    if not isinstance(message, dict):
        return set()
    return {f"{path}{key}" for key in message}.union(*(keys(one, f"{path}{key}.") for key, one in message.items()))


def fields(kind: type[BaseModel], path: str = "") -> set[str]:
    found = set()
    for name, field in kind.model_fields.items():
        found.add(f"{path}{name}")
        for inner in getattr(field.annotation, "__args__", ()):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                found |= fields(inner, f"{path}{name}.")
    return found


def test_every_message_has_one_example_with_all_its_fields():
    shown = {message["type"]: message for message in map(json.loads, examples("json"))}
    assert len(shown) == len(examples("json"))
    there = {kind: fields(model) for kind, model in SAID.items()}
    there |= {(told := json.loads(line))["type"]: keys(told) for line in TOLD}
    assert {kind: keys(message) for kind, message in shown.items()} == there


def test_the_messages_here_are_all_there_are():
    source = ast.parse((ROOT / "server" / "api" / "messages.py").read_text())
    told = {
        keyword.value.value
        for call in ast.walk(source)
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "_json"
        for keyword in call.keywords
        if keyword.arg == "type"
    }
    assert told == {json.loads(line)["type"] for line in TOLD}
    assert set(messages.ClientMessage.__args__) == set(SAID.values())


def test_what_a_client_says_in_an_example_is_understood():
    said = [text for text in examples("json") if json.loads(text)["type"] in SAID]
    for text in said:
        assert isinstance(messages.read(text), SAID[json.loads(text)["type"]])


def test_every_option_is_documented():
    documented = [name for row in table("option") for name in names(row[0])]
    assert set(documented) == set(messages.Start.model_fields) - {"type"}
    for encoding in messages.Audio.model_fields["encoding"].annotation.__args__:
        assert f"`{encoding}`" in PROTOCOL


def test_every_format_is_documented():
    assert [names(row[0])[0] for row in table("format")] == ["json", "verbose_json", "text", "srt", "vtt"]
    assert {names(row[0])[0] for row in table("format")} == {*batch.JSON, *batch.TEXT}


# -- errors --------------------------------------------------------------------------------------------------------


def test_every_error_is_documented_with_its_close_code_and_its_status():
    documented = {names(code)[0]: (int(close), int(status)) for code, close, status, _ in table("code")}
    assert documented == {fault.code: (fault.close, fault.status) for fault in every_fault()}


def test_every_key_of_the_error_object_is_documented():
    error = json.loads(messages.error(TooManySessions("all taken"), "r_1"))["error"]
    assert [names(row[0])[0] for row in table("key")] == list(error)


def test_every_warning_is_documented():
    sources = [ROOT / "server" / "live.py", ROOT / "server" / "api" / "line.py"]
    source = ast.parse("\n".join(path.read_text() for path in sources))
    sent = {
        call.args[0].value
        for call in ast.walk(source)
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Warning"
    }
    assert {names(row[0])[0] for row in table("warning")} == sent


def test_every_code_of_the_browser_library_is_documented_and_said_by_the_page():
    kinds = "microphone|display|source|recorder|recording|live|upload|waiting"
    scripts = "".join(path.read_text() for path in LIBRARY.glob("*.js"))
    own = {*re.findall(rf'"((?:{kinds})\.[a-z]+)"', scripts), "live.blocked", "live.lost"}  # these two are put together
    assert {code for row in table("code", (LIBRARY / "README.md").read_text()) for code in names(row[0])} == own
    assert own <= set(re.findall(r'^  "([a-z.]+)":', (ROOT / "static" / "sentences.js").read_text(), re.MULTILINE))


# -- limits and examples -------------------------------------------------------------------------------------------


def test_the_limits_are_the_defaults():
    shown = {"1 MB (2²⁰ bytes)": 2**20, "8 MB": 2**23, "4 hours": 14_400, "60 s": 60, "500": 500, "10,000": 10_000}
    shown |= {"200 MB": 200_000_000, "12 hours": 12, "24 hours": 24, "8": 8, "10 s": 10, "10 minutes": 600}
    documented = {names(setting)[0]: shown[default] for _, setting, default in table("what is bounded")}
    assert documented == {name: getattr(SHIPPED, name.removeprefix("SOTTO_").lower()) for name in documented}


def test_the_python_client_works_as_it_is_printed(tmp_path, monkeypatch, capsys):
    (program,) = examples("python")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "speech.webm").write_bytes((RECORDINGS / "chromium-webm-opus.webm").read_bytes())
    with process(tmp_path) as server:
        exec(program.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}"), {})
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert "best of times" in next(message["text"] for message in told if message["type"] == "final")
    assert told[-1]["type"] == "done"


def test_the_javascript_client_works_as_it_is_printed(tmp_path):
    (program,) = examples("js")
    with process(tmp_path) as server, chromium(spoken_wav(tmp_path)) as browser:
        page = browser.new_page(bypass_csp=True)  # the test itself evaluates strings
        page.set_default_timeout(STEP_MS)
        page.goto(server.url)
        page.evaluate("() => { window.told = []; console.log = (message) => told.push(message); }")
        program = program.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        page.evaluate(f"async () => {{ {program}\n window.recorder = recorder; }}")
        page.wait_for_function("told.some(({ type, text }) => type === 'partial' && text.includes('best of'))")
        page.evaluate("recorder.stop()")
        page.wait_for_function("told.at(-1).type === 'done'")
        assert page.evaluate("told[0].type") == "ready"
        assert "best" in page.evaluate("told.find(({ type }) => type === 'final').text")


def test_stop_is_printed_as_it_is_sent():
    assert all(json.dumps(STOP, separators=(",", ":")) in program for program in examples("js") + examples("python"))

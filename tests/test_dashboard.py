"""docs/grafana.json, and the alarms of docs/operations.md: all that is counted is shown, and nothing else asked for."""

import json
import re
from typing import Any

import pytest
from api.conftest import ROOT, STOP, chunks, serving

BOARD: dict[str, Any] = json.loads((ROOT / "docs" / "grafana.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
MANUAL = (ROOT / "docs" / "operations.md").read_text()
ALARMS = re.findall(r"^\| `(.+?)` \|", MANUAL.split("\nAlarms worth having")[1].split("\n## ")[0], re.MULTILINE)
PROMETHEUS = {"le", "job", "instance"}  # labels that are not the server's


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def asked(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:sotto|process)_\w+", expression))


async def page() -> str:
    """What is told after a session."""
    async with serving() as site:
        await site.say(*chunks(), STOP)
        return (await site.client.get("/metrics")).text


@pytest.mark.anyio
async def test_what_is_asked_for_is_told_under_that_name_and_with_those_labels():
    told: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", await page(), re.MULTILINE):
        told.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    for expression in EXPRESSIONS + ALARMS:
        assert asked(expression) and asked(expression) <= set(told), expression
        known = PROMETHEUS.union(*(told[name] for name in asked(expression)))
        grouped = {label for group in re.findall(r"by \((.*?)\)", expression) for label in group.split(", ")}
        assert grouped | set(re.findall(r"(\w+)!?=", expression)) <= known, expression


@pytest.mark.anyio
async def test_every_figure_is_shown():
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for expression in EXPRESSIONS for name in asked(expression)}
    counted = set(re.findall(r"^# TYPE (sotto_\w+) ", await page(), re.MULTILINE))
    assert {name for name in counted if not name.endswith("_created")} <= shown  # the library's own


def test_panels_have_numbers_of_their_own_and_do_not_overlap():
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells) and max(x for x, _ in cells) < 24


def test_every_question_goes_to_the_chosen_source_and_variable_that_are_there():
    variables = {variable["name"] for variable in BOARD["templating"]["list"]}
    for panel in PANELS:
        assert {source["datasource"]["uid"] for source in (panel, *panel["targets"])} == {"${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    used = {name for expression in EXPRESSIONS for name in re.findall(r"\$(\w+)", expression)}
    assert used - {"__rate_interval"} == variables - {"datasource"}

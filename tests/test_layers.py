"""The dependency rule, read from the imports: the core knows nothing of the world."""

import ast
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[1] / "server"
WORLD = {
    "asyncio",
    "anyio",
    "fastapi",
    "starlette",
    "redis",
    "openai",
    "httpx",
    "httpx2",
    "pydantic",
    "time",
    "logging",
}
MAY = {
    "errors": set(),
    "speech": set(),
    "audio": {"speech", "errors"},
    "engines": {"speech", "audio", "errors"},
    "rooms": {"speech", "errors"},
    "cli": {"speech", "audio", "errors", "__version__"},
    "batch": {"speech", "audio", "engines", "errors"},
    "push": {"speech"},
    "tickets": {"speech", "audio", "errors"},
    "metrics": {"engines"},
    "meter": {"speech", "metrics"},
    "live": {"speech", "audio", "engines", "rooms", "meter", "errors"},
    "api": {"speech", "audio", "engines", "rooms", "batch", "live", "meter", "metrics", "push", "tickets", "errors"},
}
MODULES = sorted(p for p in SERVER.rglob("*.py") if p.name != "__init__.py")


def imports(path: Path) -> set[str]:
    """What a module imports: outer packages by name, our own by their first part, with a dot in front."""
    package = ["server", *path.relative_to(SERVER).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            home = package[: len(package) - node.level + 1]
            full = [*home, *(node.module.split(".") if node.module else [])]
            names = [full[1]] if len(full) > 1 else [alias.name for alias in node.names]
            found |= {f".{name}" for name in names}
    return found


def room(path: Path) -> str:
    parts = path.relative_to(SERVER).parts
    return parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", [p for p in MODULES if room(p) in ("audio", "speech")], ids=lambda p: p.stem)
def test_the_core_is_pure(path):
    assert not imports(path) & WORLD


@pytest.mark.parametrize("path", [p for p in MODULES if room(p) in MAY], ids=lambda p: p.stem)
def test_imports_point_the_way_of_the_data(path):
    own = {name[1:] for name in imports(path) if name.startswith(".")}
    assert own <= MAY[room(path)] | {room(path)}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_only_the_edge_knows_the_web_framework_and_the_settings(path):
    if room(path) not in ("api", "app", "settings", "shutdown", "__main__"):
        assert not imports(path) & {"fastapi", "starlette", "pydantic", "pydantic_settings", "uvicorn"}
    if room(path) not in ("app", "__main__"):
        assert ".settings" not in imports(path)


def loaded_by(script: str) -> set[str]:
    import subprocess
    import sys

    script = f"import sys; {script}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(ran.stdout.split())


def test_engines_that_are_not_chosen_are_not_imported():
    loaded = loaded_by("import server.app")
    assert not {"faster_whisper", "ctranslate2", "moonshine_voice", "openai", "torch"} & loaded


def test_the_start_does_not_wait_for_the_sdk_of_openai():
    assert "openai" not in loaded_by("import server.app, server.engines.openai")

"""The real server with the embedded engine, and people who visit its page in a Chromium that speaks."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from browsers.chromium import chromium
from process import running_server
from spoken import spoken_wav

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from visitor import Visit


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_server(SOTTO_ENGINE="moonshine") as url:
        yield url


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Browser]":
    with chromium(spoken_wav(tmp_path_factory.mktemp("voice"))) as browser:
        yield browser


@pytest.fixture
def visit(speaking: "Browser", server: str) -> "Iterator[Visit]":
    from visitor import visitor  # skips where Playwright is missing, which a conftest may not

    with visitor(speaking, server) as visit:
        yield visit

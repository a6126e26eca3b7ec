"""One real server for all commands: it wants a key, and takes one file at a time."""

from collections.abc import Iterator

import pytest
from api.conftest import Process, process

KEY = "a-key-of-the-tests"


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with process(tmp_path_factory.mktemp("server"), SOTTO_API_KEYS=KEY, SOTTO_MAX_UPLOADS="1") as server:
        yield server

"""CI runs everything, or says what it did not run."""

from pathlib import Path

import pytest

SKIPS = "import pytest\ndef test_it(): pytest.skip('no browser here')"


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    return pytester


def test_a_skip_is_allowed_on_a_developers_machine(project, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    project.makepyfile(SKIPS)
    project.runpytest().assert_outcomes(skipped=1)


def test_in_ci_a_skip_fails_and_tells_its_reason(project, monkeypatch):
    monkeypatch.setenv("CI", "true")
    project.makepyfile(SKIPS)
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*skipped in CI*no browser here*"])


def test_in_ci_a_skipped_module_fails_too(project, monkeypatch):
    monkeypatch.setenv("CI", "true")
    project.makepyfile("import pytest\npytest.importorskip('no_such_module')")
    project.runpytest().assert_outcomes(errors=1)


def test_in_ci_what_is_not_beside_the_checkout_may_be_skipped(project, monkeypatch):
    monkeypatch.setenv("CI", "true")
    project.makepyfile("import pytest\ndef test_it(): pytest.skip('needs ../shared/recordings')")
    project.runpytest().assert_outcomes(skipped=1)

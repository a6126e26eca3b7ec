"""What holds for all tests: in CI nothing is skipped in silence."""

import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = ["pytester"]

# The clock of a busy machine says nothing about what is tested.
hypothesis.settings.register_profile(
    "patient",
    parent=hypothesis.settings(),  # the one of CI, where that is
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("patient")

SHARED = Path(__file__).parents[2] / "shared"  # recordings and tools beside the checkout; not everybody has them

STATE = tempfile.mkdtemp(prefix="sotto-tests-")
os.environ["XDG_STATE_HOME"] = STATE  # no test keeps a secret in the home of whoever runs it


def pytest_unconfigure() -> None:
    shutil.rmtree(STATE, ignore_errors=True)


Report = pytest.TestReport | pytest.CollectReport


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Report, Report]:
    return _no_skip_in_ci((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Report, Report]:
    return _no_skip_in_ci((yield))


def _no_skip_in_ci(report: Report) -> Report:
    """Under CI a skip is a failure with its reason, except for what is really not beside the checkout."""
    if not report.skipped or not os.environ.get("CI"):
        return report
    reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if "shared" in reason and not SHARED.exists():
        return report
    report.outcome = "failed"
    report.longrepr = f"skipped in CI, where everything must run: {reason}"
    return report

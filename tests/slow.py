"""Tests that take long carry the marker `slow`; those that lack it are named at the end of a run, and so are the files
that most of the time went to.

Where more processes want to run than there are cores, each takes longer by as much, and is allowed it.
"""

from __future__ import annotations

import os
from collections import defaultdict

import pytest

MOST_FILES = 30


class Durations:
    """Seconds of a free core that each test without the marker took, with what was set up for it, in any worker."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._took_s: dict[str, float] = defaultdict(float)
        self._by_file_s: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        took_s = report.duration / max(1.0, _crowd())
        self._by_file_s[report.nodeid.partition("::")[0]] += took_s
        if "slow" not in report.keywords:
            self._took_s[report.nodeid] += took_s

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        over = sorted(((took_s, name) for name, took_s in self._took_s.items() if took_s > self._limit_s), reverse=True)
        if over:
            terminalreporter.section(f"over {self._limit_s:g} s without the marker slow")
            for took_s, name in over:
                terminalreporter.write_line(f"{took_s:.1f} s {name}")
            terminalreporter.write_line("Make them faster, or mark them with @pytest.mark.slow.")
        if len(self._by_file_s) > MOST_FILES:
            terminalreporter.section("seconds of a free core by file")
            longest = sorted(self._by_file_s.items(), key=lambda one: -one[1])[:MOST_FILES]
            terminalreporter.write_line(" · ".join(f"{took_s:.0f} {file}" for file, took_s in longest))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("slow_s", "seconds from which a test needs the marker slow", default="5")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Durations(float(config.getini("slow_s"))))


def _crowd() -> float:
    """Return how many processes want to run on each core."""
    return os.getloadavg()[0] / (os.cpu_count() or 1)

"""Numbers of a process, in the form that Prometheus reads."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from contracts.figures import Figures


def test_numbers_are_shown_by_name_unit_and_label() -> None:
    figures = Figures("nextclick_x_")
    builds = figures.counter("builds", "Builds.")
    runs = figures.counter("runs", "Runs.", "task", "outcome")
    took = figures.gauge("build_seconds", "How long.")
    figures.gauge("failing", "1 while it fails.", "task")
    figures.before(lambda: took.set(2.5))
    builds.add(1)
    runs.add(2, "reports", "done")
    registry = CollectorRegistry()
    registry.register(figures)  # type: ignore[arg-type]
    assert generate_latest(registry).decode() == (
        "# HELP nextclick_x_builds_total Builds.\n"
        "# TYPE nextclick_x_builds_total counter\n"
        "nextclick_x_builds_total 1.0\n"
        "# HELP nextclick_x_runs_total Runs.\n"
        "# TYPE nextclick_x_runs_total counter\n"
        'nextclick_x_runs_total{outcome="done",task="reports"} 2.0\n'
        "# HELP nextclick_x_build_seconds How long.\n"
        "# TYPE nextclick_x_build_seconds gauge\n"
        "nextclick_x_build_seconds 2.5\n"
        "# HELP nextclick_x_failing 1 while it fails.\n"
        "# TYPE nextclick_x_failing gauge\n"
    )

"""The table of a run, and its figures for build/bench/chaos.json."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from rich.table import Table

from evaluation.machine import describe_machine
from nextclick.bench.report import BenchRow, console, write_bench
from tests.chaos.scenario import Outcome

RECOVERY_TARGET_S = 5.0


def print_outcomes(outcomes: Sequence[Outcome], command: str) -> None:
    """Print a row a scenario, and a row a kind of fault."""
    table = Table(title=f"chaos: {command}", caption=str(describe_machine()))
    for name in ("log", "scenario", "faults", "events", "sent again", "lost", "twice", "different", "p50 s", "max s"):
        table.add_column(name, justify="left" if name in ("log", "scenario") else "right")
    for one in outcomes:
        times = [moment.recovery_s for moment in one.moments]
        wrong = one.skipped or f"{len(one.wrong)}"
        counts = (f"{len(times)}", f"{one.events:,}", f"{one.sent_again:,}", f"{one.lost:,}", f"{one.twice:,}", wrong)
        table.add_row(one.log, one.scenario, *counts, *_seconds(times))
    console.print(table)
    by_kind = Table("log", "fault", "times", "p50 s", "max s", title="recovery")
    for (log, fault), times in _by_kind(outcomes).items():
        by_kind.add_row(log, fault, f"{len(times)}", *_seconds(times))
    console.print(by_kind)


def write_outcomes(outcomes: Sequence[Outcome], command: str) -> None:
    rows: list[BenchRow] = []
    for log in dict.fromkeys(one.log for one in outcomes):
        mine = [one for one in outcomes if one.log == log]
        times = [moment.recovery_s for one in mine for moment in one.moments if moment.by_itself]
        rows += [
            BenchRow(f"{log}: faults", sum(len(one.moments) for one in mine), "faults"),
            BenchRow(f"{log}: events acknowledged", sum(one.events for one in mine), "events"),
            BenchRow(f"{log}: lost", sum(one.lost for one in mine), "events", 0.0),
            BenchRow(f"{log}: counted twice", sum(one.twice for one in mine), "events", 0.0),
            BenchRow(f"{log}: differences", sum(len(one.wrong) for one in mine), "", 0.0),
            BenchRow(f"{log}: recovery by itself, p50", median(times) if times else 0.0, "s"),
            BenchRow(f"{log}: recovery by itself, p99", p99(times), "s", RECOVERY_TARGET_S if log == "redis" else None),
            BenchRow(f"{log}: recovery by itself, max", max(times, default=0.0), "s"),
        ]
    for (log, fault), times in _by_kind(outcomes).items():
        rows.append(BenchRow(f"{log}: {fault}, {len(times)} times, recovery, p50", median(times), "s"))
        rows.append(BenchRow(f"{log}: {fault}, {len(times)} times, recovery, max", max(times), "s"))
    console.print(f"Written to {write_bench('chaos', rows, command)}")


def p99(times: Sequence[float]) -> float:
    """Return the time that 99 of 100 did not pass."""
    return sorted(times)[math.ceil(0.99 * len(times)) - 1] if times else 0.0


def _by_kind(outcomes: Iterable[Outcome]) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in outcomes:
        for moment in one.moments:
            found[one.log, moment.fault].append(moment.recovery_s)
    return found


def _seconds(times: Sequence[float]) -> tuple[str, str]:
    return (f"{median(times):.1f}", f"{max(times):.1f}") if times else ("", "")

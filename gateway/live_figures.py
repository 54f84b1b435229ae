"""Numbers of one step of time: what counters grew by in each process, put together. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from typing import Any, Final

import orjson

from gateway.metrics import BOUNDS_S, Total

STEP_MS: Final = 2000
KEPT_STEPS: Final = 150
"""Five minutes."""
SHORTEST_S: Final = 0.1
"""What a rate is taken over at least."""
MOST_PROCESSES: Final = 256
MOST_ROWS: Final = 5_000

Part = dict[str, Any]
"""Of one process: `s`, the seconds that it counted, and `rows`, [kind, of what, which, count]."""

ASKED: Final = ("POST /api/recommendations/{scenario}", "POST /api/pages")
"""Endpoints that answer with recommendations."""
LOOKING: Final = "GET /api/live"
"""Whoever looks is not counted."""


def grown(before: Mapping[Total, int], now: Mapping[Total, int], seconds: float) -> Part:
    """Return what grew between two looks of a process."""
    rows = [[*key, n - before.get(key, 0)] for key, n in now.items() if n > before.get(key, 0) and key[1] != LOOKING]
    return {"s": round(seconds, 3), "rows": rows}


def parts_of(lines: Mapping[bytes, bytes]) -> list[Part]:
    """Return the part of each process from what all have put down (`name/number`); what is damaged counts nothing."""
    parts: dict[bytes, Part] = {}
    for name, line in lines.items():
        if (part := _decoded(line)) is None:
            continue
        of = parts.setdefault(name.rpartition(b"/")[0], {"s": 0.0, "rows": []})
        of["s"] += part["s"]
        of["rows"] += part["rows"]
    return list(parts.values())


def _decoded(line: bytes) -> Part | None:
    try:
        part = orjson.loads(line)
        seconds = float(part["s"])
        rows = [(str(kind), str(of), str(which), int(n)) for kind, of, which, n in part["rows"][:MOST_ROWS]]
    except (ValueError, TypeError, KeyError, OverflowError):
        return None
    if not (isfinite(seconds) and seconds >= 0 and all(0 <= row[3] < 2**53 for row in rows)):
        return None
    return {"s": seconds, "rows": rows}


@dataclass(frozen=True, slots=True)
class Step:
    """A step of all processes: how many told of it, what grew, and that a second."""

    number: int
    processes: int = 0
    grew: Counter[Total] = field(default_factory=Counter)
    rates: dict[Total, float] = field(default_factory=dict)

    @classmethod
    def of(cls, number: int, parts: Iterable[Part]) -> Step:
        """Put the parts of the processes together, one of each."""
        grew: Counter[Total] = Counter()
        rates: dict[Total, float] = {}
        count = 0
        for part in islice(parts, MOST_PROCESSES):
            count += 1
            seconds = max(SHORTEST_S, part["s"])
            for kind, of, which, n in part["rows"]:
                grew[kind, of, which] += n
                rates[kind, of, which] = rates.get((kind, of, which), 0.0) + n / seconds
        return cls(number, count, grew, rates)

    def rate(self, kind: str, of: Sequence[str] | None = None, which: str = "") -> float:
        """Return what came a second of a kind; `which` is how its last part begins."""
        found = (
            n
            for (one, name, last), n in self.rates.items()
            if one == kind and (of is None or name in of) and last.startswith(which)
        )
        return round(float(sum(found)), 3)

    def point(self) -> dict[str, Any]:
        """Return the step as a point of lines over time; null where nothing came."""
        took = buckets(self.grew, "took", ASKED)
        return {
            "at_ms": self.number * STEP_MS,
            "processes": self.processes,
            "requests_s": self.rate("answer"),
            "recommendations_s": self.rate("answer", ASKED),
            "errors_s": self.rate("answer", None, "5"),
            "refused_s": self.rate("answer", None, "4"),
            "events_s": self.rate("event", ("accepted",)),
            "degraded_s": self.rate("degraded"),
            "p50_ms": quantile_ms(took, 0.5),
            "p99_ms": quantile_ms(took, 0.99),
        }


def buckets(grew: Counter[Total], kind: str, of: Sequence[str]) -> list[int]:
    """Return counts by the buckets of BOUNDS_S."""
    found = [0] * (len(BOUNDS_S) + 1)
    for (one, name, which), n in grew.items():
        if one == kind and name in of and which.isdecimal() and int(which) < len(found):
            found[int(which)] += n
    return found


def quantile_ms(counts: Sequence[int], q: float) -> float | None:
    """Return a quantile in milliseconds, even within its bucket as Prometheus's `histogram_quantile` has it; None of
    nothing. What is beyond the last bound is told as that.
    """
    total = sum(counts)
    if not total:
        return None
    rank, below = q * total, 0
    for at, n in enumerate(counts[:-1]):
        if below + n >= rank and n:
            low = BOUNDS_S[at - 1] if at else 0.0
            return round(1000 * (low + (BOUNDS_S[at] - low) * (rank - below) / n), 3)
        below += n
    return 1000 * BOUNDS_S[-1]


def together(steps: Iterable[Step]) -> Counter[Total]:
    """Return what grew over several steps."""
    grew: Counter[Total] = Counter()
    for step in steps:
        grew.update(step.grew)
    return grew


def stages(grew: Counter[Total]) -> list[dict[str, Any]]:
    """Return times by stage, the slowest first."""
    names = {of for kind, of, _ in grew if kind == "stage"}
    rows = []
    for name in names:
        counts = buckets(grew, "stage", (name,))
        rows.append(
            {
                "stage": name,
                "count": sum(counts),
                "p50_ms": quantile_ms(counts, 0.5),
                "p99_ms": quantile_ms(counts, 0.99),
            }
        )
    return sorted(rows, key=lambda row: (-float(row["p99_ms"] or 0), str(row["stage"])))

"""How wrong a plan is: benchmarks of one and of two processes, predicted from coefficients of other benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from nextclick.plan.coefficients import Coefficients
from nextclick.plan.waiting import cv2_of, wait_below

CHECK = "plan"
"""The benchmark that is predicted: no coefficient of a prediction comes from its file."""
OTHERS = "other processes meanwhile"
"""Cores that others kept busy: where they did, a measured p99 tells of them."""
SERVED = ((1, 100.0), (1, 300.0), (2, 100.0), (2, 300.0))
WORKERS = (1, 2)


@dataclass(frozen=True, slots=True)
class Checked:
    """A figure predicted and measured, where its benchmark has been run; `stands_on` names the coefficients."""

    what: str
    unit: str
    predicted: float
    measured: float | None
    stands_on: str

    @property
    def error(self) -> float | None:
        """The relative error: +0.2 is predicted a fifth too high."""
        return None if not self.measured else self.predicted / self.measured - 1.0


def row_name(gateways: int, rate: float, what: str) -> str:
    """Return the name of a figure in the benchmark's file."""
    return f"{gateways} gateway{'s' if gateways > 1 else ''}, {rate:g}/s: {what}"


def worker_name(workers: int) -> str:
    return f"{workers} sessions worker{'s' if workers > 1 else ''}, backlog: processor time"


def checked(c: Coefficients, file: Mapping[str, Any] | None) -> list[Checked]:
    """Return predictions beside what `build/bench/plan.json` measured. Raises ValueError for a coefficient that would
    predict itself.
    """
    used = ("gateway_request", "redis_request", "trends_impression", "request_p50", "request_p99", "sessions_click")
    if own := [name for name in used if c[name].file == CHECK]:
        raise ValueError(f"expected coefficients of other benchmarks, {', '.join(own)} are of {CHECK}")
    rows = {row["name"]: float(row["value"]) for row in (file or {}).get("rows", [])}
    found = [one for gateways, rate in SERVED for one in _served(c, rows, gateways, rate)]
    return [*found, *(_worked(c, rows, workers) for workers in WORKERS)]


def _served(c: Coefficients, rows: Mapping[str, float], gateways: int, rate: float) -> Iterable[Checked]:
    each = rate / gateways
    gateway, redis = c["gateway_request"].cost_at(each), c["redis_request"].cost_at(rate)
    for what, predicted, unit, names in (
        ("gateways", gateway, "us a request", "gateway_request"),
        ("Redis", redis, "us a request", "redis_request"),
        ("p99", _p99(c, each), "ms", "request_p50, request_p99, gateway_request"),
    ):
        name = row_name(gateways, rate, what)
        yield Checked(name, unit, predicted, rows.get(name), names)


def _p99(c: Coefficients, rate: float) -> float:
    gateway, alone = c["gateway_request"], c["request_p99"].value
    busy, service_ms = gateway.busy_at(rate) / 1e6, gateway.cost_at(rate) / 1e3
    return alone + wait_below(0.99, 1, busy, service_ms, cv2_of(c["request_p50"].value, alone))


def _worked(c: Coefficients, rows: Mapping[str, float], workers: int) -> Checked:
    name = worker_name(workers)
    return Checked(name, "us a click", c["sessions_click"].value, rows.get(name), "sessions_click")


def meanwhile(file: Mapping[str, Any] | None) -> float:
    """Return the cores that other processes kept busy while the figures were measured, at most."""
    rows = (file or {}).get("rows", [])
    return max((float(row["value"]) for row in rows if row["name"].endswith(OTHERS)), default=0.0)


def middle_error(found: Sequence[Checked]) -> float | None:
    """Return the median of the sizes of the errors, None where nothing was measured."""
    errors = [abs(one.error) for one in found if one.error is not None]
    return median(errors) if errors else None

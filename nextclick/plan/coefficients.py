"""Measured figures that a plan stands on: each with its unit, the benchmark and rows it comes from, and when and where
it was measured. They come with the package (`coefficients.toml`); files of `build/bench` replace those that they have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isfinite, log
from typing import Any

from contracts.errors import SettingsError

NAMES = frozenset({
    "gateway_request", "gateway_post", "gateway_click", "gateway_row", "gateway_item", "gateway_search",
    "gateway_row_relayed", "relay_row",
    "gateway_memory", "gateway_row_bytes", "gateway_ended_bytes", "index_item_bytes",
    "request_p50", "request_p99",
    "redis_request", "redis_post", "redis_click", "redis_row", "redis_row_read",
    "rows_click", "row_bytes", "session_bytes", "profile_bytes", "ended_bytes", "item_bytes",
    "sessions_click", "trends_click", "trends_impression", "profiles_click", "attribution_event", "flow_memory",
    "click_log_bytes", "impression_log_bytes", "question_bytes", "answer_bytes", "post_bytes",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Coefficient:
    """One measured figure; a curve where it was measured at several loads or sizes: `values[i]` at `at[i]`.

    `file` and `rows` say where it stands in build/bench, `scale` what a row's value is multiplied with, `command` what
    measures it again.
    """

    name: str
    what: str
    unit: str
    values: tuple[float, ...]
    at: tuple[float, ...]
    file: str
    rows: tuple[str, ...]
    scale: float
    command: str
    made_at: str
    machine: str

    @property
    def value(self) -> float:
        """The figure, of a curve the one at its highest load."""
        return self.values[-1]

    def cost_at(self, load: float) -> float:
        """Return the cost of one thing at `load` things a second: what is busy in all is a line from one measured load
        to the next. Below the lowest and above the highest load, the cost there.
        """
        if not self.at or load <= self.at[0]:
            return self.values[0]
        return self.busy_at(load) / load

    def busy_at(self, load: float) -> float:
        """Return cost x load, at `load` things a second."""
        if not self.at or load <= self.at[0]:
            return self.values[0] * load
        for (left, low), (right, high) in _pairs(self.at, self.values):
            if load <= right:
                begin, end = left * low, right * high
                return begin + (end - begin) * (load - left) / (right - left)
        return self.values[-1] * load

    def size_at(self, size: float) -> float:
        """Return the figure at a size: a line over the logarithm of the size, its last part carried on."""
        if len(self.at) < 2 or size <= self.at[0]:
            return self.values[0]
        for (left, low), (right, high) in _pairs(self.at, self.values):
            if size <= right or right == self.at[-1]:
                return low + (high - low) * log(size / left) / log(right / left)
        raise AssertionError("the last part takes all sizes")

    def beyond(self, load: float) -> float:
        """Return how many times a load is what was measured at most; 1 and less was measured, or of no load."""
        return load / self.at[-1] if self.at else 0.0


Coefficients = Mapping[str, Coefficient]


def coefficients_of(document: Mapping[str, Any]) -> dict[str, Coefficient]:
    """Read the package's table of coefficients. Raises SettingsError for one that is missing, unknown or no number."""
    if document.keys() != NAMES:
        missing, more = sorted(NAMES - document.keys()), sorted(document.keys() - NAMES)
        raise SettingsError(f"coefficients: expected {len(NAMES)} of them, missing {missing}, not known {more}")
    return {name: _coefficient(name, fields) for name, fields in document.items()}


def _coefficient(name: str, fields: Mapping[str, Any]) -> Coefficient:
    values, at = _numbers(fields.get("value")), _numbers(fields.get("at", []))
    rows = fields.get("rows", [])
    if len(values) != max(1, len(at)) or len(rows) != len(values):
        raise SettingsError(f"{name}: expected a value and a row for each of {list(at)}, got {fields.get('value')}")
    if list(at) != sorted(set(at)):
        raise SettingsError(f"{name}: expected loads or sizes in growing order, got {list(at)}")
    busy = [load * cost for load, cost in zip(at, values, strict=False)]
    if busy != sorted(busy):
        raise SettingsError(f"{name}: expected more to be busy at a higher load, got {busy}")
    texts = {key: str(fields.get(key, "")) for key in ("what", "unit", "file", "command", "made_at", "machine")}
    if empty := [key for key, text in texts.items() if not text]:
        raise SettingsError(f"{name}: expected {', '.join(empty)}, got none")
    return Coefficient(name=name, values=values, at=at, rows=tuple(rows), scale=fields.get("scale", 1.0), **texts)


def measured(known: Coefficients, files: Iterable[Mapping[str, Any]]) -> dict[str, Coefficient]:
    """Return the coefficients, those replaced that a benchmark's file (as `make bench-...` writes it) has whole."""
    by_name = {str(file.get("name")): file for file in files}
    return {name: _replaced(one, by_name.get(one.file)) for name, one in known.items()}


def _replaced(known: Coefficient, file: Mapping[str, Any] | None) -> Coefficient:
    if file is None:
        return known
    rows = {row["name"]: row["value"] for row in file.get("rows", [])}
    if not all(isinstance(rows.get(name), int | float) and rows[name] > 0.0 for name in known.rows):
        return known
    values = tuple(known.scale * float(rows[name]) for name in known.rows)
    return replace(known, values=values, made_at=str(file.get("made_at", "")), machine=machine_of(file))


def machine_of(file: Mapping[str, Any]) -> str:
    """Return a benchmark's machine in words."""
    machine = file.get("machine") or {}
    return f"{machine.get('cores', '?')} cores, {machine.get('cpu', 'not told')}"


def changed(known: Coefficients, changes: Sequence[str]) -> dict[str, Coefficient]:
    """Return the coefficients with those changed that `name=value` says: what if that were cheaper? A curve becomes
    flat. Raises SettingsError for what cannot be read.
    """
    found = dict(known)
    for change in changes:
        name, is_one, text = change.partition("=")
        if not is_one or name not in found:
            raise SettingsError(f"--set: expected NAME=VALUE with one of {', '.join(sorted(found))}; got {change!r}")
        try:
            [value] = _numbers(float(text))
        except ValueError as error:
            raise SettingsError(f"--set {name}: expected a number above 0, got {text!r}") from error
        found[name] = replace(
            found[name], values=(value,), at=found[name].at[-1:], rows=("--set",), made_at="--set", machine="none"
        )
    return found


def _numbers(given: Any) -> tuple[float, ...]:
    listed = given if isinstance(given, list) else [given]
    if not all(type(one) in (int, float) and isfinite(one) and one > 0.0 for one in listed):
        raise SettingsError(f"expected numbers above 0, got {given!r}")
    return tuple(float(one) for one in listed)


def _pairs(at: Sequence[float], values: Sequence[float]) -> Iterable[tuple[tuple[float, float], tuple[float, float]]]:
    points = list(zip(at, values, strict=True))
    return pairwise(points)

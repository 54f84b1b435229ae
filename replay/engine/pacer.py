"""When each event is meant to be sent: a pure function of what was recorded. Nothing here waits or looks at a clock."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite, log1p, sqrt
from pathlib import Path
from typing import Protocol, Self

from contracts.errors import SettingsError

_DURATION = re.compile(r"^(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)$|^(\d+(?:\.\d+)?)(ms|s|m|h)$")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NEARLY_FLAT = 1e-9
_SHORTEST_RAMP_S = 1e-9
"""A shorter ramp is a jump: no clock could tell them apart, and its slope would not be a number."""


class Pace(Protocol):
    """Says when an event is due."""

    def offset_s(self, index: int, ts_ms: int, first_ms: int) -> float:
        """Return seconds after the start for event `index` (from 0), recorded at `ts_ms`; the first was at `first_ms`.

        Never falls from one event to the next, as long as `ts_ms` does not.
        """


@dataclass(frozen=True, slots=True)
class TimesFaster:
    """The recorded rhythm, `speed` times as fast: a recorded hour at 60 takes a minute."""

    speed: float

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ValueError(f"expected a speed above 0, got {self.speed}")

    def offset_s(self, index: int, ts_ms: int, first_ms: int) -> float:
        return (ts_ms - first_ms) / 1000.0 / self.speed

    def __str__(self) -> str:
        return f"{self.speed:g} times the recorded speed"


@dataclass(frozen=True, slots=True)
class FixedRate:
    """Evenly, `rate` events a second, whatever the recorded times say."""

    rate: float

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise ValueError(f"expected a rate above 0, got {self.rate}")

    def offset_s(self, index: int, ts_ms: int, first_ms: int) -> float:
        return index / self.rate

    def __str__(self) -> str:
        return f"{self.rate:g} events a second, evenly"


@dataclass(frozen=True, slots=True)
class Curve:
    """A multiplier over time: `points` are (second, multiplier), straight lines between them, level outside.

    Two points at one second are a jump. Raises ValueError for points out of order or a multiplier of 0 or less.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        _check_points(self.points, "multiplier")
        if any(multiplier <= 0 for _, multiplier in self.points):
            raise ValueError(f"expected multipliers above 0, got {self.points}")

    @classmethod
    def with_peaks(cls, peaks: tuple[Peak, ...]) -> Self:
        """Return 1 with these peaks on it. Raises ValueError when they overlap."""
        points = [(0.0, 1.0)]
        for peak in sorted(peaks, key=lambda one: one.at_s):
            if peak.at_s < points[-1][0]:
                raise ValueError(f"expected peaks one after the other, got one at {peak.at_s:g} s during another")
            end_s = peak.at_s + peak.for_s
            points += [(peak.at_s, 1.0), (peak.at_s, peak.times), (end_s, peak.times), (end_s, 1.0)]
        return cls(tuple(points))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read `time,multiplier` lines; a time as in `parse_duration`. Raises SettingsError naming file and line."""
        points = []
        for number, line in enumerate(_lines(path), start=1):
            if not line.strip() or line.startswith(("#", "time")):
                continue
            when, _, multiplier = line.partition(",")
            try:
                points.append((parse_duration(when), float(multiplier)))
            except (ValueError, SettingsError) as error:
                raise SettingsError(
                    f"{path}:{number}: expected time,multiplier such as 00:30,2.5, got {line!r}"
                ) from error
        try:
            return cls(tuple(points))
        except ValueError as error:
            raise SettingsError(f"{path}: {error}") from error

    def __str__(self) -> str:
        highest = max(multiplier for _, multiplier in self.points)
        return f"a curve up to {highest:g} times"


@dataclass(frozen=True, slots=True)
class Peak:
    """`times` as much from `at_s` on, for `for_s`."""

    times: float
    at_s: float
    for_s: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `10x@00:30+00:10`: ten times as much, from half a minute on, for ten seconds. Raises SettingsError."""
        found = re.match(r"^(\d+(?:\.\d+)?)x@([^+]+)\+(.+)$", text.strip())
        if found is None or float(found[1]) <= 0:
            raise SettingsError(f"expected a peak such as 10x@00:30+00:10 (times, from, for how long), got {text!r}")
        return cls(float(found[1]), parse_duration(found[2]), parse_duration(found[3]))


@dataclass(frozen=True, slots=True)
class Warped:
    """The recorded rhythm at `speed`, and at `curve` times that where the curve says, in recorded time.

    A peak of 10 is ten times the traffic, and over in a tenth of its recorded time.
    """

    speed: float
    curve: Curve
    _reached_s: tuple[float, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ValueError(f"expected a speed above 0, got {self.speed}")
        reached, points = [0.0], self.curve.points
        for (start, low), (end, high) in pairwise(points):
            reached.append(reached[-1] + _time_through(end - start, low, high))
        object.__setattr__(self, "_reached_s", tuple(reached))

    def offset_s(self, index: int, ts_ms: int, first_ms: int) -> float:
        return (self._unscaled_s((ts_ms - first_ms) / 1000.0) - self._unscaled_s(0.0)) / self.speed

    def _unscaled_s(self, recorded_s: float) -> float:
        """Return the integral of 1 / curve from the first point to `recorded_s`."""
        points = self.curve.points
        place = bisect_right(points, recorded_s, key=lambda point: point[0]) - 1
        if place < 0:
            return (recorded_s - points[0][0]) / points[0][1]
        start, low = points[place]
        if place == len(points) - 1:
            return self._reached_s[place] + (recorded_s - start) / low
        end, high = points[place + 1]
        here = low + (high - low) * (recorded_s - start) / (end - start)
        return self._reached_s[place] + _time_through(recorded_s - start, low, here)

    def __str__(self) -> str:
        return f"{self.speed:g} times the recorded speed, along {self.curve}"


@dataclass(frozen=True, slots=True)
class RateProfile:
    """A rate over the time of the run: `points` are (second, events a second), straight lines between, level after.

    Raises ValueError for points out of order, a negative rate, or a last rate of 0, which would never end.
    """

    points: tuple[tuple[float, float], ...]
    _sent: tuple[float, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _check_points(self.points, "rate")
        if any(rate < 0 for _, rate in self.points) or self.points[0][0] != 0 or not self.points[-1][1] > 0:
            raise ValueError(f"expected rates from second 0 on, none below 0, the last above 0, got {self.points}")
        sent = [0.0]
        for (start, low), (end, high) in pairwise(self.points):
            sent.append(sent[-1] + (end - start) * (low + high) / 2.0)
        object.__setattr__(self, "_sent", tuple(sent))

    @classmethod
    def ramp(cls, start: float, end: float, over_s: float) -> Self:
        """From rate `start` to rate `end` over `over_s` seconds, then on at `end`."""
        if not over_s > 0:
            raise ValueError(f"expected a ramp over more than 0 s, got {over_s}")
        return cls(((0.0, start), (over_s, end)))

    @classmethod
    def parse_ramp(cls, text: str) -> Self:
        """Read `100..5000@60s`. Raises SettingsError."""
        found = re.match(r"^(\d+(?:\.\d+)?)\.\.(\d+(?:\.\d+)?)@(.+)$", text.strip())
        try:
            if found is not None:
                return cls.ramp(float(found[1]), float(found[2]), parse_duration(found[3]))
        except ValueError as error:
            raise SettingsError(f"{text!r}: {error}") from error
        raise SettingsError(f"expected a ramp such as 100..5000@60s (from, to, over how long), got {text!r}")

    @classmethod
    def along(cls, rate: float, curve: Curve) -> Self:
        """`rate` events a second times the curve, in the time of the run."""
        first = curve.points[0]
        points = curve.points if first[0] == 0 else ((0.0, first[1]), *curve.points)
        return cls(tuple((second, rate * multiplier) for second, multiplier in points))

    def offset_s(self, index: int, ts_ms: int, first_ms: int) -> float:
        place = bisect_right(self._sent, index) - 1
        start, low = self.points[place]
        rest = index - self._sent[place]
        if rest <= 0:
            return start
        root = max(0.0, low * low + 2.0 * self._slope(place) * rest)  # of the quadratic, in the form that never cancels
        return start + 2.0 * rest / (low + sqrt(root))

    def _slope(self, place: int) -> float:
        if place == len(self.points) - 1:
            return 0.0
        (start, low), (end, high) = self.points[place], self.points[place + 1]
        return (high - low) / (end - start) if end - start > _SHORTEST_RAMP_S else 0.0

    def __str__(self) -> str:
        return ", ".join(f"{rate:g}/s at {second:g} s" for second, rate in self.points)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: expected time,multiplier lines in UTF-8, got something else ({error})") from error


def parse_duration(text: str) -> float:
    """Return seconds of `90`, `01:30`, `00:01:30`, `90s`, `1.5m`, `2h` or `250ms`. Raises SettingsError."""
    found = _DURATION.match(text.strip())
    if found is None:
        raise SettingsError(f"expected a duration such as 90s, 1.5m, 01:30 or 00:01:30, got {text!r}")
    hours, minutes, seconds, number, unit = found.groups()
    if unit is not None:
        return float(number) * _UNITS[unit]
    return int(hours or 0) * 3600.0 + int(minutes or 0) * 60.0 + float(seconds)


def _time_through(recorded_s: float, low: float, high: float) -> float:
    """Return the integral of 1 / m over `recorded_s`, where m goes in a straight line from `low` to `high`."""
    rise = (high - low) / low
    return recorded_s / low * (log1p(rise) / rise if abs(rise) > _NEARLY_FLAT else 1.0 - rise / 2.0)


def _check_points(points: tuple[tuple[float, float], ...], what: str) -> None:
    if not points:
        raise ValueError(f"expected at least one point (second, {what}), got none")
    seconds = [second for second, _ in points]
    if not all(isfinite(number) for point in points for number in point) or seconds != sorted(seconds):
        raise ValueError(f"expected finite (second, {what}) points in order of time, got {points}")

"""Charts of a report as HTML with inline SVG. The drawing stretches with the page, the text does not.

Lines lie in an SVG of 1000 by 1000 that is stretched over the plot; labels are HTML placed in percent, so they keep
their size on a telephone. Pure: values in, markup out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, isfinite, log10
from typing import Any

import orjson

Value = float | None
Readout = dict[str, Any]
MOST_POINTS = 600
SIZE = 1000.0


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its name, its colour (a class of the style sheet), and a value a point, None for a gap."""

    name: str
    colour: str
    values: Sequence[Value]


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment of the run, or with `until_s` a while: what was done to the target."""

    at_s: float
    name: str
    until_s: float | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale from `low` to `high`, with the places of its ticks and their labels."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def share(self, value: float) -> float:
        """Return where a value lies, from 0 to 1; what is beyond an end lies on it."""
        if self.log:
            value, low, high = log10(max(value, self.low)), log10(self.low), log10(self.high)
        else:
            low, high = self.low, self.high
        return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.0


def linear_axis(
    most: float, unit: str = "", *, show: Callable[[float], str] | None = None, whole: bool = False
) -> Axis:
    """Return an axis from 0 that holds `most`, with 3 to 6 round ticks; with `whole` at whole numbers, for counts."""
    most = most if most > 0 and isfinite(most) else 1.0
    rough = most / 4
    power = 10.0 ** floor(log10(rough))
    step = next(power * times for times in (1, 2, 2.5, 5, 10) if power * times >= rough)
    if whole:
        step = float(ceil(step))
    count = ceil(most / step - 1e-9)
    shown = show or (lambda value: f"{value:g}{unit}")
    return Axis(0.0, step * count, tuple((step * n, shown(round(step * n, 10))) for n in range(count + 1)))


def log_axis(values: Sequence[float]) -> Axis:
    """Return a logarithmic axis of milliseconds over the powers of ten around the values."""
    above = [value for value in values if value > 0 and isfinite(value)] or [1.0]
    low = max(-3, floor(log10(min(above))))
    high = max(low + 1, ceil(log10(max(above)) - 1e-9))
    powers = range(low, high + 1)
    return Axis(10.0**low, 10.0**high, tuple((10.0**power, milliseconds(10.0**power)) for power in powers), log=True)


def milliseconds(value: float) -> str:
    """Return a duration for people: `0.4 ms`, `12 ms`, `1.5 s`."""
    if value >= 1000:
        return f"{value / 1000:.3g} s"
    return f"{value:.3g} ms" if value >= 1 else f"{value:.2g} ms"


def seconds(value: float) -> str:
    """Return a time since the start for people."""
    return f"{value:g} s" if value < 120 else f"{floor(value / 60)}:{floor(value % 60):02d} min"


def thinned(values: Sequence[Value], most: int = MOST_POINTS) -> list[Value]:
    """Return at most `most` values, each the highest of its stretch: a stall of a second stays to be seen."""
    every = ceil(len(values) / most) if values else 1
    stretches = (values[start : start + every] for start in range(0, len(values), every))
    return [max((value for value in stretch if value is not None), default=None) for stretch in stretches]


def over_time(
    lines: Sequence[Line],
    y: Axis,
    *,
    span_s: float,
    label: str,
    marks: Sequence[Mark] = (),
    show: Callable[[float], str] = milliseconds,
    named: bool = False,
) -> str:
    """Draw lines over the seconds of a run; value n of a line belongs to the n-th equal part of `span_s`. A line
    that is alone has a legend when `named`.
    """
    x = linear_axis(max(span_s, 1.0), show=seconds)
    x = Axis(0.0, max(span_s, 1.0), tuple(tick for tick in x.ticks if tick[0] <= max(span_s, 1.0)))
    drawn, readout = list[str](), list[Readout]()
    for line in lines:
        values = thinned(line.values)
        width = span_s / max(1, len(values))
        places = [width * (n + 0.5) for n in range(len(values))]
        drawn.append(_path(line.colour, places, values, x, y))
        readout.append({"name": line.name, "colour": line.colour, "at": [seconds(floor(at)) for at in places],
                        "x": [round(x.share(at), 4) for at in places],
                        "value": [None if value is None else show(value) for value in values]})  # fmt: skip
    return _frame(drawn[::-1], x, y, lines, label, marks, readout, named=named)  # the first line lies on top


def by_percentile(lines: Sequence[tuple[str, str, Sequence[float], Sequence[int]]], *, label: str) -> str:
    """Draw latency by percentile, every nine the same step apart (as HdrHistogram's plots do).

    A line is (name, colour, milliseconds rising, how many of each).
    """
    most = max((sum(counts) for _, _, _, counts in lines), default=1)
    nines = max(2, min(6, ceil(log10(max(10, most)))))
    ticks = [(0.0, "0%"), (1.0, "90%"), (2.0, "99%")] + [
        (float(n), f"99.{'9' * (n - 2)}%") for n in range(3, nines + 1)
    ]
    x = Axis(0.0, float(nines), tuple(ticks))
    y = log_axis([end for _, _, values, _ in lines for end in (*values[:1], *values[-1:])])
    drawn, readout, legend = list[str](), list[Readout](), list[Line]()
    for name, colour, values, counts in lines:
        whole, reached, places = sum(counts), 0, list[float]()
        for count in counts:
            reached += count
            left = (whole - reached) / whole if whole else 0.0
            places.append(min(float(nines), -log10(left)) if left > 0 else float(nines))
        drawn.append(_steps(colour, places, values, x, y))
        readout.append({"name": name, "colour": colour, "at": [_percent(place) for place in places],
                        "x": [round(x.share(place), 4) for place in places],
                        "value": [milliseconds(value) for value in values]})  # fmt: skip
        legend.append(Line(name, colour, ()))
    return _frame(drawn, x, y, legend, label, (), readout)


def by_rate(
    lines: Sequence[tuple[str, str, Sequence[float], Sequence[Value]]],
    *,
    show: Callable[[float], str],
    label: str,
    log: bool = False,
) -> str:
    """Draw values by requests a second, rates on a logarithmic axis; with `log` the values, too, as milliseconds.

    A line is (name, colour, rates, a value a rate).
    """
    rates = sorted({rate for _, _, at, _ in lines for rate in at}) or [1.0]
    values = [value for _, _, _, found in lines for value in found if value is not None]
    ticks = tuple((rate, f"{rate:g}/s" if n in (0, len(rates) - 1) else f"{rate:g}") for n, rate in enumerate(rates))
    x = Axis(rates[0], max(rates[-1], rates[0] * 1.01), ticks, log=True)
    y = log_axis(values) if log else linear_axis(max(values, default=1.0), show=show)
    drawn, readout, legend = list[str](), list[Readout](), list[Line]()
    for name, colour, at, found in lines:
        drawn.append(_path(colour, at, found, x, y))
        readout.append({"name": name, "colour": colour, "at": [f"{rate:,.0f}/s" for rate in at],
                        "x": [round(x.share(rate), 4) for rate in at],
                        "value": [None if value is None else show(value) for value in found]})  # fmt: skip
        legend.append(Line(name, colour, ()))
    return _frame(drawn, x, y, legend, label, (), readout)


def bars(rows: Sequence[tuple[str, float, str]], colour: str) -> str:
    """Draw named amounts as bars of one scale: (name, amount, what to write beside it)."""
    most = max((amount for _, amount, _ in rows), default=0.0) or 1.0
    shown = "".join(
        f'<div class="bar-name">{escape(name)}</div><div class="bar-track">'
        f'<span class="bar {colour}" style="width:{100 * amount / most:.2f}%"></span></div>'
        f'<div class="bar-value">{escape(text)}</div>'
        for name, amount, text in rows
    )
    return f'<div class="bars">{shown}</div>'


def ranges(rows: Sequence[tuple[str, float, float]]) -> str:
    """Draw a stage a row: its p50 as a full bar, its p99 as the pale bar behind it, both in milliseconds."""
    most = max((p99 for _, _, p99 in rows), default=0.0) or 1.0
    shown = "".join(
        f'<div class="bar-name">{escape(name)}</div><div class="bar-track">'
        f'<span class="bar pale" style="width:{100 * p99 / most:.2f}%"></span>'
        f'<span class="bar p99" style="width:{100 * p50 / most:.2f}%"></span></div>'
        f'<div class="bar-value">{milliseconds(p50)} <i>{milliseconds(p99)}</i></div>'
        for name, p50, p99 in rows
    )
    return f'<div class="bars">{shown}</div>'


def _percent(place: float) -> str:
    return f"{100 * (1 - 10**-place):.{max(1, ceil(place))}f}%".replace(".0%", "%")


def _point(at: float, value: float, x: Axis, y: Axis) -> str:
    return f"{SIZE * x.share(at):.1f},{SIZE * (1 - y.share(value)):.1f}"


def _path(colour: str, places: Sequence[float], values: Sequence[Value], x: Axis, y: Axis) -> str:
    """Return a line with gaps where there is nothing; a value between two gaps is a dot."""
    parts, dots, run = list[str](), list[str](), list[str]()
    for at, value in [*zip(places, values, strict=True), (0.0, None)]:
        if value is not None:
            run.append(_point(at, value, x, y))
        elif run:
            (dots if len(run) == 1 else parts).append(f"M{'L'.join(run)}" + ("h0.1" if len(run) == 1 else ""))
            run = []
    alone = f'<path class="line dot {colour}" d="{"".join(dots)}"/>' if dots else ""
    return f'<path class="line {colour}" d="{"".join(parts)}"/>{alone}'


def _steps(colour: str, places: Sequence[float], values: Sequence[float], x: Axis, y: Axis) -> str:
    """Return a staircase: a bucket's value up to the percentile that it reaches."""
    if not values:
        return ""
    points = [_point(0.0, values[0], x, y)]
    for n, (at, value) in enumerate(zip(places, values, strict=True)):
        if n:
            points.append(_point(places[n - 1], value, x, y))
        points.append(_point(at, value, x, y))
    return f'<path class="line {colour}" d="M{"L".join(points)}"/>'


def _frame(
    drawn: Sequence[str],
    x: Axis,
    y: Axis,
    lines: Sequence[Line],
    label: str,
    marks: Sequence[Mark],
    readout: Sequence[Readout],
    *,
    named: bool = False,
) -> str:
    """Put lines into a plot with axes, marks and a legend."""
    grid = "".join(f'<path class="grid" d="M0,{SIZE * (1 - y.share(at)):.1f}H{SIZE:.0f}"/>' for at, _ in y.ticks)
    left = "".join(f'<span style="bottom:{100 * y.share(at):.2f}%">{escape(text)}</span>' for at, text in y.ticks)
    below = "".join(f'<span style="left:{100 * x.share(at):.2f}%">{escape(text)}</span>' for at, text in x.ticks)
    key = "".join(f'<li><i class="key {line.colour}"></i>{escape(line.name)}</li>' for line in lines)
    legend = f'<ul class="legend">{key}</ul>' if named or len(lines) > 1 else ""
    flags = "".join(_flag(number, mark, x) for number, mark in enumerate(marks, start=1))
    points = escape(orjson.dumps(list(readout)).decode(), quote=True)
    return (
        f'{legend}<div class="chart" role="img" aria-label="{escape(label, quote=True)}" data-points="{points}">'
        f'<div class="left">{left}</div><div class="plot">'
        f'<svg viewBox="0 0 {SIZE:.0f} {SIZE:.0f}" preserveAspectRatio="none" aria-hidden="true">{grid}{"".join(drawn)}'
        f"</svg>{flags}</div>"
        f'<div class="below">{below}</div></div>'
    )


def _flag(number: int, mark: Mark, x: Axis) -> str:
    start = 100 * x.share(mark.at_s)
    width = 100 * x.share(mark.until_s) - start if mark.until_s is not None else 0.0
    title = escape(mark.name, quote=True)
    place = f"left:{start:.2f}%;width:{max(0.0, width):.2f}%"
    return f'<span class="mark" style="{place}" title="{title}"><b>{number}</b></span>'

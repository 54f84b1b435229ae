"""The cards of a report: each a title, a note, and a chart, bars or a table. Pure: a result in, markup out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil
from typing import Any

from replay.report.charts import (
    Line,
    Mark,
    bars,
    by_percentile,
    linear_axis,
    log_axis,
    over_time,
    ranges,
    seconds,
)

Result = Mapping[str, Any]

WINDOWS = 40
"""Over how many stretches of the run the hit rate is drawn at most; a second alone holds too few questions."""
QUESTIONS_A_WINDOW = 100
LATENCY_LINES = (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("max", "most"))


def all_cards(result: Result, marks: Sequence[Mark]) -> str:
    """Return the cards of what the result holds."""
    return "".join(
        (
            _marks_card(marks),
            _latency_cards(result, marks),
            _rate_card(result, marks),
            _percentile_card(result),
            _stages_card(result),
            _fresh_card(result, marks),
            _hit_card(result, marks),
            _kinds_card(result, marks),
            _dropped_card(result),
            _table_card(result),
        )
    )


def as_text(value: object) -> str:
    """Return a value as text of a page."""
    return escape(str(value), quote=True)


def _card(title: str, note: str, body: str, *, wide: bool = False) -> str:
    kind = ' class="wide"' if wide else ""
    return (
        f'<section{kind}><h2>{as_text(title)}</h2><p class="note">{as_text(note)}</p>{body}</section>' if body else ""
    )


def _marks_card(marks: Sequence[Mark]) -> str:
    def row(number: int, mark: Mark) -> str:
        until = f" to {seconds(round(mark.until_s, 1))}" if mark.until_s is not None else ""
        return f"<li><b>{number}</b>{as_text(mark.name)} at {seconds(round(mark.at_s, 1))}{until}</li>"

    rows = "".join(row(number, mark) for number, mark in enumerate(marks, start=1))
    body = f'<ul class="marks">{rows}</ul>' if rows else ""
    return _card("What was done to the target", "The numbers stand in the charts.", body, wide=True)


def _span(result: Result) -> float:
    series = result.get("series") or {}
    return float(len(series.get("second") or ()))


def _latency_cards(result: Result, marks: Sequence[Mark]) -> str:
    return "".join(
        _latency_card(result, marks, prefix, f"{name}: latency over time")
        for prefix, name in (("", "Events"), ("answers_", "Recommendations"))
    )


def _latency_card(result: Result, marks: Sequence[Mark], prefix: str, title: str) -> str:
    series = result.get("series") or {}
    lines = [Line(name, colour, series[prefix + name]) for name, colour in LATENCY_LINES if series.get(prefix + name)]
    values = [value for line in lines for value in line.values if value is not None]
    if not values:
        return ""
    note = "By the second in which a request was due, from that moment on: what a visitor would have waited."
    drawn = over_time(lines, log_axis(values), span_s=_span(result), label=title, marks=marks)
    return _card(title, note, drawn)


def _rate_card(result: Result, marks: Sequence[Mark]) -> str:
    series = result.get("series") or {}
    lines = [Line("events", "one", series.get("count") or ())]
    if series.get("answers_count"):
        lines.append(Line("recommendations", "two", series["answers_count"]))
    most = max((value or 0.0 for line in lines for value in line.values), default=0.0)
    if not most:
        return ""
    show = "{:,.0f}".format
    axis = linear_axis(float(most), show=show, whole=True)
    drawn = over_time(lines, axis, span_s=_span(result), label="Requests a second", marks=marks, show=show)
    return _card("Requests due", "A second, as the schedule had it.", drawn)


def _percentile_card(result: Result) -> str:
    histograms = result.get("histograms") or {}
    lines = [
        (name, colour, histograms[key]["ms"], histograms[key]["counts"])
        for key, name, colour in (("events", "events", "one"), ("answers", "recommendations", "two"))
        if histograms.get(key, {}).get("ms")
    ]
    if not lines:
        return ""
    note = "From the intended time; each nine takes the same width."
    return _card("Latency by percentile", note, by_percentile(lines, label="Latency by percentile"))


def _stages_card(result: Result) -> str:
    stages = (result.get("answers") or {}).get("stages") or {}
    rows = [(name, times["p50"], times["p99"]) for name, times in stages.items() if name != "total"]
    rows.sort(key=lambda row: -row[1])
    if "total" in stages:
        rows.insert(0, ("total", stages["total"]["p50"], stages["total"]["p99"]))
    note = "As the target told them with each answer: p50 full, p99 pale."
    return _card("Where an answer's time goes", note, ranges(rows) if rows else "")


def _fresh_card(result: Result, marks: Sequence[Mark]) -> str:
    series, seen = result.get("series") or {}, result.get("seen")
    lines = [
        Line(name, colour, series[f"visible_{name}"])
        for name, colour in LATENCY_LINES
        if name != "p90" and series.get(f"visible_{name}")
    ]
    values = [value for line in lines for value in line.values if value is not None]
    if not values or not seen:
        return ""
    note = f"From the sending of a click to an answer that knows it; {seen['visible']['count']:,} watched, "
    note += f"{seen['never']:,} never seen."
    drawn = over_time(lines, log_axis(values), span_s=_span(result), label="Click to visible", marks=marks)
    return _card("Click to visible", note, drawn)


def _hit_card(result: Result, marks: Sequence[Mark]) -> str:
    series = result.get("series") or {}
    count, hits = series.get("answers_followed") or series.get("answers_count"), series.get("answers_hits")
    if not count or not hits or not sum(count):
        return ""
    every = max(1, ceil(len(count) / WINDOWS), ceil(len(count) * QUESTIONS_A_WINDOW / sum(count)))
    asked = [sum(count[start : start + every]) for start in range(0, len(count), every)]
    found = [sum(hits[start : start + every]) for start in range(0, len(count), every)]
    rates = [hit / whole if whole else None for hit, whole in zip(found, asked, strict=True)]
    axis = linear_axis(max(0.05, *(rate or 0.0 for rate in rates)), show=_percent)
    lines = [Line("hit rate", "one", rates)]
    label = "Hit rate of the next click"
    span_s = float(every * len(rates))
    drawn = over_time(lines, axis, span_s=span_s, label=label, marks=marks, show=lambda value: f"{value:.1%}")
    note = f"Answers that held what the visitor clicked next, in stretches of {every} s."
    return _card(label, note, drawn + _models(result))


def _percent(value: float) -> str:
    return f"{100 * value:.3g}%"


def _models(result: Result) -> str:
    """Return the gateway beside the baselines, population by population."""
    by_population = (result.get("hit_rates") or {}).get("by_population") or {}
    rows = []
    for population, models in by_population.items():
        for model, metrics in models.items():
            low, high = metrics.get("hit_rate@20_interval", (0.0, 0.0))
            ours = ' class="ours"' if model == "gateway" else ""
            rows.append(
                f"<tr{ours}><td>{as_text(population)}: {as_text(model)}</td><td>{metrics['cases']:,}</td>"
                f"<td>{metrics['hit_rate@20']:.1%}</td><td>{low:.1%} to {high:.1%}</td><td>{metrics['mrr@20']:.3f}</td>"
                "</tr>"
            )
    head = "<tr><th></th><th>questions</th><th>HR@20</th><th>95% interval</th><th>MRR@20</th></tr>"
    return f'<div class="scroll"><table>{head}{"".join(rows)}</table></div>' if rows else ""


def _kinds_card(result: Result, marks: Sequence[Mark]) -> str:
    """Errors, refusals and degraded answers by kind, and when they came."""
    answers = result.get("answers") or {}
    series = result.get("series") or {}
    kinds = (
        ("Events lost", result.get("failed"), "fault"),
        ("Events refused", result.get("rejected"), "warn"),
        ("Answers that failed", answers.get("errors"), "fault"),
        ("Degraded answers, by what they lack", answers.get("degraded"), "warn"),
        ("Answers that were", {name: answers.get(name, 0) for name in ("stale", "short") if answers.get(name)}, "warn"),
    )
    shown = ""
    for name, counts, colour in kinds:
        rows = [(kind, float(count), f"{count:,}") for kind, count in (counts or {}).items() if count]
        shown += f"<h3>{name}</h3>{bars(sorted(rows, key=lambda row: -row[1]), colour)}" if rows else ""
    if not shown:
        shown = '<p class="sub">None: nothing failed, nothing was degraded.</p>'
    lines = [
        Line(name, colour, series[key])
        for key, name, colour in (
            ("errors", "events lost", "fault"),
            ("answers_errors", "answers that failed", "two"),
            ("answers_degraded", "degraded answers", "most"),
        )
        if any(series.get(key) or ())
    ]
    if lines:
        show = "{:,.0f}".format
        most = max(value or 0 for line in lines for value in line.values)
        axis = linear_axis(float(most), show=show, whole=True)
        label = "Errors a second"
        shown = over_time(lines, axis, span_s=_span(result), label=label, marks=marks, show=show, named=True) + shown
    retries = f"{result.get('retries', 0):,} requests were tried again."
    return _card("Errors and degraded answers", retries, shown)


def _dropped_card(result: Result) -> str:
    """What rules dropped of an answer's candidates."""
    dropped = (result.get("answers") or {}).get("dropped")
    if not dropped or not dropped["rules"]:
        return ""
    answers = dropped["answers"]
    rows = []
    for rule, counted in dropped["rules"].items():
        mean, share = counted["candidates"] / answers, counted["answers"] / answers
        rows.append((rule, mean, f"{mean:,.2f} in {share:.0%}"))
    note = (
        f"Candidates an answer, and in how many of {answers:,} answers; each counted by the first rule that drops it."
    )
    return _card("What the rules dropped", note, bars(rows, "two"))


def _table_card(result: Result) -> str:
    answers, seen = result.get("answers") or {}, result.get("seen") or {}
    kinds = (
        ("event, from intended time", result.get("latency")),
        ("event, from sending", result.get("service")),
        ("recommendation, from intended time", answers.get("latency")),
        ("recommendation, from sending", answers.get("service")),
        ("click to visible", seen.get("visible")),
        ("sender's own lag", result.get("sender_lag")),
    )
    columns = ("mean", "p50", "p90", "p95", "p99", "p999", "max")
    rows = "".join(
        f"<tr><td>{name}</td><td>{times['count']:,}</td>"
        + "".join(f"<td>{times[column]:,.2f}</td>" for column in columns)
        + "</tr>"
        for name, times in kinds
        if times and times.get("count")
    )
    names = "".join(f"<th>{'p99.9' if column == 'p999' else column}</th>" for column in columns)
    body = f'<div class="scroll"><table><tr><th>ms</th><th>count</th>{names}</tr>{rows}</table></div>'
    return _card("All figures", "Milliseconds.", body, wide=True)

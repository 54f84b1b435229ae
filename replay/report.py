"""A run's result as one self-contained page of HTML: nothing is fetched when it is opened.

Takes the JSON that `PlayResult.as_json` gives, also from a file of an earlier run; what it does not hold is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from math import ceil
from pathlib import Path
from typing import Any

import orjson

from contracts.errors import ImportFormatError
from replay.report_charts import (
    Line,
    Mark,
    bars,
    by_percentile,
    linear_axis,
    log_axis,
    milliseconds,
    over_time,
    ranges,
    seconds,
)

Result = Mapping[str, Any]

WINDOWS = 40
"""Over how many stretches of the run the hit rate is drawn at most; a second alone holds too few questions."""
QUESTIONS_A_WINDOW = 100
LATENCY_LINES = (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("max", "most"))


def read_result(path: Path) -> dict[str, Any]:
    """Read a result file of `nextclick replay play`. Raises ImportFormatError for anything else."""
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ImportFormatError(f"{path}: expected the result of a replay, as JSON ({error})") from error
    if not isinstance(found, dict) or "latency" not in found or "accepted" not in found:
        raise ImportFormatError(f"{path}: expected the result of a replay: write one with `replay play --out`")
    return found


def write_report(result: Result, path: Path) -> None:
    """Write the page of one result. `path` appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report_page(result), encoding="utf-8")


def report_page(result: Result) -> str:
    """Return the page of one result."""
    asset = files("replay")
    style, script = (asset.joinpath(f"report_page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    marks = marks_of(result)
    cards = "".join(
        (
            _marks_card(marks),
            _latency_cards(result, marks),
            _rate_card(result, marks),
            _percentile_card(result),
            _stages_card(result),
            _fresh_card(result, marks),
            _hit_card(result, marks),
            _kinds_card(result, marks),
            _table_card(result),
        )
    )
    title = f"Replay {result.get('run', '')}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_text(title)}</title><style>{style}</style></head><body><main>"
        f"{_head(result, title)}{_verdict(result)}{_tiles(result)}"
        f'<div class="cards">{cards}</div>{_foot(result)}</main><script>{script}</script></body></html>\n'
    )


def marks_of(result: Result) -> list[Mark]:
    """Return the moments at which something was done to the target."""
    return [Mark(one["at_s"], one["name"], one.get("until_s")) for one in result.get("marks") or ()]


def _text(value: object) -> str:
    return escape(str(value), quote=True)


def _card(title: str, note: str, body: str, *, wide: bool = False) -> str:
    kind = ' class="wide"' if wide else ""
    return f'<section{kind}><h2>{_text(title)}</h2><p class="note">{_text(note)}</p>{body}</section>' if body else ""


def _head(result: Result, title: str) -> str:
    lines = [result.get("recording"), f"into {result.get('target')}", result.get("pace")]
    workers = result.get("workers", 1)
    if workers > 1:
        lines.append(f"{workers} workers")
    return f'<h1>{_text(title)}</h1><p class="sub">{_text(" · ".join(str(line) for line in lines if line))}</p>'


def _verdict(result: Result) -> str:
    reasons = [f"Invalid run: {reason}" for reason in result.get("invalid") or ()]
    lost = sum((result.get("failed") or {}).values())
    if lost:
        reasons.append(f"{lost:,} events were lost")
    checks = result.get("checks") or ()
    reasons += [f"Not held: {one['name']}" for one in checks if not one["held"]]
    if result.get("stopped"):
        reasons.append("Stopped before its end")
    held = "".join(f"<br>{_text(one['name'])}: {_text(one['detail'])}" for one in checks if one["held"])
    if reasons:
        shown = "".join(f"<b>{_text(reason)}</b>" for reason in reasons)
        return f'<div class="verdict bad">{shown}{held.removeprefix("<br>")}</div>'
    about = "The sender kept its schedule, and every event was accepted or refused for a reason."
    return f'<div class="verdict"><b>A valid run</b>{about}{held}</div>'


def _tiles(result: Result) -> str:
    latency, answers = result["latency"], result.get("answers")
    lost = sum((result.get("failed") or {}).values())
    rejected = sum((result.get("rejected") or {}).values())
    tiles = [
        _tile("Events accepted", f"{result['accepted']:,}", f"{result.get('rate', 0.0):,.0f} a second"),
        _tile("Lost", f"{lost:,}", f"{rejected:,} refused for a reason", bad=lost > 0),
        _tile("Event, p99", milliseconds(latency["p99"]), f"p50 {milliseconds(latency['p50'])}, from when it was due"),
    ]
    if answers:
        times = answers["latency"]
        errors = sum(answers["errors"].values())
        tiles += [
            _tile("Recommendation, p99", milliseconds(times["p99"]), f"p50 {milliseconds(times['p50'])}"),
            _tile("Errors in answers", f"{errors:,}", f"of {answers['questions']:,} questions", bad=errors > 0),
        ]
    if result.get("seen"):
        seen = result["seen"]["visible"]
        tiles.append(_tile("Click to visible, p99", milliseconds(seen["p99"]), f"p50 {milliseconds(seen['p50'])}"))
    if answers and answers.get("questions") and "hits" in answers:
        share = answers["hits"] / answers["questions"]
        tiles.append(_tile("Next click among the answers", f"{share:.1%}", f"{answers['hits']:,} hits"))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(name: str, value: str, about: str, *, bad: bool = False) -> str:
    kind = "tile bad" if bad else "tile"
    return f'<div class="{kind}"><span>{_text(name)}</span><strong>{_text(value)}</strong><em>{_text(about)}</em></div>'


def _marks_card(marks: Sequence[Mark]) -> str:
    def row(number: int, mark: Mark) -> str:
        until = f" to {seconds(round(mark.until_s, 1))}" if mark.until_s is not None else ""
        return f"<li><b>{number}</b>{_text(mark.name)} at {seconds(round(mark.at_s, 1))}{until}</li>"

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
    axis = linear_axis(float(most), show=show)
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
    count, hits = series.get("answers_count"), series.get("answers_hits")
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
                f"<tr{ours}><td>{_text(population)}: {_text(model)}</td><td>{metrics['cases']:,}</td>"
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
        axis = linear_axis(float(most), show=show)
        label = "Errors a second"
        shown = over_time(lines, axis, span_s=_span(result), label=label, marks=marks, show=show) + shown
    retries = f"{result.get('retries', 0):,} requests were tried again."
    return _card("Errors and degraded answers", retries, shown)


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


def _foot(result: Result) -> str:
    machine = result.get("machine") or {}
    shown = (
        f"{machine.get('cpu')}, {machine.get('cores')} cores, {machine.get('memory_gb')} GB, {machine.get('system')}, "
        f"Python {machine.get('python')}"
        if machine
        else ""
    )
    return f"<footer>{_text(shown)}<br>{_text(result.get('elapsed_s', 0))} s</footer>"

"""How the results of replays look in a terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from eventlog.files import Header
from replay.engine.choices import GATEWAY
from replay.engine.play import Snapshot
from replay.measure.freshness import Freshness
from replay.measure.hit_rates import HitRates
from replay.measure.limit import Limit
from replay.measure.objectives import Slo, shown
from replay.measure.result import Answers, PlayResult
from replay.measure.timings import Percentiles


def standing_line(now: Snapshot, rate: float) -> Text:
    """Return how a run stands, in a line. `rate` is events settled a second since the last look."""
    parts = [
        f"{rate:,.0f} events/s",
        f"p50 {_milliseconds(now.p50_ms)} ms, p99 {_milliseconds(now.p99_ms)} ms",
        f"{now.behind_s * 1000:,.0f} ms behind schedule",
        f"{now.in_flight} requests under way",
        f"{now.waiting:,} waiting",
        f"{now.retries:,} retries",
        f"{now.rejected:,} rejected",
        f"{now.failed:,} failed",
    ]
    if now.questions:
        parts.append(f"hit rate {now.hits / now.questions:.3f} of {now.questions:,}")
    return Text(" · ".join(parts), style="dim")


def play_tables(result: PlayResult) -> list[Table]:
    """Return a replay's result: counts, latencies, and what asking for recommendations came to."""
    tables = [_counts(result), _latencies(_rows(result))]
    if result.answers is not None:
        tables.append(_answers(result.answers))
    if result.hit_rates is not None:
        tables.append(_hit_rates(result.hit_rates))
    return tables


def header_table(path: Path, header: Header) -> Table:
    """Return what a recording says of itself, for people."""
    table = Table(title=str(path), show_header=False, box=box.SIMPLE)
    for name in ("events", "sessions", "items"):
        table.add_row(name, f"{getattr(header, name):,}")
    if header.first_ms is not None and header.last_ms is not None:
        span_s = (header.last_ms - header.first_ms) / 1000
        for name, at_ms in (("first", header.first_ms), ("last", header.last_ms)):
            table.add_row(name, f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC  ({at_ms})")
        table.add_row("span", f"{timedelta(seconds=round(span_s))}")
        if span_s > 0:
            table.add_row("events a second", f"{header.events / span_s:,.4g}")
    table.add_row("sorted", "yes" if header.sorted else "no")
    table.add_row("anonymised", "yes" if header.anonymised else "no")
    return table


def limit_table(found: Limit, slo: Slo) -> Table:
    """Return every rate that was tried, in the order of trying, and the one that holds."""
    rate = "none" if found.rate is None else f"{found.rate:,.0f} events/s"
    table = Table(
        title=f"Highest rate with {slo}: {rate}", caption=found.note or None, box=box.SIMPLE, padding=(0, 1, 0, 0)
    )
    for name in ("", "events/s", "reached", *(one.text for one in slo.conditions), "holds"):
        table.add_column(name, justify="left" if name in ("", "holds") else "right", overflow="fold")
    table.columns[0].no_wrap = True
    for step in found.steps:
        values = [
            "-" if one.value is None else f"[{'green' if one.ok else 'red'}]{shown(one.condition.metric, one.value)}[/]"
            for one in step.checked
        ]
        why = "" if not step.result.invalid else " (sender)" if step.sender else " (fell behind)"
        reached = f"{step.result.rate:,.0f}"
        table.add_row(step.phase, f"{step.rate:,.0f}", reached, *values, ("yes" if step.ok else "no") + why)
    return table


def freshness_table(result: Freshness) -> Table:
    """Return click to visible, in milliseconds."""
    rows = {
        "click to visible, with token": result.by_token,
        "  from intended time": result.by_token_intended,
        "click to visible, polling": result.by_polling,
        "POST /api/events": result.post,
        "sender's own lag": result.sender_lag,
    }
    table = _latencies(rows)
    table.title = (
        f"Freshness at {result.rate:g} clicks/s: {result.accepted:,} of {result.clicks:,} accepted, milliseconds"
    )
    table.caption = (
        f"never seen {result.never:,}, stale answers {result.stale:,}, errors {_counted(result.errors)}, "
        f"failed {_counted(result.failed)}"
    )
    return table


def _counts(result: PlayResult) -> Table:
    counts = Table(title=f"Replay {result.run}: {result.recording}", show_header=False, box=box.SIMPLE)
    counts.add_row("into", result.target)
    counts.add_row("pace", result.pace)
    if result.copies > 1 or result.workers > 1:
        counts.add_row("copies, workers", f"{result.copies}, {result.workers}")
    counts.add_row("events due", f"{result.scheduled:,}" + (" (stopped early)" if result.stopped else ""))
    counts.add_row("accepted", f"{result.accepted:,} ({result.rate:,.0f}/s for {result.elapsed_s:,.1f} s)")
    counts.add_row("rejected", _counted(result.rejected))
    counts.add_row("failed (lost)", _counted(result.failed))
    counts.add_row("requests, retries", f"{result.requests:,}, {result.retries:,}")
    return counts


def _rows(result: PlayResult) -> dict[str, Percentiles]:
    rows = {
        "events, from intended time": result.latency,
        "events, from sending": result.service,
        "sender's own lag": result.sender_lag,
    }
    if result.answers is not None:
        rows |= {"answers, from intended time": result.answers.latency, "answers, from sending": result.answers.service}
        rows |= {f"  stage: {stage}": times for stage, times in result.answers.stages.items()}
    if result.seen is not None:
        rows["click to visible"] = result.seen.visible
    return rows


def _latencies(rows: dict[str, Percentiles]) -> Table:
    table = Table(title="Milliseconds", box=box.SIMPLE)
    table.add_column("", no_wrap=True)
    for name in ("count", "p50", "p95", "p99", "p99.9", "max"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, at in rows.items():
        figures = (at.p50, at.p95, at.p99, at.p999, at.max)
        table.add_row(name, f"{at.count:,}", *(_milliseconds(figure) for figure in figures))
    return table


def _milliseconds(figure: float) -> str:
    return f"{figure:,.2f}" if figure < 100 else f"{figure:,.0f}"


def _answers(answers: Answers) -> Table:
    table = Table(title="Recommendations", show_header=False, box=box.SIMPLE)
    table.add_row("questions", f"{answers.questions:,}")
    if answers.followed != answers.questions:
        share = f", {answers.hits / answers.followed:.1%} hits" if answers.followed else ""
        table.add_row("followed by a click", f"{answers.followed:,}{share}")
    table.add_row("errors", _counted(answers.errors))
    table.add_row("degraded", _counted(answers.degraded))
    table.add_row("stale", f"{answers.stale:,}")
    table.add_row("shorter than asked for", f"{answers.short:,}")
    if answers.dropped is not None:
        means = {rule: one["candidates"] / answers.dropped["answers"] for rule, one in answers.dropped["rules"].items()}
        dropped = ", ".join(f"{rule} {mean:.2f}" for rule, mean in means.items())
        table.add_row("dropped by rules, an answer", dropped or "nothing")
    table.add_row("models", _counted(answers.models))
    return table


def _hit_rates(rates: HitRates) -> Table:
    share = rates.repeats / rates.questions if rates.questions else 0.0
    title = f"The next click, {rates.questions:,} questions ({share:.1%} repeat an item of the session)"
    table = Table(title=title, box=box.SIMPLE)
    table.add_column("", no_wrap=True)
    for name in ("HR@20", "HR@10", "MRR@20", "NDCG@20"):
        table.add_column(name, justify="right")
    for population, by_model in rates.tallies.items():
        table.add_row(f"{population} ({by_model[GATEWAY].cases:,})", style="bold")
        for model, tally in by_model.items():
            figures = (tally.hit_rate(20), tally.hit_rate(10), tally.mrr(20), tally.ndcg(20))
            table.add_row(f"  {model}", *(f"{figure:.4f}" for figure in figures))
        table.add_section()
    return table


def _counted(counts: dict[str, int]) -> str:
    if not counts:
        return "0"
    parts = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda one: -one[1]))
    return f"{sum(counts.values()):,} ({parts})"

"""A plan as tables and as JSON; how wrong its predictions were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nextclick.plan.coefficients import Coefficients
from nextclick.plan.predicted import Checked, checked, meanwhile, middle_error
from nextclick.plan.whole import Day, Plan

MOST_OTHERS = 0.2
"""Cores that others may have kept busy: beyond it a measured p99 says little."""
DOMINATING = 3
"""Coefficients that are named as those to make cheaper first."""


def print_plan(console: Console, plan: Plan, coefficients: Coefficients, *, explain: bool) -> None:
    """Print what is needed, what it costs, what keeps most cores busy, and what nobody measured."""
    days = {"ordinary day": plan.ordinary} | ({"sales day": plan.sales} if plan.sales is not None else {})
    one = plan.on_one_machine
    if one is not None:
        console.print(f"[bold]{escape(one[0].upper() + one[1:])}[/]", highlight=False, soft_wrap=True)
        console.print("In several machines and zones, one of which may be lost:", highlight=False)
    console.print(need_table(days))
    console.print(money_table(plan))
    for name, day in days.items():
        console.print(f"Most cores, {name}: {dominating(day)}", highlight=False, soft_wrap=True)
    for warning in (said for said in plan.warnings if said != one):
        console.print(f"[yellow]Note:[/] {escape(warning)}", highlight=False, soft_wrap=True)
    if explain:
        for name, day in days.items():
            for line in day_words(day):
                console.print(f"{name}: {escape(line)}", highlight=False, soft_wrap=True)
        console.print(source_table(coefficients))


def need_table(days: dict[str, Day]) -> Table:
    """Return a row a part, a column a day."""
    table = Table("what", title="What is needed")
    for name, day in days.items():
        rates = f"{day.shop.requests:,.0f} requests/s, {day.shop.events:,.0f} events/s"
        table.add_column(f"{name}\n{rates}", justify="right")
    found = {name: dict(day_rows(day)) for name, day in days.items()}
    for row in dict.fromkeys(row for rows in found.values() for row in rows):
        table.add_row(row, *(rows.get(row, "") for rows in found.values()))
    return table


def day_rows(day: Day) -> Iterator[tuple[str, str]]:
    """Yield what a day needs, by name."""
    latency = day.latency
    told = "not met" if latency is None else f"{latency.p99_ms:,.0f} ms, {latency.busy:.0%} of a core busy"
    yield "p99 of a request, predicted", told
    for part in day.parts:
        yield part.name, f"{part.count:,} ({part.busy_cores:,.1f} cores busy)" if part.count else "none is enough"
    yield "busy cores, all", f"{day.busy_cores:,.0f}"
    for one in day.machines:
        yield f"machines: {one.what}", f"{one.count:,} x {one.kind}" if one.count else one.kind
    yield "Redis nodes, copies included", f"{day.cache_nodes:,} x {day.cache.name}"
    redis = next(part for part in day.parts if part.name == "Redis shards")
    yield "Redis memory, without copies", f"{redis.memory_gb:,.0f} GB"
    tables = day.table_shards
    yield "slots of a table: trends; items", f"{tables['trends']:,}; {tables['items']:,}"
    yield "log: partitions of a topic; brokers", f"{day.log.partitions:,}; {day.log.brokers:,}"
    yield "log: written", f"{day.log.mb_s:,.1f} MB/s"
    yield "network: in, out", f"{day.network.in_mb_s:,.0f}, {day.network.out_mb_s:,.0f} MB/s"
    yield "network inside: log, trends", f"{day.network.log_mb_s:,.0f}, {day.network.follow_mb_s:,.0f} MB/s"


def money_table(plan: Plan) -> Table:
    """Return the bill of a month."""
    money = plan.money
    caption = f"{money.source}; {money.date}. Replace them: --prices"
    table = Table("a month", title=f"Money, {money.currency}", caption=caption)
    for name in ("low", "high"):
        table.add_column(name, justify="right")
    table.add_column("how")
    for cost in money.costs:
        table.add_row(cost.what, f"{cost.low:,.0f}", f"{cost.high:,.0f}", cost.how)
    table.add_row("all", f"{money.low:,.0f}", f"{money.high:,.0f}", "")
    return table


def dominating(day: Day) -> str:
    """Return what keeps most cores busy: what is to be made cheaper first."""
    whole = day.busy_cores
    return ", ".join(
        f"{name} {cores:,.1f} ({cores / whole:.0%})" for name, cores in list(day.spent().items())[:DOMINATING]
    )


def day_words(day: Day) -> Iterator[str]:
    """Yield the arithmetic of a day."""
    if day.latency is not None:
        one = day.latency
        yield f"p99: {one.alone_ms:,.1f} ms of a request that meets no other, and {one.wait_ms:,.1f} ms for others"
    for part in day.parts:
        for line in part.how:
            yield f"{part.name}: {line}"
    for machines in day.machines:
        yield f"machines of {machines.what}: {machines.how}"
    for line in day.log.how:
        yield f"log: {line}"


def source_table(coefficients: Coefficients) -> Table:
    """Return where each coefficient comes from."""
    table = Table(title="Coefficients")
    table.add_column("coefficient", no_wrap=True)
    for column in ("value", "unit", "command", "measured", "on"):
        table.add_column(column)
    for one in coefficients.values():
        at = [f" at {load:g}" for load in one.at] or [""]
        values = ", ".join(f"{value:g}{where}" for value, where in zip(one.values, at, strict=True))
        table.add_row(one.name, values, one.unit, one.command, one.made_at, one.machine)
    return table


def check_table(coefficients: Coefficients, file: dict[str, Any] | None) -> Table:
    """Return predictions beside what was measured, and the error of each."""
    found = checked(coefficients, file)
    table = Table("figure", "unit", title="Predicted from other benchmarks", caption=check_words(found, file))
    for name in ("predicted", "measured", "error"):
        table.add_column(name, justify="right")
    for one in found:
        measured = "" if one.measured is None else f"{one.measured:,.1f}"
        error = "" if one.error is None else f"{one.error:+.0%}"
        table.add_row(one.what, one.unit, f"{one.predicted:,.1f}", measured, error)
    return table


def check_words(found: Sequence[Checked], file: Mapping[str, Any] | None) -> str:
    """Return how large the errors are, and what they are not to be relied on for."""
    times = middle_error([one for one in found if one.unit == "ms"])
    spent = middle_error([one for one in found if one.unit != "ms"])
    if times is None or spent is None:
        return "measure them first: make bench-plan, then --from build/bench"
    said = f"half of the errors are under {spent:.0%} (processor time) and {times:.0%} (p99)"
    if (others := meanwhile(file)) > MOST_OTHERS:
        said += f"; other processes kept up to {others:.1f} cores busy: the p99 that was measured is theirs, too"
    return said


def plan_json(plan: Plan, coefficients: Coefficients) -> str:
    """Return a plan and the coefficients that it stands on."""
    document = {**plan.as_json(), "coefficients": {name: asdict(one) for name, one in coefficients.items()}}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()

"""`nextclick bench profile`: where the processor time of a recommendation and of a click goes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nextclick.bench.accounting import Accounts, Spent, look, pids_of, spent_between, until_calm
from nextclick.bench.report import BenchRow, console, expect_bench, finish
from nextclick.bench.running import running_stack

if TYPE_CHECKING:
    from rich.table import Table

    from nextclick.bench.load import Loaded
    from nextclick.bench.shop_traffic import Traffic
    from nextclick.stack.client import Client
    from nextclick.stack.stack import Stack

FLAMES = Path("build/profile")
SENDER = "load generator"
SETTLE_S = 20.0
EPOCH_S = 12.0
"""Longer than an epoch of Bytewax: what a flow counted has been written and saved."""
MOST_OTHERS, MOST_DEGRADED = 0.2, 0.01
"""Cores busy with something else, and the share of degraded answers, that figures can still be relied on with."""
NOT_PYTHON = ("redis",)
REQUEST_TARGET_US, CLICK_TARGET_US = 1500.0, 80.0


@dataclass(frozen=True, slots=True)
class Profile:
    """What was spent idle, on `requests` requests and on `clicks` clicks; what the requests got; their p50 alone."""

    idle: Spent
    asked: Spent
    requests: int
    clicked: Spent
    clicks: int
    loaded: Loaded
    sequential_ms: float


def profile(
    items: Annotated[int, typer.Option(min=100, help="Items in the shop.")] = 18_000,
    sessions: Annotated[int, typer.Option(min=10, help="Sessions that live.")] = 10_000,
    rate: Annotated[float, typer.Option(min=0.1, help="Requests a second.")] = 100.0,
    clicks: Annotated[float, typer.Option(min=0.1, help="Clicks a second, measured apart from the requests.")] = 1000.0,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="Clicks that share a POST.")] = 500,
    seconds: Annotated[float, typer.Option(min=1, help="How long each load lasts.")] = 15.0,
    idle: Annotated[float, typer.Option(min=1, help="How long to look at an idle stack.")] = 10.0,
    gateways: Annotated[int, typer.Option(min=1, max=64, help="Gateway processes.")] = 1,
    artifacts: Annotated[Path | None, typer.Option(help="Models; the demo's when left out.")] = None,
    flames: Annotated[bool, typer.Option(help="Flame graphs as well, under both loads once more.")] = True,
    quick: Annotated[bool, typer.Option(help="A small shop and short loads: under two minutes.")] = False,
) -> None:
    """Measure processor time a request and a click, by process and by stage, on a stack of its own.

    Writes build/bench/profile.json, and flame graphs into build/profile.
    """
    from nextclick.bench.shop_traffic import load_traffic, make_traffic
    from nextclick.stack.client import Client
    from nextclick.stack.shop_models import ARTIFACTS

    expect_bench("profile")
    if quick:
        items, sessions, seconds, idle = min(items, 6000), min(sessions, 1000), min(seconds, 5.0), min(idle, 3.0)
    with console.status("making the shop"):
        traffic = make_traffic(items, sessions)
    with (
        running_stack(artifacts or ARTIFACTS, gateways=gateways) as stack,
        Client(stack.url) as client,
    ):
        load_traffic(console, client, stack, traffic)
        with question_targets(stack, traffic) as targets:
            found = measured(stack, client, traffic, targets, Load(rate, clicks, batch, seconds, idle))
            if flames:
                sampled(stack, client, traffic, targets, Load(rate, clicks, batch, min(seconds, 10.0), idle))
    console.print(profile_table(found))
    for doubt in doubts(found):
        console.print(f"Not to be relied on: {doubt}.", style="yellow", highlight=False)
    told = f"--items {items} --sessions {sessions} --rate {rate:g} --clicks {clicks:g} --gateways {gateways}"
    finish("profile", profile_rows(found), f"make profile ARGS='{told}'")


@dataclass(frozen=True, slots=True)
class Load:
    """Requests and clicks a second, clicks a POST, seconds of each load, and of an idle stack."""

    rate: float
    clicks: float
    batch: int
    seconds: float
    idle_s: float


@contextmanager
def question_targets(stack: Stack, traffic: Traffic) -> Iterator[Path]:
    """Write a question of every session as vegeta's targets, for as long as they are needed."""
    from nextclick.bench.load import questions_of, write_targets
    from replay.engine.template import GATEWAY_TEMPLATE

    assert GATEWAY_TEMPLATE.recommendations is not None
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as folder:
        path = Path(folder) / "targets.jsonl"
        write_targets(path, stack.url, GATEWAY_TEMPLATE.recommendations, questions_of(traffic.sessions))
        yield path


def measured(stack: Stack, client: Client, traffic: Traffic, targets: Path, load: Load) -> Profile:
    """Warm the stack, look at it idle, then under requests, then under clicks."""
    from nextclick.bench.load import attack

    pids = pids_of(stack)
    with console.status("warming up") as status:
        attack(targets, load.rate, min(5.0, load.seconds))
        until_calm(pids, within_s=SETTLE_S)
        sequential_ms = sequential(client, traffic, 200)
        status.update("idle")
        settled(look(pids), pids)
        before = look(pids)
        time.sleep(load.idle_s)
        idle = spent_between(before, look(pids))
        status.update(f"{load.rate:g} requests/s for {load.seconds:g} s")
        before = look(pids)
        loaded = attack(targets, load.rate, load.seconds)
        asked = with_sender(settled(before, pids), loaded.sender_cpu_s)
        status.update(f"{load.clicks:g} clicks/s for {load.seconds:g} s")
        before = look(pids)
        sent, sender_s = click_for(client, traffic.clicks(f"p{time.monotonic_ns()}"), load)
        clicked = with_sender(settled(before, pids), sender_s)
    return Profile(idle, asked, loaded.sent, clicked, sent, loaded, sequential_ms)


def settled(before: Accounts, pids: Mapping[str, int]) -> Spent:
    """Return what was spent since, once the flows have nothing left to do and have saved what they counted."""
    time.sleep(EPOCH_S)
    until_calm(pids, within_s=SETTLE_S)
    return spent_between(before, look(pids))


def with_sender(spent: Spent, sender_s: float) -> Spent:
    return replace(spent, cpu_s={**spent.cpu_s, SENDER: sender_s})


def sequential(client: Client, traffic: Traffic, count: int) -> float:
    """Ask one request after the other; return the median in ms."""
    import statistics

    took = []
    for number in range(count):
        began = time.perf_counter()
        client.recommend("homepage", traffic.sessions[number % len(traffic.sessions)])
        took.append(1000.0 * (time.perf_counter() - began))
    return statistics.median(took)


def click_for(client: Client, events: Iterator[dict[str, Any]], load: Load) -> tuple[int, float]:
    """Send clicks at a rate, in arrays; returns how many, and the processor seconds that sending took."""
    began, sent, used = time.monotonic(), 0, time.process_time()
    while (due_s := sent / load.clicks) < load.seconds:
        time.sleep(max(0.0, began + due_s - time.monotonic()))
        client.send_events([next(events) for _ in range(load.batch)])
        sent += load.batch
    return sent, time.process_time() - used


def sampled(stack: Stack, client: Client, traffic: Traffic, targets: Path, load: Load) -> None:
    """Drive requests and clicks together, and draw a flame graph of every process that is Python."""
    from nextclick.bench.flames import Flames
    from nextclick.bench.load import Attack

    pids = {name: pid for name, pid in pids_of(stack).items() if name not in NOT_PYTHON}
    with console.status(f"flame graphs, {load.seconds:g} s"):
        flames = Flames(pids, FLAMES, load.seconds)
        asking = Attack(targets, load.rate, load.seconds)
        click_for(client, traffic.clicks(f"f{time.monotonic_ns()}"), load)
        asking.wait()
        made, failed = flames.wait()
    for path in made:
        console.print(f"Flame graph: {path}")
    for reason in failed:
        console.print(reason, style="yellow")


def doubts(found: Profile) -> list[str]:
    """Return why the figures say less than they seem to; none when they can be relied on."""
    said = []
    others = max(found.idle.others_cores, found.asked.others_cores, found.clicked.others_cores)
    if others > MOST_OTHERS:
        said.append(f"other processes kept {others:.1f} cores busy (queues, and loops that turn less often)")
    lost = found.loaded.sent - found.loaded.answered
    if lost:
        said.append(f"{lost:,} of {found.loaded.sent:,} requests were refused or lost, and cost little")
    if found.loaded.degraded > MOST_DEGRADED * found.loaded.answered:
        share = found.loaded.degraded / found.loaded.answered
        said.append(f"{share:.1%} of the answers are degraded, and left work out")
    below = [name for name, each in found.asked.each_us(found.requests, found.idle).items() if each < 0]
    if below:
        said.append(f"{', '.join(below)} used less under requests than when idle")
    return said


def profile_table(found: Profile) -> Table:
    """Return microseconds a request and a click by process, and idle use in % of a core."""
    from rich.table import Table

    table = Table("process", title="Processor time by process, without what it uses when idle", show_footer=True)
    for title in ("us a request", "us a click", "idle, % of a core"):
        table.add_column(title, justify="right")
    request, click = found.asked.each_us(found.requests, found.idle), found.clicked.each_us(found.clicks, found.idle)
    for name in request:
        idle = f"{found.idle.share(name):.1f}" if name in found.idle.cpu_s else ""
        table.add_row(name, f"{request[name]:,.0f}", f"{click.get(name, 0.0):,.1f}", idle)
    footers = ("all", f"{sum(request.values()):,.0f}", f"{sum(click.values()):,.1f}", f"{_idle(found):.1f}")
    for column, footer in zip(table.columns, footers, strict=True):
        column.footer = footer
    return table


def profile_rows(found: Profile) -> list[BenchRow]:
    """Return the figures as benchmark rows; the whole counts what the load generator used, and idle use."""
    rows = list[BenchRow]()
    for what, spent, count, target in (
        ("request", found.asked, found.requests, REQUEST_TARGET_US),
        ("click", found.clicked, found.clicks, CLICK_TARGET_US),
    ):
        each = spent.each_us(count, found.idle)
        rows += [BenchRow(f"{what}: {name}", round(value, 2), "us") for name, value in each.items()]
        rows.append(BenchRow(f"{what}: all", round(sum(each.values()), 2), "us"))
        ours = sum(value for name, value in each.items() if name != SENDER)
        rows.append(BenchRow(f"{what}: all without the load generator", round(ours, 2), "us", target))
        whole = sum(spent.each_us(count).values())
        rows.append(BenchRow(f"{what}: all, idle use counted", round(whole, 2), "us"))
    rows += [BenchRow(f"stage: {name}", round(value, 1), "us") for name, value in found.loaded.stages_us.items()]
    rows += [BenchRow(f"idle: {name}", round(found.idle.share(name), 2), "% of a core") for name in found.idle.cpu_s]
    rows.append(BenchRow("idle: all", round(_idle(found), 2), "% of a core"))
    rows.append(BenchRow("sequential request, p50", round(found.sequential_ms, 3), "ms", 1.5))
    for q in (50, 90, 99):
        rows.append(BenchRow(f"p{q} from intended time", round(found.loaded.percentile(q), 3), "ms"))
    rows.append(BenchRow("requests sent", float(found.requests), "1"))
    rows.append(BenchRow("errors and refusals", float(found.loaded.sent - found.loaded.answered), "1", 0.0))
    rows.append(BenchRow("degraded answers", found.loaded.degraded / max(1, found.loaded.answered), "share", 0.001))
    for what, spent in (("idle", found.idle), ("requests", found.asked), ("clicks", found.clicked)):
        rows.append(BenchRow(f"other processes meanwhile, {what}", round(spent.others_cores, 2), "cores", MOST_OTHERS))
    return rows


def _idle(found: Profile) -> float:
    return sum(found.idle.share(name) for name in found.idle.cpu_s)

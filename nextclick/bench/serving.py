"""`nextclick bench serving`: latency by rate, the highest rate, overload and a soak, on one machine's whole stack."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.errors import SettingsError
from nextclick.bench.accounting import pids_of, until_calm
from nextclick.bench.report import BenchRow, console, expect_bench, finish
from nextclick.bench.running import running_stack
from nextclick.bench.serving_runs import AFTER_S

if TYPE_CHECKING:
    from nextclick.bench.serving_runs import Driven, RatePoint
    from nextclick.bench.shop_traffic import Traffic
    from nextclick.stack.stack import Stack
    from replay.measure.freshness import Freshness

RATES = "50,100,200,500,1000,2000,4000"
PAGE = Path("build/bench/serving.html")
LIMIT_MS = 50.0
PEER = "peer"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options ask of every configuration."""

    rates: tuple[float, ...]
    seconds: float
    clicks: float
    click_rate: float
    overload_s: float
    soak_s: float
    soak_rate: float
    peer: str | None
    peer_template: Path | None
    precision: float


def serving(
    rates: Annotated[str, typer.Option(help="Requests a second, upwards until one only queues.")] = RATES,
    seconds: Annotated[float, typer.Option(min=1, help="How long each rate lasts.")] = 15.0,
    items: Annotated[str, typer.Option(help="Sizes of the shop.")] = "18000,100000",
    sessions: Annotated[int, typer.Option(min=10, help="Sessions that live.")] = 10_000,
    gateways: Annotated[str, typer.Option(help="Numbers of gateway processes.")] = "1,2",
    clicks: Annotated[float, typer.Option(min=0, help="Clicks a second beside requests; 0 leaves that out.")] = 500.0,
    click_rate: Annotated[float, typer.Option(min=1, help="Requests a second while clicks stream in.")] = 500.0,
    overload: Annotated[float, typer.Option(min=0, help="Seconds of twice the highest rate; 0 leaves it out.")] = 60.0,
    soak: Annotated[float, typer.Option(min=0, help="Seconds of a soak, 3600 for an hour; 0 leaves it out.")] = 0.0,
    soak_rate: Annotated[float, typer.Option(min=1, help="Requests a second of the soak.")] = 300.0,
    precision: Annotated[float, typer.Option(min=0.01, help="Share to which the highest rate is found.")] = 0.1,
    peer: Annotated[str | None, typer.Option(help="Another recommender to drive in turns, by its address.")] = None,
    peer_template: Annotated[Path | None, typer.Option(help="How to ask it (docs/replay.md).")] = None,
    artifacts: Annotated[Path | None, typer.Option(help="Models; the demo's when left out.")] = None,
    quick: Annotated[bool, typer.Option(help="One small shop, one gateway, three rates: about a minute.")] = False,
) -> None:
    """Measure latency by rate on a stack of its own, and what each request costs in processor time.

    Writes build/bench/serving.json, and the curves as one page, build/bench/serving.html.
    """
    from contracts.outputs import expect_outputs, write_output
    from nextclick.bench.serving_page import SERVING_PAGE, serving_page
    from nextclick.stack.shop_models import ARTIFACTS

    expect_bench("serving")
    expect_outputs((PAGE, SERVING_PAGE))
    if (peer is None) != (peer_template is None):
        raise SettingsError("expected --peer and --peer-template together: an address, and how to ask it")
    asked = Asked(
        numbers(rates), seconds, clicks, click_rate, overload, soak, soak_rate, peer, peer_template, precision
    )
    sizes, processes = [int(size) for size in numbers(items)], [int(count) for count in numbers(gateways)]
    if quick:
        sizes, processes, sessions = [min(2000, *sizes)], processes[:1], min(sessions, 500)
        asked = Asked(
            asked.rates[:3], 4.0, min(clicks, 100), 50.0, min(overload, 5.0), 0.0, 1, peer, peer_template, 0.5
        )
    found = [
        configuration(size, count, sessions, artifacts or ARTIFACTS, asked) for size in sizes for count in processes
    ]
    document = {"configurations": found, "limit_ms": LIMIT_MS}
    write_output(PAGE, serving_page(document).encode(), SERVING_PAGE)
    finish("serving", serving_rows(found), f"make bench-serving ARGS='--rates {rates} --seconds {asked.seconds:g}'")
    console.print(f"The curves: {PAGE}")


def numbers(text: str) -> tuple[float, ...]:
    """Read numbers with commas between them. Raises SettingsError for anything else, and for what is not above 0."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(f"expected numbers such as 50,100,200, got {text!r}") from error
    if not all(number > 0 for number in found):
        raise SettingsError(f"expected numbers above 0, got {text!r}")
    return found


def configuration(items: int, gateways: int, sessions: int, artifacts: Path, asked: Asked) -> dict[str, Any]:
    """Measure one stack; return its figures as JSON has them."""
    from nextclick.bench.load import attack
    from nextclick.bench.profile import question_targets, sequential
    from nextclick.bench.serving_runs import Driven, highest_rate, ladder
    from nextclick.bench.shop_traffic import load_traffic, make_traffic
    from nextclick.stack.client import Client

    what = f"{items:,} items, {gateways} gateway{'s' if gateways > 1 else ''}"
    traffic = make_traffic(items, sessions)
    with ExitStack() as open_:
        stack = open_.enter_context(running_stack(artifacts, gateways=gateways))
        client = open_.enter_context(Client(stack.url))
        load_traffic(console, client, stack, traffic)
        driven = Driven(open_.enter_context(question_targets(stack, traffic)), pids_of(stack))
        peer = open_.enter_context(peer_driven(traffic, asked))
        attack(driven.targets, 50.0, min(5.0, asked.seconds))
        until_calm(driven.pids, within_s=20.0)
        alone_ms = sequential(client, traffic, 200)
        points, theirs = list["RatePoint"](), list["RatePoint"]()
        for point in ladder(lambda rate: driven.at(rate, asked.seconds), asked.rates):
            points.append(point)
            _tell(what, point)
            if peer is not None:
                theirs.append(peer.at(point.rate, asked.seconds))
                _tell(PEER, theirs[-1])
        highest = highest_rate(lambda rate: driven.at(rate, asked.seconds), points, LIMIT_MS, asked.precision)
        console.print(f"{what}: highest rate with p99 < {LIMIT_MS:g} ms: {highest or 0:,.0f}/s")
        more = _further(stack, driven, traffic, highest, asked)
    return {
        "name": what,
        "items": items,
        "gateways": gateways,
        "sequential_p50": round(alone_ms, 3),
        "points": [point.as_json() for point in points],
        "peer": [point.as_json() for point in theirs],
        "highest": highest,
        **more,
    }


@contextmanager
def peer_driven(traffic: Traffic, asked: Asked) -> Iterator[Driven | None]:
    """Write another recommender's questions, for as long as they are needed; None where there is none to drive."""
    from nextclick.bench.load import questions_of, write_targets
    from nextclick.bench.serving_runs import Driven
    from replay.engine.template import read_template

    if asked.peer is None or asked.peer_template is None:
        yield None
        return
    template = read_template(asked.peer_template)
    template.expect(questions=True)
    assert template.recommendations is not None
    newest = {event["session_id"]: event["item_id"] for event in traffic.events}
    questions = ({**one, "item_id": newest.get(one["session_id"])} for one in questions_of(traffic.sessions))
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as folder:
        path = Path(folder) / "targets.jsonl"
        write_targets(path, asked.peer, template.recommendations, questions)
        yield Driven(path, {})


def _further(stack: Stack, driven: Driven, traffic: Traffic, highest: float | None, asked: Asked) -> dict[str, Any]:
    """Measure with clicks beside, overload and soak, where they are asked for."""
    from nextclick.bench.serving_runs import overload, soak

    found: dict[str, Any] = {}
    if asked.clicks:
        point, fresh = with_clicks(stack, driven, traffic, asked)
        found["clicks"] = {"rate": asked.clicks, "point": point.as_json(), "visible_p99": fresh.by_token.p99}
        _tell(f"with {asked.clicks:g} clicks/s", point)
    if asked.overload_s and highest:
        console.print(f"overload: {2 * highest:,.0f}/s for {asked.overload_s:g} s")
        found["overload"] = asdict(overload(driven, highest, asked.overload_s))
    if asked.soak_s:
        console.print(f"soak: {asked.soak_rate:g}/s for {asked.soak_s:g} s")
        found["soak"] = asdict(soak(driven, asked.soak_rate, asked.soak_s))
    return found


def with_clicks(stack: Stack, driven: Driven, traffic: Traffic, asked: Asked) -> tuple[RatePoint, Freshness]:
    """Drive requests while clicks stream in one by one, and watch a tenth of the clicks become visible."""
    import time

    import uvloop

    from contracts.clock import wall_clock_ms
    from nextclick.bench.accounting import look, spent_between
    from nextclick.bench.load import Attack
    from nextclick.bench.serving_runs import point_of
    from replay.measure.freshness import FreshnessOptions, measure_freshness

    options = FreshnessOptions(url=stack.url, rate=asked.clicks, seconds=asked.seconds, warm_up_s=1.0)
    before = look(driven.pids)
    asking = Attack(driven.targets, asked.click_rate, asked.seconds)
    ids = [item_id for item_id, _ in traffic.items]
    fresh = uvloop.run(measure_freshness(options, ids, run=f"c{time.monotonic_ns()}", start_ms=wall_clock_ms()))
    loaded = asking.wait()
    spent = spent_between(before, look(driven.pids))
    return point_of(loaded, spent.each_us(loaded.sent)), fresh


def _tell(what: str, point: RatePoint) -> None:
    lost = f", {point.errors} errors, {point.refused} refused" if point.errors or point.refused else ""
    console.print(
        f"{what}, {point.rate:,.0f}/s: p50 {point.p50:.2f}, p90 {point.p90:.2f}, p99 {point.p99:.2f} ms, "
        f"{point.degraded:.2%} degraded, {point.total_us:,.0f} us a request{lost}",
        highlight=False,
    )


def serving_rows(found: Sequence[Mapping[str, Any]]) -> list[BenchRow]:
    """Return the figures as benchmark rows, a few a rate."""
    rows = list[BenchRow]()
    for one in found:
        name = one["name"]
        rows.append(BenchRow(f"{name}: sequential request, p50", one["sequential_p50"], "ms", 1.5))
        rows.append(
            BenchRow(f"{name}: highest rate with p99 < {LIMIT_MS:g} ms", one["highest"] or 0.0, "1/s", 1500.0, "higher")
        )
        for who, points in ((name, one["points"]), (PEER, one["peer"])):
            for point in points:
                at = f"{who}, {point['rate']:g}/s"
                rows += [BenchRow(f"{at}: {cut} from intended time", point[cut], "ms") for cut in ("p50", "p90", "p99")]
                rows.append(
                    BenchRow(f"{at}: lost or refused", float(point["sent"] - point["answered"]), "requests", 0.0)
                )
                rows.append(BenchRow(f"{at}: processor time, load generator", point["sender_us"], "us a request"))
                if who != PEER:
                    rows.append(BenchRow(f"{at}: degraded", point["degraded"], "share", 0.001))
                    rows.append(BenchRow(f"{at}: processor time, all processes", point["total_us"], "us a request"))
        rows += _further_rows(name, one)
    return rows


def _further_rows(name: str, one: Mapping[str, Any]) -> list[BenchRow]:
    rows = list[BenchRow]()
    if "clicks" in one:
        at = f"{name}, {one['clicks']['point']['rate']:g}/s beside {one['clicks']['rate']:g} clicks/s"
        rows.append(BenchRow(f"{at}: p99 from intended time", one["clicks"]["point"]["p99"], "ms", 20.0))
        rows.append(BenchRow(f"{at}: click to visible, p99", one["clicks"]["visible_p99"], "ms", 50.0))
    if "overload" in one:
        over = one["overload"]
        rows.append(BenchRow(f"{name}, {over['rate']:g}/s: p99 of what was admitted", over["p99"], "ms", 60.0))
        rows.append(
            BenchRow(
                f"{name}, {over['rate']:g}/s: refused with Retry-After", float(over["with_retry_after"]), "requests"
            )
        )
        rows.append(BenchRow(f"{name}, {over['rate']:g}/s: lost", float(over["errors"]), "requests", 0.0))
        normal = over["normal_after_s"]
        rows.append(BenchRow(f"{name}: normal again after", AFTER_S if normal is None else normal, "s", 2.0))
    if "soak" in one:
        grown = one["soak"]["growth"]
        rows += [BenchRow(f"{name}, soak: growth of {part}", value, "%", 3.0) for part, value in grown.items()]
        rows.append(BenchRow(f"{name}, soak: p99 of the first third", one["soak"]["first_p99"], "ms"))
        rows.append(BenchRow(f"{name}, soak: p99 of the last third", one["soak"]["last_p99"], "ms"))
    return rows

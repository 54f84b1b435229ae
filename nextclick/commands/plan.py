"""`nextclick plan`: what a shop of a size needs: processes, cores, memory, partitions, shards, money."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from contracts.errors import SettingsError
from nextclick.plan.numbers import number_of

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from nextclick.plan.coefficients import Coefficients
    from nextclick.plan.prices import Prices

PACKAGE = Path(__file__).parents[1] / "plan"
BENCH = Path("build/bench")
_LARGEST_FILE = 16 << 20


def _number(help: str) -> Any:
    """Return the option of a number, which is written as people write numbers."""
    return typer.Option(help=help, parser=_read_number, metavar="NUMBER")


def _read_number(text: str | float) -> float:
    try:
        return number_of(text) if isinstance(text, str) else text
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def plan(
    requests: Annotated[float, _number("Recommendations a second, busiest hour of an ordinary day.")] = 100.0,
    events: Annotated[float, _number("Events a second then: views, carts, purchases.")] = 100.0,
    items: Annotated[float, _number("Items of the catalogue.")] = 18_000.0,
    users: Annotated[float, _number("Visitors a day.")] = 0.0,
    peak: Annotated[float, _number("Times the rates on a sales day.")] = 1.0,
    peak_days: Annotated[float, _number("Sales days a month.")] = 2.0,
    p99: Annotated[float, _number("Milliseconds that 99 of 100 requests may take.")] = 100.0,
    known: Annotated[float, _number("Share of the events that name a user.")] = 0.5,
    kept: Annotated[float, _number("Profiles kept, for each known visitor of a day.")] = 3.0,
    visit: Annotated[float, _number("Events of a visit.")] = 6.0,
    changes: Annotated[float, _number("Changes of an item a day.")] = 1.0,
    post: Annotated[float, _number("Events of one POST.")] = 1.0,
    trend_items: Annotated[float, _number("trend.max_items: items that have trends.")] = 250_000.0,
    emit_s: Annotated[float, _number("trend.emit_interval_ms, in seconds.")] = 1.0,
    shard_items: Annotated[float, _number("Items of one graph of the index.")] = 3e6,
    usable: Annotated[float, _number("Share of a core that may be busy.")] = 0.6,
    zones: Annotated[float, _number("Zones, of which one may be lost; 1: none is spare.")] = 3.0,
    replicas: Annotated[float, _number("Copies of a Redis shard.")] = 1.0,
    log_days: Annotated[float, _number("Days that Kafka keeps.")] = 3.0,
    network_ms: Annotated[float, _number("Added to a request by the network between machines.")] = 2.0,
    followers: Annotated[
        str, typer.Option(help="Who reads trends from Redis: every gateway process, or a relay a machine (machine).")
    ] = "process",
    attribution: Annotated[bool, typer.Option("--attribution", help="Count the attribution flow, too.")] = False,
    bench: Annotated[
        Path | None, typer.Option("--from", help="Folder of benchmark files (build/bench) that replace figures.")
    ] = None,
    prices: Annotated[Path | None, typer.Option(help="Your prices, in the form of nextclick/plan/prices.toml.")] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Another value of a coefficient: gateway_row=0.5. Repeatable.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="The arithmetic of every line, and its sources.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
    check: Annotated[bool, typer.Option("--check", help="How wrong the predictions of `make bench-plan` are.")] = False,
) -> None:
    """Say what a shop of a size needs, from measured slopes. Prices are assumptions: replace them by yours."""
    from nextclick.plan.shop import Shop
    from nextclick.plan.whole import plan as planned
    from nextclick.show.plan_tables import check_table, plan_json, print_plan

    files = bench_files(bench) if bench is not None else []
    coefficients = known_coefficients(files, change or [])
    console = Console()
    if check:
        _expect_no_change(change)
        console.print(check_table(coefficients, next((file for file in files if file.get("name") == "plan"), None)))
        return
    shop = Shop(
        requests=requests, events=events, items=items, users=users, peak=peak, peak_days=peak_days, p99_ms=p99,
        known=known, visit=visit, kept=kept, changes=changes, post=post, trend_items=trend_items, emit_s=emit_s,
        usable=usable, zones=zones, replicas=replicas, shard_items=shard_items, followers=followers,  # type: ignore[arg-type]
        attribution=attribution, log_days=log_days, network_ms=network_ms,
    )  # fmt: skip
    found = planned(shop, coefficients, known_prices(prices))
    if as_json:
        typer.echo(plan_json(found, coefficients))
    else:
        print_plan(console, found, coefficients, explain=explain)


def known_coefficients(files: list[dict[str, Any]], changes: list[str]) -> Coefficients:
    """Return the package's coefficients, replaced by those of benchmark files and by what the user says."""
    from nextclick.plan.coefficients import changed, coefficients_of, measured

    return changed(measured(coefficients_of(read_toml(PACKAGE / "coefficients.toml")), files), changes)


def known_prices(path: Path | None) -> Prices:
    """Return the prices of a file, the package's assumptions without one."""
    from nextclick.plan.prices import prices_of

    return prices_of(read_toml(path or PACKAGE / "prices.toml"))


def bench_files(folder: Path) -> list[dict[str, Any]]:
    """Return what the benchmark files of a folder hold; files that are none of a benchmark are passed by."""
    import orjson

    if not folder.is_dir():
        raise SettingsError(f"--from: expected a folder of benchmark files such as {BENCH}, found none at {folder}")
    found = []
    for path in sorted(folder.glob("*.json")):
        if path.stat().st_size > _LARGEST_FILE:
            continue
        try:
            document = orjson.loads(path.read_bytes())
        except orjson.JSONDecodeError:
            continue
        if isinstance(document, dict) and isinstance(document.get("rows"), list):
            found.append(document)
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file. Raises SettingsError for one that is none."""
    import tomllib

    from contracts.toml import toml_of

    try:
        return toml_of(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: expected TOML, {error}") from error


def _expect_no_change(change: list[str] | None) -> None:
    if change:
        raise SettingsError("--check: expected no --set with it, as it compares what was measured")

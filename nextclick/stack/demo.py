"""The demo: a synthetic shop on the real stack, and one shopper's answers before and after three clicks."""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from contracts.clock import wall_clock_ms
from contracts.errors import NextclickError
from nextclick.stack.client import Client
from nextclick.stack.demo_experiment import RATE, DemoExperiment, buyers_of
from nextclick.stack.load_items import load_items
from nextclick.stack.own_key import take_own_key
from nextclick.stack.progress import read_progress, totals
from nextclick.stack.settings import demo_settings
from nextclick.stack.shop_models import ARTIFACTS
from nextclick.stack.stack import Stack
from replay.synthetic.shoppers import Shop, make_shop, shoppers

SHOPPERS = 2000
MINUTES = 20
"""Shoppers came within this many minutes before the demo: inside `gateway.max_age`, so that none of them is too old."""
EVENTS_A_REQUEST = 500
CATCH_UP_S = 30
CLICKS = 3
LIMIT = 10
WHOLE_S = 30.0
"""How long a busy machine has for an answer that nothing was left out of."""
LOOK_S = 5.0
"""How long a look at the experiment waits for the gateway."""


class DemoFailed(NextclickError):
    """A step of the demo did not do what it shows."""


def run_demo(console: Console, *, port: int | None, once: bool, seed: int, buyers: float = RATE) -> int:
    """Run the demo; returns the exit code. With `once`: show one shopper and stop. `port` None: as the settings say.
    `buyers`: visits a second that take part in an experiment afterwards; 0: there is none.
    """
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="nextclick-demo-") as folder,
        _running(console, port, Path(folder)) as stack,
    ):
        take_own_key(stack)
        with Client(stack.url, key=stack.api_key) as client:
            shop = make_shop(np.random.default_rng(seed))
            load_items(console, list(shop.items), client)
            play_shoppers(console, client, shop, np.random.default_rng(seed + 1))
            catch_up(console, client, stack)
            show_one_shopper(console, client, shop)
        console.print(f"\nFirst personalised answer after [bold]{time.monotonic() - began:.1f} s[/] in all.")
        if not once:
            console.print(f"\n  Open [bold cyan]{_page(stack)}[/] and click something.    API: {stack.url}/docs")
            if buyers:
                _experiment(console, stack, shop, buyers)
            else:
                console.print("  Ctrl-C stops everything.")
                stack.wait_until_interrupted()
    return 0


def _page(stack: Stack, path: str = "") -> str:
    """Return the address of a page of the gateway, which takes its key from there."""
    return f"{stack.url}/{path}#key={stack.api_key}" if stack.api_key else f"{stack.url}/{path}"


def _experiment(console: Console, stack: Stack, shop: Shop, rate: float) -> None:
    """Let buyers come until an experiment is decided, and return when somebody stops the demo."""
    console.print("  An experiment begins: buyers see what is popular now, or a homepage that knows their clicks.")
    with Client(stack.url, LOOK_S, key=stack.api_key) as client:
        if client.has_page("/console/experiments"):
            console.print(f"  To watch it: [cyan]{_page(stack, 'console/experiments')}[/]")
        console.print("  Ctrl-C stops everything.")
        experiment = DemoExperiment(console, stack, client, buyers_of(stack, shop, rate=rate))
        try:
            experiment.start()
            stack.wait_until_interrupted(experiment.look)
        finally:
            experiment.stop()


@contextmanager
def _running(console: Console, port: int | None, folder: Path) -> Iterator[Stack]:
    stack = Stack(demo_settings(folder, ARTIFACTS, port))
    try:
        with console.status("starting Redis, the flows and the gateway"):
            stack.start()
        yield stack
    finally:
        with console.status("stopping everything"):
            stack.stop()


def play_shoppers(console: Console, client: Client, shop: Shop, rng: np.random.Generator) -> None:
    """Send the last minutes' shoppers, so that there is something popular and something bought together."""
    span_ms = MINUTES * 60_000
    now_ms = wall_clock_ms()
    visits = shoppers(shop, SHOPPERS, rng, start_ms=now_ms - span_ms, span_ms=span_ms)
    events = [event.model_dump(exclude_none=True) for event in visits if event.ts <= now_ms]
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"{SHOPPERS:,} shoppers walk through the shop", total=len(events))
        for at in range(0, len(events), EVENTS_A_REQUEST):
            answer = client.send_events(events[at : at + EVENTS_A_REQUEST])
            if answer["rejected"]:
                raise DemoFailed(f"expected every event to be accepted, got {answer['rejected'][0]}")
            bar.advance(task, min(EVENTS_A_REQUEST, len(events) - at))
    console.print(f"{len(shop):,} items, {SHOPPERS:,} shoppers, {len(events):,} events.")


def catch_up(console: Console, client: Client, stack: Stack) -> None:
    """Wait until the flows have applied what was sent and recommendations show what is popular."""
    until = time.monotonic() + CATCH_UP_S
    with console.status("the flows catch up"):
        while totals(read_progress(stack.running_settings))["lag"] or not _popular(client):
            if time.monotonic() > until:
                raise DemoFailed(f"expected the flows to catch up within {CATCH_UP_S} s: {stack.whose_fault()}")
            time.sleep(0.02)


def _popular(client: Client) -> list[Any]:
    """Return a whole page of what trends; none yet when there is less, or only what is new fills it."""
    found: list[Any] = client.recommend("homepage", "nobody", limit=LIMIT)["recommendations"]
    return found if len(found) == LIMIT and any(one["reason"] == "popular now" for one in found) else []


def show_one_shopper(console: Console, client: Client, shop: Shop) -> None:
    """Ask, click three items of one category, ask again; raise DemoFailed if nothing changed."""
    session_id = f"demo-{uuid.uuid4().hex[:8]}"
    documents = dict(shop.items)
    before = client.recommend("homepage", session_id, limit=LIMIT)
    clicked = _three_of_one_category(shop)
    click_times_ms, after = [], before
    for item_id in clicked:
        started = time.perf_counter()
        token = client.send_events([_view(session_id, item_id)])["token"]
        after = client.recommend("homepage", session_id, limit=LIMIT, after=token)
        click_times_ms.append((time.perf_counter() - started) * 1000)
    after = whole(lambda: client.recommend("homepage", session_id, limit=LIMIT, after=token), after, WHOLE_S)
    console.print(_answers_table(documents, clicked, before, after))
    console.print(_timings_table(after, click_times_ms))
    expect_changed(documents, clicked, before, after)


def whole(ask: Callable[[], dict[str, Any]], first: dict[str, Any], within_s: float) -> dict[str, Any]:
    """Return the first answer, or a later one, that no part of the pipeline was left out of; the last one where there
    is none in time. On a machine that others use an answer may leave a part out to meet its deadline.
    """
    until, answer = time.monotonic() + within_s, first
    while answer["degraded"] and time.monotonic() < until:
        time.sleep(0.2)
        answer = ask()
    return answer


def expect_changed(
    documents: dict[str, Any], clicked: list[str], before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Raise DemoFailed unless the answer counts the clicks, differs, and holds items near them."""
    if after["session"]["events"] != len(clicked):
        raise DemoFailed(f"expected the answer to count {len(clicked)} clicks, got {after['session']['events']}")
    first, second = ([one["product_id"] for one in answer["recommendations"]] for answer in (before, after))
    if first == second:
        raise DemoFailed("expected other recommendations after three clicks, got the same list")
    shelf = documents[clicked[0]].category
    near = sum(documents[item_id].category == shelf for item_id in second)
    if near == 0:
        raise DemoFailed(f"expected items of {shelf} after three clicks there, got none among {second}")
    if after["degraded"]:
        raise DemoFailed(f"expected the full pipeline, got an answer degraded by {after['degraded']}")


def _three_of_one_category(shop: Shop) -> list[str]:
    shelf = next(one for one in shop.shelves if (one >= 0).sum() >= CLICKS)
    return [shop.items[at][0] for at in shelf[:CLICKS]]


def _view(session_id: str, item_id: str) -> dict[str, Any]:
    return {
        "v": 1,
        "event_id": uuid.uuid4().hex,
        "type": "view",
        "session_id": session_id,
        "item_id": item_id,
        "ts": wall_clock_ms(),
    }


def _answers_table(
    documents: dict[str, Any], clicked: list[str], before: dict[str, Any], after: dict[str, Any]
) -> Table:
    names = ", ".join(f"“{documents[item_id].title}”" for item_id in clicked)
    table = Table(title=f"One shopper views {names}", title_style="bold", show_lines=False)
    table.add_column("")
    table.add_column("before the clicks")
    table.add_column("after three clicks", style="green")
    table.add_column("because")
    for place, (first, second) in enumerate(
        zip(before["recommendations"], after["recommendations"], strict=False), start=1
    ):
        titles = (documents[one["product_id"]].title for one in (first, second))
        table.add_row(str(place), *titles, second["reason"])
    return table


def _timings_table(after: dict[str, Any], click_times_ms: list[float]) -> Table:
    table = Table(title="Where the last answer's time went", title_style="bold")
    table.add_column("stage")
    table.add_column("microseconds", justify="right")
    for stage, took_us in after["timings_us"].items():
        table.add_row(stage, f"{took_us:,}")
    shown = ", ".join(f"{took_ms:.1f}" for took_ms in click_times_ms)
    table.add_row("click to recommendation, ms", shown, style="bold")
    return table

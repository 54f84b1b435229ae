"""A week of the sample shop at high speed: planted faults and the checks of the data, daily retraining with one
poisoned day, and a bad model that is taken back under load.

    python -m nextclick.bench.week [--events 20000] [--folder FOLDER]

Writes build/bench/week.json. A fault is alerted when its check is first bad after it began; a false alarm is a check
that is bad in the week without faults.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.request import urlopen

import numpy as np
import orjson

from contracts.items import Item
from contracts.settings import ServiceSettings
from eventlog.files import read_items, read_raw, write_events
from nextclick.bench.report import BenchRow, console, expect_bench, finish
from quality.catalogue import figures_of
from quality.checks import Seen, State, judge
from quality.recorded import as_they_came, counted
from quality.series import Series
from quality.tally import TallyRules
from registry.folder import Registry
from replay.sample.faults import ITEM_FAULTS, Planting, Span, cut, fault_of, plant, plant_in_items

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
BEFORE, WEEK = 8, 7
"""Days before the week, which are known as usual, and days of the week."""
POISONED: Final = 3
"""Day of the week, from 0, whose clicks are of items at random."""
FAULTS: Final = (
    # name, check that should say it, and of what; day of the week; hours
    ("silent-view", "silent", "view", 0, (12, 15)),
    ("broken", "broken", "", 1, (12, 15)),
    ("duplicate", "duplicate", "", 2, (12, 15)),
    ("late", "late", "", 4, (12, 15)),
    ("future", "future", "", 5, (12, 15)),
    ("silent-cart", "silent", "cart", 6, (17, 20)),
)
SETTINGS: Final = "[session_model]\ntrain_epochs = 2\ndim = 32\n[reranker]\ngroups = 2000\n"
BUILDS: Final = {"NEXTCLICK_INDEX__BUILDER": "true"}
"""A session model comes with the snapshot of its item tower."""
Bad = dict[tuple[int, str, str], None]


@dataclass(frozen=True, slots=True)
class Shop:
    """A sample on disk: its events, its items, and when its first day begins (epoch ms)."""

    events: Path
    items: Path
    start_ms: int

    def day_ms(self, day: int) -> int:
        """Return when a day of the week begins."""
        return self.start_ms + (BEFORE + day) * DAY_MS


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--events", type=int, default=20_000, help="events a day")
    words.add_argument("--folder", type=Path, help="where files stay; none: they go")
    words.add_argument("--only", choices=("checks", "training"), help="one half alone; none: both")
    typed = words.parse_args()
    expect_bench("week")
    with tempfile.TemporaryDirectory(prefix="nextclick-week-") as aside:
        folder = typed.folder or Path(aside)
        folder.mkdir(parents=True, exist_ok=True)
        shop = made(folder, typed.events)
        rows = [] if typed.only == "training" else list(watched(shop))
        if typed.only != "checks":
            rows += retrained_daily(shop, folder)
            rows += rolled_back(Registry(folder / "registry"))
    finish(
        "week", rows, f"make bench-week ARGS='--events {typed.events}{f' --only {typed.only}' if typed.only else ''}'"
    )


def made(folder: Path, events: int) -> Shop:
    """Make the sample."""
    days = BEFORE + WEEK
    options = ["--users", "4000", "--items", "3000", "--events", str(events * days), "--days", str(days), "--bots", "0"]
    command("sample", "make", "--to", folder / "sample", *options)
    own = folder / "sample"
    first_ms: int = orjson.loads(next(read_raw(own / "events.jsonl.zst")))["ts"]
    return Shop(own / "events.jsonl.zst", own / "items.jsonl.zst", first_ms // DAY_MS * DAY_MS)


def command(*words: object, may_fail: bool = False) -> tuple[int, str]:
    """Run a command of ours; returns its exit status and what it said."""
    code = "from nextclick.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )
    if done.returncode and not may_fail:
        raise SystemExit(f"{' '.join(map(str, words))}: {done.stdout}{done.stderr}")
    return done.returncode, done.stdout + done.stderr


def watched(shop: Shop) -> Iterator[BenchRow]:
    """Count the week with and without faults, and yield how soon each fault is told, and what is told without one."""
    settings = ServiceSettings()
    clean = told(read_raw(shop.events), shop, settings)
    yield BenchRow("clean week: checks that are bad", float(len({key[1:] for key in clean})), "checks", 0.0)
    lines: Iterable[bytes] = read_raw(shop.events)
    for number, (name, _, _, day, hours) in enumerate(FAULTS):
        kind = fault_of(name)
        span = Span(shop.day_ms(day) + hours[0] * HOUR_MS, shop.day_ms(day) + hours[1] * HOUR_MS, kind.usual_share)
        lines = plant(lines, kind, Planting(span, np.random.default_rng(number)))
    faulty = told(lines, shop, settings)
    explained: set[tuple[int, str, str]] = set()
    for name, check, of, day, hours in FAULTS:
        began, ended = (shop.day_ms(day) // 60_000 + hour * 60 for hour in hours)
        own = [key for key in faulty if key[1:] == (check, of) and began < key[0] <= ended + 120]
        explained |= {*own}
        yield BenchRow(
            f"{name}: told after", float(min((key[0] for key in own), default=ended + 9999) - began), "min", 60.0
        )
    others = {key for key in faulty if key not in explained and key not in clean}
    for key in sorted(others)[:20]:
        console.print(f"also bad: {key[1]} {key[2]} at minute {key[0] - shop.day_ms(0) // 60_000} of the week")
    yield BenchRow(
        "week with faults: other checks that are bad", float(len({key[1:] for key in others})), "checks", 0.0
    )
    yield from of_items(shop, settings)


def told(lines: Iterable[bytes], shop: Shop, settings: ServiceSettings) -> Bad:
    """Return which checks of the week are bad: minute, check, and of what."""
    held = {item_id for item_id, _ in read_items(shop.items)}
    rules = TallyRules.of(settings.quality, settings.session.idle_gap_ms, settings.events.types)
    end_ms = shop.day_ms(WEEK)
    series = Series(counted(as_they_came(lines, end_ms + DAY_MS), rules, shop.start_ms, held).cells)
    step = settings.quality.silent_minutes
    found: Bad = {}
    for minute in range(shop.day_ms(0) // 60_000 + step, end_ms // 60_000, step):
        for check in judge(Seen(series, minute, None), settings.quality):
            if check.state is State.BAD:
                found[minute, check.name, check.of] = None
    return found


def of_items(shop: Shop, settings: ServiceSettings) -> Iterator[BenchRow]:
    """Yield whether each field that items lose is told, alone."""

    def bad(items: Iterable[tuple[str, Item]]) -> set[str]:
        seen = Seen(Series({}), 0, figures_of(items))
        return {check.name for check in judge(seen, settings.quality) if check.state is State.BAD}

    before = bad(read_items(shop.items))
    yield BenchRow("clean catalogue: checks that are bad", float(len(before)), "checks", 0.0)
    names = {"image_url": "picture"}
    for name, lost in ITEM_FAULTS.items():
        items = plant_in_items(read_items(shop.items), name, 0.3, np.random.default_rng(1))
        found = bad(items) - before
        yield BenchRow(f"{name}: told, and nothing else", float(found == {names.get(lost, lost)}), "yes", 1.0, "higher")


def retrained_daily(shop: Shop, folder: Path) -> Iterator[BenchRow]:
    """Retrain at the end of each day on it and the day before; yield what was published and what was refused."""
    (folder / "settings.toml").write_text(SETTINGS)
    published, took = 0, list[float]()
    for day in range(WEEK):
        lines: Iterable[bytes] = cut(read_raw(shop.events), shop.day_ms(day - 1), shop.day_ms(day + 1))
        if day == POISONED:
            span = Span(shop.day_ms(day - 1), shop.day_ms(day + 1) - 6 * HOUR_MS, 0.9)
            lines = plant(lines, fault_of("random-clicks"), Planting(span, np.random.default_rng(9)))
        recording = folder / f"day-{day}.jsonl.zst"
        write_events(recording, lines)
        began = time.monotonic()
        options = ["--folder", folder / "registry", "--items", shop.items, "--settings", folder / "settings.toml"]
        status, said = command(
            "retrain",
            recording,
            *options,
            "--newest",
            "0.15",
            "--questions",
            "1500",
            "--may-lose",
            "0.1",
            may_fail=True,
        )
        took.append(time.monotonic() - began)
        ruling = next((line for line in said.splitlines() if ": " in line and line.startswith("20")), said[-300:])
        console.print(f"day {day + 1}{' (poisoned)' if day == POISONED else ''}: exit {status}: {ruling}", markup=False)
        if day == POISONED:
            yield BenchRow("poisoned day refused", float(status == 1), "yes", 1.0, "higher")
        else:
            published += status == 0
    yield BenchRow(f"models published, of {WEEK - 1} days", float(published), "models")
    yield BenchRow("a day's retraining, median", float(np.median(took)), "s")


def rolled_back(registry: Registry) -> Iterator[BenchRow]:
    """Publish a bad model under load, and take it back; yield how long that took and what failed meanwhile."""
    from nextclick.bench.load import Attack
    from nextclick.bench.profile import question_targets
    from nextclick.bench.running import running_stack
    from nextclick.bench.shop_traffic import load_traffic, make_traffic
    from nextclick.stack.client import Client

    serving = registry.serving()
    others = [name for name in registry.names() if name != serving]
    bad = next((name for name in others if registry.read(name).note.startswith(("Worse", "Not shown"))), None)
    if serving is None or bad is None:
        return
    with running_stack(registry.folder / "serving", BUILDS) as stack, Client(stack.url) as client:
        traffic = make_traffic(2000, 500)
        load_traffic(console, client, stack, traffic)
        with question_targets(stack, traffic) as targets:
            asking = Attack(targets, 50.0, 100.0)
            time.sleep(3)
            command("models", "publish", bad, "--folder", registry.folder, "--why", "a bad one, by hand")
            swapped = until_serves(stack.url, bad, 60.0)
            began = time.monotonic()
            command("models", "rollback", "--folder", registry.folder, "--why", "fewer clicks")
            until_serves(stack.url, serving, 60.0)
            back = time.monotonic() - began
            loaded = asking.wait()
            yield BenchRow("a bad model serves after", swapped, "s")
            yield BenchRow("rolled back within, its command included", back, "s", 10.0)
            yield BenchRow("requests meanwhile", float(loaded.sent), "requests")
            yield BenchRow("requests that failed", float(loaded.sent - loaded.answered), "requests", 0.0)


def until_serves(url: str, name: str, within_s: float) -> float:
    """Wait until a version serves; returns the seconds it took. Raises SystemExit when it does not."""
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        with urlopen(f"{url}/readyz", timeout=10) as answer:
            models = orjson.loads(answer.read())["models"]
        if models["version"] == name:
            return time.monotonic() - began
        time.sleep(0.1)
    raise SystemExit(f"expected {name} to serve within {within_s:g} s, got {models}")


if __name__ == "__main__":
    main()

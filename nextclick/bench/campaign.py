"""What a campaign costs by user, what memory it takes, and what it does to live recommendations beside it.

    python -m nextclick.bench.campaign [--users 20000] [--items 18000] [--beside] [--turns 6] [--seconds 10]

A stack of its own with a shop of `items` items and users with full profiles (100 clicks, eight sessions). The campaign
is the command's own run, by two processes. Its processor time is the operating system's account, of its processes with
their start, and of Redis. With `--beside` a constant load of recommendations is sent in turns, with a campaign beside
and without, at the priority that campaigns have. Writes build/bench/campaign.json.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from campaigns.recipients import ConsentRule
from contracts.clock import wall_clock_ms
from contracts.ids import item_key, partition_of
from contracts.profiles import MOST_SESSIONS, Profile
from contracts.sessions import CLICK
from contracts.settings import ServiceSettings
from nextclick.bench.accounting import look, pids_of, spent_between, until_calm
from nextclick.bench.load import attack
from nextclick.bench.profile import question_targets
from nextclick.bench.report import BenchRow, console, expect_bench, finish
from nextclick.bench.running import running_stack
from nextclick.bench.shop_traffic import Traffic, load_traffic, make_traffic
from nextclick.campaign.run import Run, Summary, run
from nextclick.campaign.work import Wanted
from nextclick.stack.client import Client
from nextclick.stack.environment import environment_with
from nextclick.stack.shop_models import ARTIFACTS
from session_model.profiles import ProfileRules, Visit, fold_visits
from session_model.serving import load_encoder
from state.profiles import ProfileStore

if TYPE_CHECKING:
    from nextclick.stack.stack import Stack

MADE: Final = 200
"""Profiles that are made; users have them in turn."""
DAY_MS: Final = 86_400_000
KEEP_MS: Final = 30 * DAY_MS
AT_ONCE: Final = 200
MILLION: Final = 1_000_000
CORES: Final = 2
TARGET_S: Final = 20 * 60
SLOWER: Final = 1.1
WORKERS: Final = 2


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took: seconds, processor seconds of its processes and of Redis, and the largest process."""

    summary: Summary
    seconds: float
    cpu_s: float
    redis_s: float
    largest_mb: float


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--users", type=int, default=20_000)
    words.add_argument("--items", type=int, default=18_000)
    words.add_argument("--sessions", type=int, default=2000)
    words.add_argument("--batch", type=int, default=64)
    words.add_argument("--beside", action="store_true", help="measure live recommendations with a campaign beside them")
    words.add_argument("--rate", type=float, default=100.0, help="live requests a second")
    words.add_argument("--turns", type=int, default=6)
    words.add_argument("--seconds", type=float, default=10.0, help="how long a turn lasts")
    typed = words.parse_args()
    expect_bench("campaign")
    with ExitStack() as open_:
        stack = open_.enter_context(running_stack(ARTIFACTS))
        traffic = make_traffic(typed.items, typed.sessions)
        load_traffic(console, open_.enter_context(Client(stack.url)), stack, traffic)
        open_.enter_context(environment_with({**stack.redis_environment, "NEXTCLICK_ARTIFACTS": str(ARTIFACTS)}))
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="nextclick-bench-")))
        with console.status("writing profiles"):
            put_profiles(traffic, typed.users)
        cost = cost_of(stack, asked(folder, typed.users, typed.batch, niceness=0))
        rows = figures(cost, starting_of(stack, folder, typed.batch))
        if typed.beside:
            targets = open_.enter_context(question_targets(stack, traffic))
            rows += beside(stack, targets, folder, typed)
    beside_too = " --beside" if typed.beside else ""
    finish("campaign", rows, f"make bench-campaign ARGS='--users {typed.users} --items {typed.items}{beside_too}'")


def asked(folder: Path, users: int, batch: int, *, niceness: int, name: str = "bench") -> Run:
    """Return a run for `users` users, into a folder."""
    audience = folder / f"{name}-{users}.csv"
    audience.write_text("user_id\n" + "".join(f"u-{n}\n" for n in range(users)))
    wanted = Wanted(name, "email", 10, ("title",), None, ConsentRule.UNLESS_REFUSED, 2, 7 * 86_400.0, False, batch)
    return Run(folder / f"{name}.jsonl", wanted, audience, workers=WORKERS, niceness=niceness, fresh=True)


def cost_of(stack: Stack, campaign: Run) -> Cost:
    """Run a campaign, and account for it."""
    pids, used = pids_of(stack), resource.getrusage(resource.RUSAGE_CHILDREN)
    before, began, own = look(pids), time.monotonic(), time.process_time()
    with console.status("picking") as status:
        found = run(campaign, ServiceSettings(), lambda done, of: status.update(f"{done:,} of {of:,}"), console.print)
    seconds, spent = time.monotonic() - began, spent_between(before, look(pids))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime + time.process_time() - own
    redis_s = sum(one for name, one in spent.cpu_s.items() if "redis" in name)
    return Cost(found, seconds, cpu_s, redis_s, after.ru_maxrss / 1024)


def starting_of(stack: Stack, folder: Path, batch: int) -> float:
    """Return the processor seconds of a run for two users: what every run takes once."""
    return cost_of(stack, asked(folder, 2 * batch, batch, niceness=0, name="start")).cpu_s


def figures(cost: Cost, start_s: float) -> list[BenchRow]:
    users = cost.summary.users
    each_s = (cost.cpu_s - start_s) / users
    whole_s = (start_s + MILLION * (each_s + cost.redis_s / users)) / CORES
    return [
        BenchRow("users", users, ""),
        BenchRow("picked for", cost.summary.picked, "", users, "higher"),
        BenchRow("processor time a user, beside the start", 1e3 * each_s, "ms"),
        BenchRow("of Redis, a user", 1e3 * cost.redis_s / users, "ms"),
        BenchRow("the start of two processes and the end", start_s, "s"),
        BenchRow("users a second of the clock, whatever else ran", users / cost.seconds, "1/s"),
        BenchRow("users a second of two cores", 1 / (each_s + cost.redis_s / users) * CORES, "1/s", 833, "higher"),
        BenchRow("1,000,000 users on two cores", whole_s / 60, "min", TARGET_S / 60),
        BenchRow("the largest process", cost.largest_mb, "MB"),
    ]


def put_profiles(traffic: Traffic, users: int) -> None:
    """Give every user a full profile, as the flow would have learnt it."""
    settings = ServiceSettings()
    made = cycle(list(profiles_of([item_id for item_id, _ in traffic.items])))
    with closing(ProfileStore(settings.redis, keep_ms=KEEP_MS)) as store:
        for begin in range(0, users, AT_ONCE):
            names: dict[int, list[str]] = {}
            for n in range(begin, min(users, begin + AT_ONCE)):
                names.setdefault(partition_of(f"u-{n}", settings.log.partitions), []).append(f"u-{n}")
            loaded = store.load(0, names)
            store.commit(0, [(one, one.known, {user: next(made) for user in one.stored}) for one in loaded])


def profiles_of(item_ids: Sequence[str]) -> Iterator[Profile]:
    """Yield MADE full profiles: clicks of more sessions than are kept by name."""
    random, encoder, now_ms = np.random.default_rng(1), load_encoder(str(ARTIFACTS)), wall_clock_ms()
    assert encoder is not None
    keys = np.array([item_key(one) for one in item_ids], np.uint64)
    for _ in range(MADE):
        profile = Profile()
        for n in range(MOST_SESSIONS + 4):
            window = np.zeros(9, CLICK)
            window["ts_ms"] = now_ms - DAY_MS * (12 - n) + np.arange(9)
            window["item"], window["code"] = random.choice(keys, 9), 1
            window["event"] = random.integers(1, 2**62, 9)
            vector = random.normal(size=encoder.dim).astype(np.float32)
            visit = Visit(n, window, int(window["ts_ms"][-1]), vector / np.float32(np.linalg.norm(vector)))
            profile = fold_visits(profile, [visit], ProfileRules(), model_version=encoder.version)
        yield profile


@contextmanager
def campaigning(folder: Path, typed: argparse.Namespace) -> Iterator[None]:
    """Have campaigns run, one after the other, at the priority that they have, until left."""
    ends, picks, settings = threading.Event(), threading.Event(), ServiceSettings()

    def show(done: int, of: int) -> None:
        if done:
            picks.set()
        if ends.is_set():
            raise KeyboardInterrupt

    def work() -> None:
        turn = 0
        while not ends.is_set():
            turn += 1
            try:
                run(asked(folder, typed.users, typed.batch, niceness=19, name=f"beside-{turn}"), settings, show, print)
            except KeyboardInterrupt:
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        picks.wait(STARTS_S)
        yield
    finally:
        ends.set()
        thread.join()


STARTS_S: Final = 90.0
"""A campaign picks by then, however busy the machine."""


def beside(stack: Stack, targets: Path, folder: Path, typed: argparse.Namespace) -> list[BenchRow]:
    """Send the load in turns, without a campaign and beside one."""
    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    attack(targets, typed.rate, min(5.0, typed.seconds))
    for turn in range(typed.turns):
        for busy in (False, True) if turn % 2 else (True, False):
            until_calm(pids_of(stack), within_s=10.0)
            with ExitStack() as open_:
                if busy:
                    open_.enter_context(campaigning(folder, typed))
                loaded = attack(targets, typed.rate, typed.seconds)
            found[busy].append((loaded.percentile(50), loaded.percentile(99)))
    ratios = [with_[1] / without[1] for with_, without in zip(found[True], found[False], strict=True)]
    rows = [
        BenchRow(f"live at {typed.rate:g}/s, {name}: p{q}", statistics.median(one[at] for one in found[busy]), "ms")
        for busy, name in ((False, "alone"), (True, "beside a campaign"))
        for at, q in enumerate((50, 99))
    ]
    return [*rows, BenchRow("live p99 beside a campaign, by p99 alone", statistics.median(ratios), "", SLOWER)]


if __name__ == "__main__":
    main()

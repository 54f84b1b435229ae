"""What device, region, hour, weekday and season bring the re-ranker, and what they cost. COMMAND, below, runs it.

Without `--events`: a synthetic shop whose items are wanted more on a device, at an hour, on a weekday and at a time of
the year of their own. A recording is replayed as
in training, with no session model. The first part is counted, the second learnt from, clicks of the third are ranked by
trees that learnt from the same clicks with and without the features. Changes are paired, intervals over sessions. Costs
are processor time, in pairs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.events import Event
from contracts.ids import event_key
from contracts.items import Item
from contracts.settings import TrendOptions
from evaluation.next_item import bootstrap
from eventlog.files import read_events
from learning.ablation import Ablation
from learning.groups import Groups, rank_of
from learning.replay import RankingGroup, Towers, TrainingReplay
from learning.training import Span, fit, replay_of
from learning.training_settings import RerankTrainingSettings
from nextclick.bench.report import BenchRow, console, expect_bench, finish
from replay.synthetic.leanings import Leanings
from replay.synthetic.shoppers import DAY_MS, FIRST_DAY_MS, Shop, make_shop, shoppers
from rerank.context import visitor_in
from rerank.features import FEATURES, PARTS, Parts
from rerank.pipeline import Pipeline, Query
from rerank.ranker import Ranker

COMMAND = "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m nextclick.bench.context"
NAME = "context"
SEED = 19
ITEMS, VISITS, DAYS = 600, 6_000, 12
LEANING: Final = Leanings(device=3.0, hour=3.0, weekday=3.0, season=3.0)
COUNTED, LEARNT = 0.76, 0.92
"""Shares of the log at which learning and asking begin."""
GROUPS, CASES, TREES = 3_000, 1_500, 60
ROUNDS = 300
PLACES = 20


@dataclass
class Learnt:
    """What one replay gave: groups to learn from, cases that are asked, and the parts that the recording has."""

    replay: TrainingReplay
    groups: Groups = field(default_factory=Groups)
    cases: list[RankingGroup] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)

    @property
    def parts(self) -> Parts:
        return self.replay.parts


def replayed(
    events: Sequence[Event], items: Iterable[tuple[str, Item]], settings: RerankTrainingSettings, cases: int = CASES
) -> Learnt:
    """Replay a log, and draw the next clicks to learn from and those to ask for."""
    replay = replay_of(Towers(), settings)
    replay.add_items([(name, item, events[0].ts) for name, item in items])
    total, cut = len(events), int(len(events) * LEARNT)
    learn = Span.between(cut, int(total * COUNTED), settings)
    ask = Span.between(total, cut, settings.model_copy(update={"groups": cases}))
    found = Learnt(replay)

    def is_asked(number: int, event: Event) -> bool:
        return (learn if number < cut else ask).asks(number, event, SEED)

    for group in replay.groups(events, is_asked, learn.learn_from):
        if group.number < cut:
            found.groups.add(group, np.random.default_rng([SEED, group.event]), settings.negatives)
        elif len(found.cases) < 2 * cases:
            found.cases.append(group)
            found.sessions.append(events[group.number].session_id)
    found.groups.parts = replay.parts
    return found


def ranker(learnt: Learnt, kept: tuple[str, ...], settings: RerankTrainingSettings) -> tuple[Ranker, Ablation]:
    """Return trees that learnt with the parts `kept` alone, and what leaves the others out of their rows."""
    names = [name for part in learnt.parts.names if part not in kept for name in _features(part)]
    every = (*FEATURES, *learnt.parts.features)
    left = Ablation(tuple(every.index(name) for name in names))
    groups = Groups(**{name: getattr(learnt.groups, name) for name in Groups.__slots__})
    groups.rows = [left.apply(rows) for rows in groups.rows]
    booster = fit(groups, settings, SEED)
    return Ranker(booster, model_version=0, parts=learnt.parts), left


def _features(part: str) -> tuple[str, ...]:
    return tuple(feature.name for feature in PARTS[part].features)


def gains(learnt: Learnt, kept: tuple[str, ...], settings: RerankTrainingSettings) -> NDArray[np.float64]:
    """Return hits and reciprocal ranks (2, cases) of trees with the parts `kept`; a click on no candidate is missed."""
    trees, left = ranker(learnt, kept, settings)
    ranks = np.array(
        [
            rank_of(trees.rank_scores(left.apply(case.rows)), case.target) if case.target >= 0 else 0
            for case in learnt.cases
        ]
    )
    hit = (ranks >= 1) & (ranks <= PLACES)
    return np.stack([hit.astype(np.float64), np.where(hit, 1.0 / np.maximum(ranks, 1), 0.0)])


def figures(name: str, learnt: Learnt, settings: RerankTrainingSettings) -> list[BenchRow]:
    """Return figures without context, and what each part, and all of them, change."""
    plain = gains(learnt, (), settings)
    _, owner = np.unique(learnt.sessions, return_inverse=True)
    rows = [BenchRow(f"{name}: clicks asked for", plain.shape[1], "")]
    for metric, before in zip((f"hit rate @{PLACES}", f"MRR @{PLACES}"), plain, strict=True):
        rows.append(BenchRow(f"{name}: {metric} without", float(before.mean()), "", better="higher"))
    every = learnt.parts.names
    for kept in ((part,) for part in every) if len(every) < 2 else (*((part,) for part in every), every):
        change = gains(learnt, kept, settings) - plain
        for metric, found in zip(
            ("hit rate", "MRR"), bootstrap(change, owner, np.random.default_rng(SEED)), strict=True
        ):
            what = f"{name}: {' + '.join(kept)}, change of {metric}"
            rows += [
                BenchRow(what, found.value, "", better="higher"),
                BenchRow(f"{what}, from", found.low, ""),
                BenchRow(f"{what}, to", found.high, ""),
            ]
    return rows


def costs(learnt: Learnt, events: Sequence[Event], settings: RerankTrainingSettings, rounds: int) -> list[BenchRow]:
    """Return what the features add to a request, in pairs: medians of processor time."""
    with_parts, _ = ranker(learnt, learnt.parts.names, settings)
    narrow = Learnt(learnt.replay, Groups(**{name: getattr(learnt.groups, name) for name in Groups.__slots__}))
    narrow.groups.rows = [np.ascontiguousarray(rows[:, : len(FEATURES)]) for rows in learnt.groups.rows]
    narrow.groups.parts = Parts()
    booster = fit(narrow.groups, settings, SEED)
    state, replay = learnt.replay.state, learnt.replay
    pipelines = {
        knows: Pipeline(state, None, one)
        for knows, one in ((False, Ranker(booster, model_version=0)), (True, with_parts))
    }
    asked = list(_queries(replay, events))
    took: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(-20, rounds):
        for knows in (False, True) if turn % 2 else (True, False):
            began = time.thread_time_ns()
            pipelines[knows].recommend([asked[turn % len(asked)]])
            if turn >= 0:
                took[knows].append((time.thread_time_ns() - began) / 1000)
    added = np.array(took[True]) - np.array(took[False])
    return [
        BenchRow("a request without context", float(np.median(took[False])), "us"),
        BenchRow(f"added to a request by {' + '.join(learnt.parts.names)}", float(np.median(added)), "us"),
    ]


def _queries(replay: TrainingReplay, events: Sequence[Event]) -> Iterator[Query]:
    """Yield requests of the sessions that were open last."""
    seen = set[str]()
    for event in reversed(events):
        session = replay.session_of(event.session_id, event.ts)
        if event.session_id not in seen and session is not None:
            seen.add(event.session_id)
            yield Query(events[-1].ts, session=session, **visitor_in(event.context))
        if len(seen) >= 50:
            return


def shop_events(shop: Shop, leanings: Leanings | None, visits: int = VISITS, days: int = DAYS) -> list[Event]:
    """Return the visits of a shop over so many days."""
    rng = np.random.default_rng(SEED)
    span_ms = days * DAY_MS
    return list(shoppers(shop, visits, rng, start_ms=FIRST_DAY_MS, span_ms=span_ms, leanings=leanings))


def drawn(path: Path, share: float) -> list[Event]:
    """Return the events of a share of a recording's sessions."""
    return [event for event in read_events(path) if event_key(event.session_id) < share * 2.0**64]


def settings_of(half_life: timedelta, groups: int = GROUPS, refresh_events: int = 200) -> RerankTrainingSettings:
    """Return settings that ask for every part."""
    trend = TrendOptions(half_life=half_life)
    return RerankTrainingSettings(
        groups=groups, trees=TREES, trend=trend, context=tuple(PARTS), refresh_events=refresh_events
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("--events", type=Path, help="A recorded event log (.jsonl.zst) instead of the synthetic shop.")
    parser.add_argument("--half-life-hours", type=float, help="Half-life of the trends: 720 of the shop, 12 of events.")
    parser.add_argument("--groups", type=int, default=GROUPS, help="Next clicks to learn from, about.")
    parser.add_argument("--cases", type=int, default=CASES, help="Next clicks to ask for, about.")
    parser.add_argument("--visits", type=int, default=VISITS, help="Visits to the synthetic shop.")
    parser.add_argument("--days", type=int, default=DAYS, help="Days over which they are spread; 480 for seasons.")
    parser.add_argument("--share", type=float, default=1.0, help="Share of the sessions of --events, by their ids.")
    asked = parser.parse_args()
    expect_bench(NAME)
    hours = asked.half_life_hours or (12.0 if asked.events else 720.0)
    settings = settings_of(timedelta(hours=hours), asked.groups, 1000 if asked.events else 200)
    rows: list[BenchRow] = []
    if asked.events:
        loads = [(asked.events.name, list[tuple[str, Item]](), drawn(asked.events, asked.share))]
    else:
        shop = make_shop(np.random.default_rng(SEED), ITEMS)
        loads = [("leanings", list(shop.items), shop_events(shop, LEANING, asked.visits, asked.days))]
    for name, items, events in loads:
        learnt = replayed(events, items, settings, asked.cases)
        for part, why in learnt.replay.left_out.items():
            console.print(f"{name}: left out {part}: {why}")
        rows += figures(name, learnt, settings)
        rows += costs(learnt, events, settings, ROUNDS)
    finish(NAME, rows, COMMAND)


if __name__ == "__main__":
    main()

"""What a user who comes back sees before the first click, in the synthetic shop with tastes and the shipped models.

    python -m nextclick.bench.arrivals [--sessions 8000]

Visits of the last day are asked for at their beginning, with the profile of the user's visits before that day; counted
is whether the page of 20 holds the first item that the visit clicks. Asked by the profile's vector alone, and with so
many of the user's own items beside it. Writes build/bench/arrivals.json.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from contracts.events import Event
from contracts.ids import ItemKey, event_key, item_key
from contracts.profiles import Profile
from contracts.sessions import CLICK, Clicks
from contracts.settings import ProfileOptions
from nextclick.bench.report import BenchRow, expect_bench, finish
from nextclick.bench.shop_pipeline import SEED, SyntheticShop, synthetic_shop
from replay.synthetic.shoppers import DAY_MS, FIRST_DAY_MS, Tastes, default_shop, shoppers
from rerank.affinities import Learnt, weights_of
from rerank.pipeline import Pipeline
from rerank.query import PipelineSettings, Query
from session_model.encoder import SessionEncoder
from session_model.profiles import ProfileRules, Visit, fold_visits, taste

LIMIT: Final = 20
VISITS_EACH: Final = 16
SHOP_SESSIONS: Final = 8_000
"""Visits that the shop's trends were learnt from."""
OWN: Final = (0, 5, 10, 20, 50)
OPTIONS: Final = ProfileOptions()


@dataclass(frozen=True, slots=True)
class Arrival:
    """One visit of a user with a profile: who comes, when, and what is clicked first."""

    profile: Profile
    now_ms: int
    first: ItemKey


def arrivals(served: SyntheticShop, sessions: int) -> list[Arrival]:
    """Return the first visits of the last day by users who had been there before it."""
    tastes = Tastes(max(sessions // VISITS_EACH, 1))
    events = shoppers(default_shop(), sessions, np.random.default_rng(SEED), name="guest", tastes=tastes)
    visits: dict[str, dict[str, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in events:
        if event.user_id is not None and event.item_id is not None:
            visits[event.user_id][event.session_id].append(event)
    since_ms, found = FIRST_DAY_MS + 6 * DAY_MS, list[Arrival]()
    for of_user in visits.values():
        before = [one for one in of_user.values() if one[-1].ts < since_ms]
        after = [one for one in of_user.values() if one[0].ts >= since_ms]
        if before and after:
            first = min(after, key=lambda one: one[0].ts)[0]
            found.append(Arrival(_profile(served, before), first.ts, item_key(first.item_id or "")))
    return found


def hit_rate(served: SyntheticShop, pipeline: Pipeline, asked: Sequence[Arrival]) -> float:
    """Return the share of arrivals whose page holds what is clicked first."""
    hits = 0
    for one in asked:
        items = pipeline.recommend([query_of(served, one)])[0].items
        hits += one.first in {item_key(item.item_id) for item in items}
    return hits / len(asked)


def query_of(served: SyntheticShop, asked: Arrival) -> Query:
    """Return what a gateway asks for a user who has not clicked anything in this session."""
    encoder, half_life_ms = _encoder(served), OPTIONS.half_life_ms
    vector = taste(asked.profile, encoder, served.replay.state.catalogue, asked.now_ms, half_life_ms)
    learnt = Learnt(asked.profile, weights_of(OPTIONS.weights), half_life_ms)
    return Query(asked.now_ms, limit=LIMIT, learnt=learnt, taste=vector)


def _profile(served: SyntheticShop, visits: Iterable[Sequence[Event]]) -> Profile:
    encoder, catalogue, told = _encoder(served), served.replay.state.catalogue, list[Visit]()
    for number, events in enumerate(visits):
        window = _window(events)
        states, _ = encoder.encode([window], catalogue)
        vector = encoder.query(states)[0]
        told.append(Visit(number, window, events[-1].ts, vector, seen_ms=events[-1].ts))
    return fold_visits(None, told, ProfileRules(), model_version=encoder.version)


def _encoder(served: SyntheticShop) -> SessionEncoder:
    encoder = served.replay.towers.encoder
    assert encoder is not None  # the shipped models have one
    return encoder


def _window(events: Sequence[Event]) -> Clicks:
    made = [(one.ts, item_key(one.item_id or ""), event_key(one.event_id), one.code) for one in events]
    return np.array(made, CLICK)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextclick.bench.arrivals", description=__doc__)
    parser.add_argument("--sessions", type=int, default=8_000)
    options = parser.parse_args()
    expect_bench("arrivals")
    served = synthetic_shop(SHOP_SESSIONS)
    asked = arrivals(served, options.sessions)
    rows = [
        BenchRow(
            f"{own} own items: pages of {LIMIT} with the first click",
            hit_rate(served, served.pipeline(PipelineSettings(own=own)), asked),
            "",
            better="higher",
        )
        for own in OWN
    ]
    finish(
        "arrivals",
        [*rows, BenchRow("arrivals", len(asked), "")],
        f"make bench-arrivals ARGS='--sessions {options.sessions}'",
    )


if __name__ == "__main__":
    main()

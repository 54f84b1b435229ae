"""What the trends flow writes is what training counted: the same clicks through both, into columns of each."""

from __future__ import annotations

import numpy as np

from contracts.codec import EndedSession, decode_ended, decode_trend
from contracts.events import Event
from contracts.ids import ItemKey, event_key, item_key
from contracts.settings import SessionSettings
from flows.trend_steps import ItemTally, Seen, SessionRow, SessionTrace, TrendRow
from learning.past import Past, Towers
from rerank.query import PipelineSettings
from retrieval.session_columns import SessionColumns
from retrieval.trend_columns import TrendColumns
from retrieval.trends import TrendAccumulator, TrendRules
from tests.rerank.shop import CATEGORIES
from tests.rerank.traffic import START, traffic
from tests.rerank.traffic import event as click

RULES = TrendRules()
GAP_MS = 1_800_000
TIMES = {"idle_gap_ms": GAP_MS, "now_ms": 0}


def flowed(events: list[Event]) -> tuple[TrendColumns, SessionColumns]:
    """Return the columns of a gateway behind the trends flow, which writes a row at every change."""
    columns, ended = TrendColumns(RULES), SessionColumns()
    traces: dict[str, SessionTrace] = {}
    tallies: dict[ItemKey, ItemTally] = {}
    for event in events:
        assert event.item_id is not None
        key = item_key(event.item_id)
        seen = Seen(event_key(event.event_id), event.ts, (key,), event.item_id, event.code)
        trace = traces.setdefault(event.session_id, SessionTrace())
        for said in trace.take([seen], rules=RULES, idle_gap_ms=GAP_MS, now_ms=event.ts):
            assert not isinstance(said, EndedSession)  # a session that is over leaves its trace below
            item, update = said
            tally = tallies.setdefault(item, ItemTally(TrendAccumulator(RULES), announced=True))
            for row in tally.take([update], now_ms=event.ts, emit_interval_ms=0):
                assert isinstance(row, TrendRow)
                assert row.row is not None
                columns.apply([(item, decode_trend(row.row))])
        for name in [name for name, one in traces.items() if one.is_over(**TIMES, watermark_ms=event.ts)]:
            for kept in traces.pop(name).ended():
                assert isinstance(kept, EndedSession)
                slot, over = SessionRow.of(name, kept, RULES)
                ended.apply([(slot, decode_ended(over))])
    return columns, ended


def restless(visitors: int) -> list[Event]:
    """Visitors who look again and again, go back after dozens of clicks, and click twice in a millisecond."""
    random, events = np.random.default_rng(9), list[Event]()
    for visitor in range(visitors):
        items = [*random.integers(0, 12, 30), *[3] * 60, *random.integers(0, 12, 30)]
        for at, item in enumerate(items):
            ts = START + 900_000 * visitor + 500 * (at // 2)
            events.append(click(100_000 + 1000 * visitor + at, f"r{visitor}", f"shoes-{item}", ts))
    return events


def test_the_flow_and_training_serve_the_same_counts() -> None:
    events = sorted([*traffic(200), *restless(12)], key=lambda one: one.ts)
    past = Past(Towers(), SessionSettings(), PipelineSettings(), RULES, refresh_events=50)
    list(past.batches(events, lambda number, event: False, 0))
    past.refresh()
    (served, ended), now_ms = flowed(events), events[-1].ts
    keys = np.sort(past.trends.keys)
    np.testing.assert_array_equal(keys, np.sort(served.keys))
    one, other = past.trends.rows_of(keys), served.rows_of(keys)
    np.testing.assert_allclose(served.popularity_at(other, now_ms), past.trends.popularity_at(one, now_ms), rtol=1e-5)
    np.testing.assert_allclose(served.recent_at(other, now_ms), past.trends.recent_at(one, now_ms), rtol=1e-5)
    np.testing.assert_array_equal(served.came_at(other), past.trends.came_at(one))
    assert (served.came_at(other).sum(axis=0) > 0).all()
    assert served.recent(now_ms, 5).tolist() == past.trends.recent(now_ms, 5).tolist()
    (named, shares), (trained, expected) = served.neighbours_of(keys), past.trends.neighbours_of(keys)
    np.testing.assert_array_equal(np.sort(named, axis=1), np.sort(trained, axis=1))
    by_name, by_trained = np.argsort(named, axis=1), np.argsort(trained, axis=1)
    np.testing.assert_allclose(
        np.take_along_axis(shares, by_name[:, :, None], axis=1),
        np.take_along_axis(expected, by_trained[:, :, None], axis=1),
        rtol=2e-3,
    )
    assert len(ended) == len(past.ended) > 100
    walks = [[item_key(f"{category}-{at}") for at in (3, 2, 1)] for category in CATEGORIES]
    starts = np.arange(len(walks) + 1) * len(keys)
    asked = [
        one.votes(np.array(walks, np.uint64), np.tile(keys, len(walks)), starts, clicks=10, newest=20)
        for one in (ended, past.ended)
    ]
    np.testing.assert_array_equal(asked[0].cosine, asked[1].cosine)
    for name in ("votes", "next", "before", "next_alike", "next_exactly", "later_alike"):
        np.testing.assert_array_equal(getattr(asked[0], name), getattr(asked[1], name))
        assert (getattr(asked[0], name) > 0).any(), name

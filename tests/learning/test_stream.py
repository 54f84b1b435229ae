"""Test-then-train: what is predicted from what, and that the future changes nothing."""

from __future__ import annotations

import numpy as np

from contracts.events import Event
from contracts.settings import SessionSettings
from evaluation.baselines import CoVisitation, RecentPopularity
from evaluation.stream_knn import StreamKnn
from learning.replay import Towers, TrainingReplay
from learning.stream import ENCODER, HOUR_MS, PIPELINE, RETRIEVAL, Model, StreamFound, StreamOptions, stream
from rerank.query import PipelineSettings
from retrieval.trends import TrendRules
from tests.learning.test_parity import tower
from tests.rerank.shop import encoder
from tests.rerank.test_ranker import ranker
from tests.rerank.traffic import START, event, traffic


def streamed(
    events: list[Event], from_ms: int = START, new_for_ms: int = HOUR_MS, share: float = 1.0, seed: int = 1
) -> StreamFound:
    towers = Towers(encoder(), tower())
    replay = TrainingReplay(towers, SessionSettings(), PipelineSettings(), TrendRules(), refresh_events=10)
    begin = sum(one.ts < from_ms for one in events)
    options = StreamOptions(begin, from_ms, events[-1].ts + 1, new_for_ms, share, seed)
    models = iter([Model(from_ms, towers, ranker())])
    return stream(events, replay, models, (RecentPopularity(), CoVisitation(), StreamKnn()), options)


def test_every_model_is_asked_for_every_click_on_an_item_that_is_new_to_its_session() -> None:
    events = [
        event(0, "a", "shoes-1", START),
        event(1, "a", "shoes-2", START + 1000),
        event(2, "a", "shoes-1", START + 2000),
        event(3, "b", "shoes-1", START + 3000),
        event(4, "b", "shoes-2", START + 4000),
    ]
    found = streamed(events)
    assert found.hours == [0, 0]
    assert found.new == [True, True]
    assert found.ranks["co-visitation"] == [0, 1]
    assert set(found.ranks) == {
        "recent popularity",
        "co-visitation",
        "session-kNN",
        ENCODER,
        RETRIEVAL,
        PIPELINE,
    }
    assert {len(places) for places in found.ranks.values()} == {2}


def test_an_item_is_new_for_an_hour_after_its_first_click() -> None:
    hour = HOUR_MS
    events = [
        event(0, "a", "shoes-1", START),
        event(1, "b", "shoes-2", START + hour // 2),
        event(2, "b", "shoes-1", START + hour // 2 + 1),
        event(3, "c", "shoes-3", START + hour),
        event(4, "c", "shoes-1", START + hour + 1),
    ]
    found = streamed(events)
    assert (found.hours, found.new) == ([0, 1], [True, False])


def test_a_share_of_the_clicks_is_asked_for_and_all_are_learned() -> None:
    events = traffic(300)
    every, some = streamed(events), streamed(events, share=0.3)
    again, others = streamed(events, share=0.3), streamed(events, share=0.3, seed=2)
    assert 0.2 < len(some.hours) / len(every.hours) < 0.4
    assert some.ranks == again.ranks
    assert some.ranks != others.ranks
    places = np.array(some.ranks["co-visitation"])
    whole = np.array(every.ranks["co-visitation"])
    assert abs((places > 0).mean() - (whole > 0).mean()) < 0.1


def test_the_pipeline_learns_as_it_goes() -> None:
    found = streamed(traffic(400), START + 100 * 60_000)
    places = np.array(found.ranks[RETRIEVAL])
    assert len(places) > 500
    assert ((places > 0) & (places <= 10)).mean() > 0.9
    assert (np.array(found.ranks[ENCODER]) > 0).mean() > 0.5


def test_shuffling_the_future_changes_no_past_prediction() -> None:
    events = traffic(200)
    cut = len(events) // 2
    order = np.random.default_rng(4).permutation(np.arange(cut, len(events)))
    future = [
        events[at].model_copy(update={"ts": events[place].ts, "item_id": events[-at].item_id})
        for place, at in zip(range(cut, len(events)), order.tolist(), strict=True)
    ]
    before, after = streamed(events), streamed(events[:cut] + future)
    hours = np.array(before.hours)
    kept = _asked_before(events, cut)
    assert kept > 100
    for name, places in before.ranks.items():
        assert places[:kept] == after.ranks[name][:kept], name
    assert before.ranks[RETRIEVAL][kept:] != after.ranks[RETRIEVAL][kept:]
    assert len(hours) > kept


def _asked_before(events: list[Event], cut: int) -> int:
    """How many cases the first `cut` events make: clicks that continue a session on an item new to it."""
    held: dict[str, set[str]] = {}
    count = 0
    for one in events[:cut]:
        items = held.setdefault(one.session_id, set())
        count += bool(items) and one.item_id not in items
        items.add(one.item_id or "")
    return count

"""Events become sessions by the rules of the live path; batches are drawn from them as they say."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.events import Event
from session_model.batches import Sampler, session_weights
from session_model.histories import Histories, from_events

GAP_MS = 1000


def event(session: str, item: str | None, ts: int, type: str = "view", event_id: str | None = None) -> Event:
    fields = {"items": ["a"]} if type == "impression" else {}
    return Event(
        v=1,
        event_id=event_id or f"{session}{item}{ts}{type}",
        type=type,
        session_id=session,
        item_id=item,
        ts=ts,
        **fields,
    )


def build(events: list[Event], max_clicks: int = 50) -> Histories:
    return from_events(events, idle_gap_ms=GAP_MS, max_clicks=max_clicks)


def names(histories: Histories) -> list[list[str]]:
    return [
        [histories.item_ids[item] for item in histories.items[start:end]]
        for start, end in zip(histories.starts[:-1], histories.starts[1:], strict=True)
    ]


def test_clicks_are_grouped_by_session_and_sessions_come_in_order_of_their_last_click() -> None:
    histories = build([event("s", "a", 0), event("t", "b", 10), event("t", "c", 20), event("s", "d", 30)])
    assert names(histories) == [["b", "c"], ["a", "d"]]
    assert histories.ended_ms.tolist() == [20, 30]


def test_a_pause_longer_than_the_idle_gap_ends_the_session() -> None:
    histories = build([event("s", "a", 0), event("s", "b", 1000), event("s", "c", 2001)])
    assert names(histories) == [["a", "b"], ["c"]]


def test_events_out_of_order_are_put_in_order_and_a_repeated_id_counts_once() -> None:
    histories = build([event("s", "b", 5, event_id="x"), event("s", "a", 1), event("s", "b", 5, event_id="x")])
    assert names(histories) == [["a", "b"]]


def test_impressions_and_unknown_types_are_no_clicks() -> None:
    histories = build([event("s", "a", 0), event("s", None, 1, "impression"), event("s", "b", 2, "wishlist")])
    assert names(histories) == [["a"]]


def test_a_long_session_keeps_its_last_clicks() -> None:
    histories = build([event("s", str(at), at) for at in range(9)] + [event("t", "x", 3)], max_clicks=3)
    assert names(histories) == [["x"], ["6", "7", "8"]]


def test_no_events_make_no_sessions() -> None:
    assert len(build([])) == 0


def test_the_cart_of_the_item_just_viewed_is_not_to_be_predicted() -> None:
    clicks = [("a", "view"), ("a", "cart"), ("b", "view"), ("b", "view"), ("c", "cart"), ("c", "purchase")]
    histories = build([event("s", item, at, kind) for at, (item, kind) in enumerate(clicks)])
    assert histories.targets().tolist() == [False, False, True, True, True, False]


def many() -> Histories:
    rng = np.random.default_rng(0)
    return build(
        [event(f"s{n}", f"i{rng.integers(9)}", n * 10_000 + at) for n in range(200) for at in range(1 + n % 6)]
    )


def test_recent_sessions_are_drawn_more_often_and_single_clicks_never() -> None:
    weights = session_weights(many(), half_life_share=0.5)
    assert float(weights.sum()) == pytest.approx(1.0)
    assert weights[0] == 0.0  # one click
    assert float(weights[199] / weights[99]) == pytest.approx(2.0, rel=0.01)


def test_a_batchs_candidates_hold_its_clicks_and_targets_once_each() -> None:
    histories = many()
    sampler = Sampler.of(histories, half_life_share=0.5, power=0.5, batch_sessions=8, negatives=3)
    batches = list(sampler.epoch(np.random.default_rng(1)))
    assert len(batches) == sampler.batches == 21
    for batch in batches:
        assert len(set(batch.rows.tolist())) == len(batch.rows)
        assert batch.clicks.shape == batch.codes.shape
        assert batch.clicks.shape[0] == 8
        assert int(batch.clicks.max()) < len(batch.rows)
        flat = batch.clicks.ravel()
        assert flat[batch.after + 1].tolist() == batch.target.tolist()
        assert flat[batch.after].tolist() == batch.last.tolist()
        assert (batch.log_q <= 0.0).all()


def test_log_q_is_the_log_of_the_chance_to_be_a_candidate() -> None:
    histories = many()
    sampler = Sampler.of(histories, half_life_share=0.5, power=0.5, batch_sessions=4, negatives=2)
    rng = np.random.default_rng(3)
    weights = sampler.weights
    seen, said = np.zeros(9), np.zeros(9)
    rounds = 3000
    for _ in range(rounds):
        batch = sampler.batch(rng.choice(len(histories), 4, p=weights), rng)
        seen[batch.rows] += 1
        said[batch.rows] += np.exp(batch.log_q)
    # the chance is worked out as if a batch's clicks were drawn one by one; they come by whole sessions
    assert float(np.abs(seen / rounds - said / seen).max()) < 0.06


def test_the_same_generator_draws_the_same_batches() -> None:
    sampler = Sampler.of(many(), half_life_share=0.5, power=0.5, batch_sessions=8, negatives=3)
    one, two = (list(sampler.epoch(np.random.default_rng(7))) for _ in range(2))
    assert all(
        np.array_equal(a.clicks, b.clicks) and np.array_equal(a.rows, b.rows) for a, b in zip(one, two, strict=True)
    )

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import islice

import orjson
from hypothesis import given
from hypothesis import strategies as st

from replay.engine.clone import Clones, Recorded, cloned
from replay.engine.pacer import FixedRate, TimesFaster
from replay.engine.schedule import Rewriting, Share, schedule

EVENTS = st.lists(
    st.tuples(st.integers(min_value=0, max_value=300_000), st.sampled_from("abcde")), min_size=1, max_size=60
).map(lambda drawn: sorted(drawn, key=lambda one: one[0]))


def recorded(events: list[tuple[int, str]]) -> Iterator[Recorded]:
    for place, (ts_ms, session) in enumerate(events):
        fields = {"event_id": f"e{place}", "session_id": session, "user_id": f"u{session}", "ts": ts_ms}
        yield Recorded(place, ts_ms, session, fields)


def raw(events: list[tuple[int, str]]) -> list[bytes]:
    return [orjson.dumps(one.fields) for one in recorded(events)]


@given(EVENTS, st.integers(min_value=1, max_value=5), st.floats(min_value=0, max_value=100), st.integers(0, 3))
def test_clones_are_all_there_in_time_order_and_keep_the_order_within_a_session(
    events: list[tuple[int, str]], copies: int, spread_s: float, seed: int
) -> None:
    found = list(cloned(recorded(events), Clones(copies, spread_s, seed)))
    assert len(found) == len({one.fields["event_id"] for one in found}) == copies * len(events)
    assert sorted(one.place for one in found) == list(range(copies * len(events)))
    assert [one.ts_ms for one in found] == sorted(one.ts_ms for one in found)
    by_session: dict[str, list[int]] = {}
    for one in found:
        by_session.setdefault(one.session_id, []).append(int(one.fields["event_id"][1:].partition("~")[0]))
    assert len(by_session) == copies * len({session for _, session in events})
    for order in by_session.values():
        assert order == sorted(order)


@given(EVENTS, st.integers(min_value=2, max_value=5))
def test_a_clone_of_a_session_starts_within_the_spread_and_keeps_its_rhythm(
    events: list[tuple[int, str]], copies: int
) -> None:
    delays: dict[str, set[int]] = {}
    for one in cloned(recorded(events), Clones(copies, 30.0)):
        place = one.place // copies
        delays.setdefault(one.session_id, set()).add(one.ts_ms - events[place][0])
        assert one.fields["ts"] == one.ts_ms
    assert all(len(one) == 1 for one in delays.values())
    assert all(0 <= one.pop() < 30_000 for one in delays.values())


def test_the_recorded_visitors_are_among_them_and_the_others_have_ids_of_their_own() -> None:
    found = {one.fields["event_id"]: one.fields for one in cloned(recorded([(5, "a")]), Clones(3))}
    assert found["e0"] == {"event_id": "e0", "session_id": "a", "user_id": "ua", "ts": 5}
    assert {fields["session_id"] for fields in found.values()} == {"a", "a~1", "a~2"}
    assert {fields["user_id"] for fields in found.values()} == {"ua", "ua~1", "ua~2"}


def test_the_same_seed_starts_clones_at_the_same_moments_and_another_at_others() -> None:
    starts = [[Clones(9, 60.0, seed).delay_ms(copy, "s") for copy in range(9)] for seed in (1, 1, 2)]
    assert starts[0] == starts[1] != starts[2]
    assert starts[0][0] == 0
    assert len(set(starts[0])) == 9


def test_cloning_holds_no_more_than_the_spread() -> None:
    """100,000 events a second apart, 20 copies over 10 s: what waits is 200 events, whatever is behind."""
    events = (
        Recorded(n, n * 1000, f"s{n}", {"event_id": f"e{n}", "session_id": f"s{n}", "ts": n * 1000})
        for n in range(100_000)
    )
    found = cloned(events, Clones(20, 10.0))
    tracemalloc.start()
    assert sum(1 for _ in islice(found, 200_000)) == 200_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@given(EVENTS, st.integers(1, 4), st.integers(1, 5), st.booleans())
def test_workers_shares_are_the_schedule_split_by_session(
    events: list[tuple[int, str]], copies: int, workers: int, fixed: bool
) -> None:
    pace = FixedRate(7.0) if fixed else TimesFaster(3.0)
    plans = [
        list(
            schedule(raw(events), pace, Rewriting("r"), start_ms=0, clones=Clones(copies), share=Share(number, workers))
        )
        for number in range(workers)
    ]
    whole = list(schedule(raw(events), pace, Rewriting("r"), start_ms=0, clones=Clones(copies)))
    together = sorted((one for plan in plans for one in plan), key=lambda one: one.index)
    assert together == sorted(whole, key=lambda one: one.index)
    sessions = [{one.session_id for one in plan} for plan in plans]
    assert sum(len(one) for one in sessions) == len(set().union(*sessions))


def test_a_limit_counts_the_events_of_all_workers() -> None:
    events = [(n, f"s{n}") for n in range(100)]
    plans = [
        list(schedule(raw(events), FixedRate(1), Rewriting("r"), start_ms=0, limit=30, share=Share(number, 3)))
        for number in range(3)
    ]
    assert sum(len(plan) for plan in plans) == 30
    assert max(one.offset_s for plan in plans for one in plan) == 29.0

"""Visits, the moments that are asked for, and what is known at them."""

from __future__ import annotations

from typing import cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from contracts.events import Event
from evaluation.splits import DAY_MS
from learning.replay import Towers
from learning.users.known import Knowing, Known
from learning.users.settings import UserSettings
from learning.users.visits import Moments, Visits, learnt_sessions, moments_between, read_visits
from session_model.item_tower import ItemTower
from tests.learning.users.visitors import BEGUN_MS, GAP_MS, OneHot, encoder, event, visits_of

DIM = 5
LOG = visits_of(
    ("s1", "u", "ab", 0), ("s2", "v", "c", 0.5), ("s3", "u", "bbc", 1), ("s4", None, "a", 1.5), ("s5", "u", "d", 2)
)


def read(log: list[Event]) -> Visits:
    return read_visits(log, GAP_MS)


def knowing(visits: Visits) -> Knowing:
    return Knowing(visits, Towers(encoder(DIM), cast(ItemTower, OneHot(DIM))), {}, UserSettings(half_life_days=1.0))


def day(number: float) -> int:
    return BEGUN_MS + int(number * DAY_MS)


def test_a_visitor_s_history_is_what_ended_before_the_visit_began() -> None:
    visits = read(LOG)
    assert [visits.history(one).tolist() for one in range(5)] == [[], [], [0], [], [0, 2]]
    assert visits.users.tolist() == [0, 1, 0, -1, 0]


def test_two_visits_at_once_are_no_history_of_each_other() -> None:
    log = [event(1, "s1", "u", "a", 0), event(2, "s2", "u", "b", 1000), event(3, "s1", "u", "c", 2000)]
    assert read(log).earlier.tolist() == [0, 0]


def test_one_who_signs_in_during_a_visit_is_unknown_in_it() -> None:
    log = [event(1, "s1", None, "a", 0), event(2, "s1", "u", "b", 1000)]
    assert read(log).users.tolist() == [-1]


def test_moments_are_arrivals_and_later_clicks_but_no_click_on_the_item_before() -> None:
    visits = read(LOG)
    moments = moments_between(visits, 0, day(9))
    ids = visits.sessions.item_ids
    told = [(int(s), int(k), ids[t]) for s, k, t in zip(moments.session, moments.known, moments.targets, strict=True)]
    assert told == [(2, 0, "b"), (2, 2, "c"), (4, 0, "d")]


def test_a_visit_that_has_not_ended_is_not_learnt_from() -> None:
    visits = read(LOG)
    middle = day(1) + 90_000
    assert len(learnt_sessions(visits, middle)) == 2
    assert len(moments_between(visits, 0, middle)) == 0


def test_what_is_known_on_arrival_and_after_a_click() -> None:
    visits = read(LOG)
    found = knowing(visits).of(Moments(np.array([4, 2]), np.array([0, 2]), np.array([3, 2], np.int32)))
    hours = np.array([2 - 1 / 1440, 1 - 2 / 1440])  # since s1 and s3 ended, in days
    assert np.allclose(found.history.toarray()[0][:3], 0.5**hours @ [[1, 1, 0], [0, 2, 1]])
    assert found.session.toarray().tolist() == [[0, 0, 0, 0], [0, 2, 0, 0]]
    assert found.query[0].tolist() == [0.0] * DIM
    assert np.allclose(found.query[1], [0, 1, 0, 0, 0])
    assert np.allclose(np.linalg.norm(found.profile, axis=1), 1.0)
    assert found.profile[1][1] > found.profile[1][0] > 0.0  # of s1: b after a


CLICKS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvw"), st.sampled_from("xyz"), st.integers(0, 4 * 24)),
    min_size=2,
    max_size=40,
)


def log_of(rows: list[tuple[str, str, str, int]]) -> list[Event]:
    ordered = sorted(rows, key=lambda row: row[3])
    return [event(at, f"{u}{s}", u, item, hour * 3_600_000 + at) for at, (item, u, s, hour) in enumerate(ordered)]


@given(CLICKS, CLICKS, st.integers(1, 4 * 24))
def test_nothing_known_or_learnt_comes_from_later_clicks(
    early: list[tuple[str, str, str, int]], late: list[tuple[str, str, str, int]], hour: int
) -> None:
    cut_ms = BEGUN_MS + hour * 3_600_000
    before = [row for row in early if row[3] < hour]
    if not before:
        return
    short, long = read(log_of(before)), read(log_of(before + [row for row in late if row[3] >= hour]))
    assert told(short, cut_ms - GAP_MS) == told(long, cut_ms - GAP_MS)


def told(visits: Visits, to_ms: int) -> list[object]:
    """What is learnt from before a time, and known at its moments, by item id."""
    moments = moments_between(visits, 0, to_ms)
    known = knowing(visits).of(moments)
    ids = visits.sessions.item_ids
    learnt = learnt_sessions(visits, to_ms)
    return [
        [ids[item] for item in learnt.items],
        [ids[item] for item in moments.targets],
        _by_id(known, ids),
        known.profile.round(5).tolist(),
        known.query.round(5).tolist(),
        known.facts.round(5).tolist(),
    ]


def _by_id(known: Known, ids: tuple[str, ...]) -> list[dict[str, float]]:
    both = known.both.toarray()
    return [{ids[item]: round(float(row[item]), 5) for item in np.flatnonzero(row)} for row in both]

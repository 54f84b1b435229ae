"""What ended sessions say of candidates: by hand, and against counting them one by one."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.codec import EndedSession
from retrieval.ended_sessions import KEPT_CLICKS, Slot
from retrieval.session_columns import SessionColumns, Votes

T0 = 1_700_000_000_000
A, B, C, D, UNKNOWN = 11, 12, 13, 14, 99


def kept(started: int, *items: int) -> EndedSession:
    return EndedSession(T0 + started, np.array(items, np.uint64))


def columns(*sessions: EndedSession) -> SessionColumns:
    made = SessionColumns()
    made.apply((Slot(slot), session) for slot, session in enumerate(sessions))
    return made


def ask(
    held: SessionColumns, clicked: list[int], candidates: list[int], *, clicks: int = 10, newest: int = 500
) -> Votes:
    window, keys = np.array([clicked], np.uint64), np.array(candidates, np.uint64)
    return held.votes(window, keys, np.array([0, len(candidates)]), clicks=clicks, newest=newest)


def test_sessions_vote_for_what_else_they_held() -> None:
    held = columns(kept(0, A, B), kept(1, A, C), kept(2, B, C), kept(3, A, B, D))

    found = ask(held, [A], [B, C, D, UNKNOWN])

    rare = math.log(4 / 3)  # three of four sessions held A
    assert found.votes.tolist() == pytest.approx([2 * rare, rare, rare, 0])
    assert found.cosine_last.tolist() == pytest.approx([2 / 3, 1 / math.sqrt(6), 1 / math.sqrt(3), 0])
    assert found.cosine.tolist() == found.cosine_last.tolist()


def test_an_older_click_counts_less_and_an_item_has_votes_but_no_cosine_of_its_own() -> None:
    held = columns(kept(0, A, C), kept(1, B, C), kept(2, B, D), kept(3, D, C))

    found = ask(held, [A, B, A], [A, B, C])

    rare_a, rare_b = math.log(4 / 1), 0.85 * math.log(4 / 2)
    assert found.votes.tolist() == pytest.approx([rare_a, 2 * rare_b, rare_a + rare_b])
    assert found.cosine_last.tolist() == pytest.approx([0, 0, 1 / math.sqrt(3)])
    assert found.cosine.tolist() == pytest.approx([0, 0, 1 / math.sqrt(3) + 1 / math.sqrt(6)])


def test_an_item_that_a_session_came_back_to_votes_once() -> None:
    held = columns(kept(0, A, B, A, B), kept(1, A, C), kept(2, C, D))

    found = ask(held, [A], [A, B, C])

    rare = math.log(3 / 2)
    assert found.votes.tolist() == pytest.approx([2 * rare, rare, rare])
    assert found.cosine_last.tolist() == pytest.approx([0, 1 / math.sqrt(2), 1 / math.sqrt(4)])
    held.apply([(Slot(0), None)])
    assert ask(held, [A], [A, B, C]).votes.tolist() == pytest.approx([math.log(2), 0, math.log(2)])


def test_what_came_right_after_and_right_before_is_told_of_every_click_on_the_newest_item() -> None:
    held = columns(kept(0, A, B, A, C), kept(1, D, A), kept(2, B, C))

    found = ask(held, [A], [B, C, D])

    assert found.next.tolist() == pytest.approx([1 / 6, 1 / 6, 0])  # of three clicks on A, and three undecided ones
    assert found.before.tolist() == pytest.approx([1 / 6, 0, 1 / 6])
    assert found.next_alike.tolist() == found.next_exactly.tolist() == found.later_alike.tolist() == [0, 0, 0]


def test_a_session_that_came_the_visitors_way_tells_more() -> None:
    held = columns(kept(0, D, B, A, C, D), kept(1, A, B, C), kept(2, D, A, B), kept(3, B, C))

    found = ask(held, [A, B, D], [B, C, D])

    b, d = 0.85, 0.85**2  # what the visitor's other items weigh: session 0 had held both, session 2 the older
    weights = b + d + d
    assert found.next_alike.tolist() == pytest.approx([d / (weights + 1), (b + d) / (weights + 1), 0])
    assert found.next_exactly.tolist() == pytest.approx([0, 1 / 2, 0])  # only session 0 came from B
    assert found.later_alike.tolist() == pytest.approx([math.log1p(d), math.log1p(b + d), math.log1p((b + d) / 2)])


def test_sessions_of_as_many_clicks_as_are_kept_do_not_run_into_each_other() -> None:
    long = [*range(100, 100 + KEPT_CLICKS - 1), A]
    held = columns(kept(0, *long), kept(1, B, *long[1:]), kept(2, A, C))

    found = ask(held, [A], [B, C, 100, long[-2]])

    assert found.next.tolist() == pytest.approx([0, 1 / 6, 0, 0])
    assert found.before.tolist() == pytest.approx([0, 0, 0, 2 / 6])


def test_sessions_that_began_at_once_say_the_same_in_whatever_order_they_came() -> None:
    random = np.random.default_rng(8)
    sessions = [kept(0, *random.integers(1, 9, 6).tolist()) for _ in range(300)]
    both = [ask(columns(*order), [1, 2, 3, 4], list(range(1, 9))) for order in (sessions, sessions[::-1])]
    for one in fields(Votes):
        assert getattr(both[0], one.name).tolist() == getattr(both[1], one.name).tolist(), one.name


def test_a_second_look_at_the_newest_item_does_not_hide_where_the_visitor_came_from() -> None:
    held = columns(kept(0, B, A, C), kept(1, A, D))

    assert ask(held, [A, A, B], [C, D]).next_exactly.tolist() == pytest.approx([0.5, 0])
    assert ask(held, [UNKNOWN, A, A, B], [C, D]).next_exactly.tolist() == pytest.approx([0.5, 0])


def test_only_the_newest_sessions_of_an_item_are_asked() -> None:
    held = columns(kept(5, A, D), kept(0, A, B), kept(9, A, C))

    found = ask(held, [A], [B, C, D], newest=2)

    assert found.cosine_last.tolist() == pytest.approx([0, 0.5**0.5, 0.5**0.5])


def test_only_the_newest_clicks_ask() -> None:
    held = columns(kept(0, A, C), kept(1, B, D), kept(2, C, D))

    assert ask(held, [A, B], [C, D], clicks=1).cosine.tolist() == pytest.approx([0.5**0.5, 0])
    assert ask(held, [UNKNOWN, A, B], [C, D], clicks=1).cosine.tolist() == pytest.approx([0.5**0.5, 0])


def test_a_slot_that_is_taken_forgets_the_session_that_held_it() -> None:
    held = columns(kept(0, A, B), kept(1, A, C))

    held.apply([(Slot(0), kept(2, A, D))])
    assert (ask(held, [A], [B, C, D]).cosine_last > 0).tolist() == [False, True, True]
    assert len(held) == 2

    held.apply([(Slot(1), None)])
    assert (ask(held, [A], [B, C, D]).cosine_last > 0).tolist() == [False, False, True]
    assert len(held) == 1


def test_a_load_of_many_and_sessions_one_by_one_come_to_the_same() -> None:
    """A load sorts what it puts out of order when it is asked, or when a slot is taken; one by one they are put in."""
    random = np.random.default_rng(5)
    sessions = [
        (Slot(slot), kept(int(random.integers(0, 10_000)), *random.integers(0, 8, 5).tolist())) for slot in range(400)
    ]
    loaded, one_by_one = SessionColumns(), SessionColumns()
    loaded.apply(sessions)
    for session in sessions[::-1]:
        one_by_one.apply([session])
    taken = [(Slot(slot), kept(20_000 + slot, A, 1, 2)) for slot in range(0, 400, 7)]
    for held in (loaded, one_by_one):
        held.apply(taken)
    both = [ask(held, [1, A, 3], [*range(8), A], newest=20) for held in (loaded, one_by_one)]
    for one in fields(Votes):
        told = [getattr(said, one.name).tolist() for said in both]
        assert told[0] == told[1]
        assert max(told[0]) > 0, one.name


def test_the_slots_that_hold_a_session_are_named() -> None:
    held = columns(kept(0, A, B), kept(1, A, C), kept(2, A, D))
    held.apply([(Slot(1), None), (Slot(400_000), kept(3, B, C))])
    assert sorted(held.slots()) == [0, 2, 400_000]


def test_without_sessions_or_candidates_nothing_is_said() -> None:
    assert ask(SessionColumns(), [A], [B]).votes.tolist() == [0]
    assert ask(columns(kept(0, A, B)), [A], []).votes.tolist() == []
    assert ask(columns(kept(0, A, B)), [0], [B]).cosine.tolist() == [0]


def test_requests_of_a_batch_are_answered_each_for_itself() -> None:
    held = columns(kept(0, A, B), kept(1, C, D))
    windows = np.array([[A, 0], [C, A]], np.uint64)

    found = held.votes(windows, np.array([B, D, B, D], np.uint64), np.array([0, 2, 4]), clicks=10, newest=10)

    assert found.cosine_last.tolist() == pytest.approx([1, 0, 0, 1])
    assert found.cosine.tolist() == pytest.approx([1, 0, 1, 1])


CHANGES = st.lists(
    st.tuples(st.integers(0, 6), st.none() | st.lists(st.integers(1, 8), min_size=2, max_size=6)),
    max_size=40,
)


def by_counting(sessions: list[list[int]], asked: list[int], before: int | None, candidate: int) -> list[float]:
    """What the sessions say of a candidate around the newest item asked, click by click."""
    clicks: list[tuple[list[int], list[int]]] = []
    for items in sessions:
        for at, item in enumerate(items):
            if item == asked[0]:
                clicks.append((items[:at], items[at + 1 :]))
    weights = [sum(0.85**place for place, item in enumerate(asked[:6]) if place and item in past) for past, _ in clicks]
    same_way = [after for past, after in clicks if past[-1:] == [before]]
    follows = [weight for weight, (_, after) in zip(weights, clicks, strict=True) if after[:1] == [candidate]]
    later = sum(
        weight / distance
        for weight, (_, after) in zip(weights, clicks, strict=True)
        for distance, item in enumerate(after, 1)
        if item == candidate
    )
    return [
        len(follows) / (len(clicks) + 3),
        sum(past[-1:] == [candidate] for past, _ in clicks) / (len(clicks) + 3),
        sum(follows) / (sum(weights) + 1),
        sum(after[:1] == [candidate] for after in same_way) / (len(same_way) + 1),
        math.log1p(later),
    ]


@given(CHANGES, st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 4), st.data())
def test_what_is_said_is_what_counting_session_by_session_says(
    changes: list[tuple[int, list[int] | None]], clicked: list[int], newest: int, data: st.DataObject
) -> None:
    """However the changes are cut into batches, and in whatever order the sessions began."""
    started = data.draw(st.permutations(range(len(changes))))
    rows = [
        (Slot(slot), None if items is None else kept(begin, *items))
        for (slot, items), begin in zip(changes, started, strict=True)
    ]
    held = SessionColumns()
    while rows:
        cut = data.draw(st.integers(1, len(rows)))
        held.apply(rows[:cut])
        rows = rows[cut:]
    candidates = list(range(1, 10))

    found = ask(held, clicked, candidates, newest=newest)

    last = {slot: (begin, items) for (slot, items), begin in zip(changes, started, strict=True)}
    sessions = [items for _, items in sorted((begin, items) for begin, items in last.values() if items is not None)]
    holding = {item: sum(item in items for items in sessions) for item in candidates}
    asked = [item for item in dict.fromkeys(clicked) if holding[item]]
    for at, candidate in enumerate(candidates):
        votes = cosine = 0.0
        for place, item in enumerate(asked):
            mine = [items for items in sessions if item in items][-newest:]
            together = sum(candidate in items for items in mine)
            votes += 0.85**place * math.log(len(sessions) / holding[item]) * together
            if candidate != item:
                cosine += together / math.sqrt(len(mine) * max(1, holding[candidate]))
        assert found.votes[at] == pytest.approx(votes, abs=1e-5)
        assert found.cosine[at] == pytest.approx(cosine, abs=1e-5)
        around = [0.0] * 5
        if asked:
            newest_held = [items for items in sessions if asked[0] in items][-newest:]
            before = next((item for item in clicked[clicked.index(asked[0]) :] if item != asked[0]), None)
            around = by_counting(newest_held, asked, before, candidate)
        said = (found.next, found.before, found.next_alike, found.next_exactly, found.later_alike)
        assert [float(one[at]) for one in said] == pytest.approx(around, abs=1e-5)
    assert len(held) == len(sessions)


def test_items_that_no_session_holds_any_more_leave_nothing_behind() -> None:
    """Made-up ids in sessions took room for good, long after their sessions' slots were others'."""
    held = SessionColumns()
    for turn in range(300):
        own = 1000 * (turn + 1)
        held.apply([(Slot(slot), kept(turn, A, own + slot, own + slot + 1, own + slot + 2)) for slot in range(100)])
    assert len(held) == 100
    assert held._items.held == 103
    assert len(held._items) <= 206
    assert len(held._holders.rows) <= 4096
    found = ask(held, [300_000 + 5], [A, 300_000 + 4, 299_000])
    assert (found.cosine_last > 0).tolist() == [True, True, False]

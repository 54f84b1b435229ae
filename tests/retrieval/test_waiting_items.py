"""Ids that are no items: which of them get trends, which wait, and who goes when there are too many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from contracts.ids import ItemKey, item_key
from retrieval.trend_counts import TrendCounts
from retrieval.trend_updates import updates_of
from retrieval.trends import ClickOrigin, CountedClick, TrendRules, visitor_of

DAY = 86_400_000
T0 = 1_700_000_000_000
RULES = TrendRules(visitors=3)
A, B, C = map(item_key, "abc")


def click(item: ItemKey, visitor: str, ts_ms: int = T0, *earlier: ItemKey) -> CountedClick:
    return CountedClick(
        ts_ms, item, "some", origin=ClickOrigin.ENTRY, earlier=earlier, visitor=visitor_of(f"session {visitor}")
    )


def counted(*clicks: CountedClick, rules: TrendRules = RULES) -> TrendCounts:
    counts = TrendCounts(rules)
    counts.apply(updates_of(clicks))
    return counts


def handed_on(counts: TrendCounts) -> dict[int, float]:
    """Return popularity by item of the rows that are written now."""
    rows = counts.changed_rows()
    return dict(zip(rows.keys.tolist(), rows.counts[:, 0].tolist(), strict=True))


def in_catalogue(*items: ItemKey):  # type: ignore[no-untyped-def]
    return lambda keys: np.isin(keys, np.array(items, np.uint64))


def test_an_id_gets_trends_once_enough_sessions_clicked_it_and_then_with_all_of_its_clicks() -> None:
    counts = counted(click(A, "s"), click(A, "t"))
    assert handed_on(counts) == {}
    counts.apply(updates_of([click(A, "u")]))
    assert handed_on(counts) == {A: 3.0}
    counts.apply(updates_of([click(A, "s")]))
    assert handed_on(counts) == {A: 4.0}


def test_one_session_that_clicks_again_and_again_is_one() -> None:
    assert handed_on(counted(*[click(A, "s", T0 + at) for at in range(100)], click(A, "t", T0 + 100))) == {}


def test_clicks_of_more_than_a_day_apart_do_not_add_up() -> None:
    counts = counted(click(A, "s", T0), click(A, "t", T0 + DAY + 60_000), click(A, "u", T0 + 2 * DAY))
    assert handed_on(counts) == {}
    counts.apply(updates_of([click(A, "v", T0 + 2 * DAY + 1)]))
    assert list(handed_on(counts)) == [A]


def test_an_item_of_the_catalogue_gets_trends_with_its_first_click() -> None:
    counts = counted(click(A, "s"), click(B, "s", T0, A))
    counts.admit(in_catalogue(A))
    assert list(handed_on(counts)) == [A]
    assert counts.kept_keys.tolist() == [A]


def test_an_id_is_asked_for_again_when_it_moved_and_all_are_when_that_is_wanted() -> None:
    asked: list[list[int]] = []

    def known(keys: np.ndarray) -> np.ndarray:
        asked.append(sorted(keys.tolist()))
        return np.zeros(len(keys), np.bool_)

    counts = counted(click(A, "s"), click(B, "s"))
    counts.admit(known)
    counts.admit(known)
    counts.apply(updates_of([click(A, "s")]))
    counts.admit(known)
    counts.admit(known, all_that_wait=True)
    assert asked == [sorted([A, B]), [A], sorted([A, B])]


def test_the_click_that_makes_an_id_an_item_is_told_as_its_first() -> None:
    counts = TrendCounts(RULES)
    assert counts.apply(updates_of([click(A, "s"), click(A, "t")])).tolist() == []
    assert counts.apply(updates_of([click(A, "t"), click(A, "u"), click(A, "v")])).tolist() == [1]


def test_with_one_visitor_wanted_every_id_is_an_item_as_in_training() -> None:
    assert handed_on(counted(click(A, "s", T0, B), rules=TrendRules())) == {A: 1.0, B: 0.0}


def test_what_waits_counts_on_from_what_was_saved() -> None:
    counts = TrendCounts(RULES, counted(click(A, "s"), click(A, "t")).saved())
    counts.apply(updates_of([click(A, "t"), click(A, "u")]))
    assert handed_on(counts) == {A: 4.0}
    stricter = TrendCounts(TrendRules(visitors=5), counted(click(A, "s"), click(A, "t")).saved())
    stricter.apply(updates_of([click(A, "u"), click(A, "v")]))
    assert handed_on(stricter) == {}


def test_ids_that_wait_are_forgotten_by_a_moment_of_their_own_and_nobody_is_told() -> None:
    counts = counted(click(A, "s"), click(B, "s", T0 + 5), click(C, "s"))
    counts.admit(in_catalogue(C))
    counts.changed_rows()
    assert counts.forget(0, T0 + 5).tolist() == []
    assert sorted(counts.keys.tolist()) == sorted([B, C])
    assert counts.forget(T0 + 1, T0 + 6).tolist() == [C]
    assert len(counts) == 0


def many(first: int, count: int, clicks: int, ts_ms: int = T0) -> list[CountedClick]:
    """Return clicks of `clicks` sessions on each of so many ids."""
    return [click(ItemKey(first + at), f"{visit}", ts_ms) for at in range(count) for visit in range(clicks)]


def test_of_too_many_items_those_least_clicked_go_and_of_ids_that_wait_half() -> None:
    counts = counted(*many(1000, 80, 3), *many(2000, 20, 4), *many(3000, 40, 1), *many(4000, 10, 2))
    assert len(counts.kept_keys) == 100
    gone = counts.bound(kept=80, waiting=20)
    assert len(gone) == 30
    assert {key // 1000 for key in gone.tolist()} == {1}
    left = np.bincount(counts.keys.astype(np.int64) // 1000, minlength=5).tolist()
    assert left == [0, 50, 20, 0, 10]
    assert counts.bound(kept=80, waiting=20).tolist() == []


def test_clicks_of_long_ago_weigh_less_when_there_are_too_many() -> None:
    old, new = many(1000, 10, 5, T0 - 2 * DAY), many(2000, 10, 3)
    counts = counted(*old, *new)
    assert sorted(counts.bound(kept=16, waiting=16).tolist()) == [1000 + at for at in range(6)]


@dataclass(frozen=True)
class Plain:
    """The rule for one id, as plain Python says it: the newest click of each of the newest other sessions is noted."""

    visitors: int

    def first_kept(self, clicks: list[tuple[int, int]]) -> int | None:
        """Return the number of the click (session, day tenth) by which the id is kept; None when none is."""
        noted: dict[int, int] = {}
        for at, (session, minute) in enumerate(clicks):
            if session in noted:
                noted[session] = max(noted[session], minute)
                continue
            if sum(abs(other - minute) <= 1440 for other in noted.values()) == self.visitors - 1:
                return at
            if len(noted) < self.visitors - 1:
                noted[session] = minute
            else:
                oldest = min(noted, key=lambda one: noted[one])
                if minute > noted[oldest]:
                    del noted[oldest]
                    noted[session] = minute
        return None


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30).map(lambda tenth: 1 + 144 * tenth)), max_size=30),
    st.integers(1, 5),
)
def test_the_kernel_keeps_an_id_at_the_click_at_which_the_plain_rule_does(
    clicks: list[tuple[int, int]], visitors: int
) -> None:
    counts, kept = TrendCounts(TrendRules(visitors=visitors)), None
    for at, (session, minute) in enumerate(clicks):
        counts.apply(updates_of([click(A, str(session), minute * 60_000)]))
        if kept is None and len(counts.kept_keys):
            kept = at
    expected = Plain(visitors).first_kept(clicks)
    assert kept == (0 if visitors == 1 and clicks else expected)

"""Lives of visitors: exact whatever was forgotten meanwhile, as a plain reading of everything says."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution.cells import Cells, without_zeros
from attribution.facts import Fact
from attribution.lives import bucket_of, bucket_s, median_s
from replay.reference.attribution import plain_cells
from tests.attribution.test_join import DAY, MINUTE, RULES, Kept, outcome, page

LIVED = ("visitors", "users", "buyers", "lifetime", "first_purchase")


def lived(cells: Cells) -> Cells:
    return Counter({cell: count for cell, count in without_zeros(cells).items() if cell.counter.startswith(LIVED)})


def counted(*facts: Fact) -> dict[str, int]:
    kept = Kept()
    kept.take(list(facts))
    found: Counter[str] = Counter()
    for cell, count in lived(kept.cells).items():
        found[cell.counter] += count
    return dict(found)


@st.composite
def months(draw: st.DrawFn) -> list[Fact]:
    """Return what two users and a stranger do over three months: away for days or weeks, and back."""
    found, ts = list[Fact](), 0
    for number in range(draw(st.integers(1, 25))):
        ts += draw(st.sampled_from([0, MINUTE, DAY, 6 * DAY, 13 * DAY, 14 * DAY, 14 * DAY + 1, 15 * DAY, 30 * DAY]))
        user = draw(st.sampled_from([None, "u1", "u1", "u2"]))
        who = {"session_id": f"{user}-{number if user else ts // DAY}", "user_id": user}
        kind = draw(st.sampled_from(["page", "page", "view", "purchase", "return"]))
        if kind == "page":
            home = draw(st.sampled_from(["home", "cart"]))
            found.append(page(f"p{number}", ts, ["a"], {"scenario": home}, **who))
        else:
            paid = {"value": 10, "currency": draw(st.sampled_from(["EUR", "USD"]))} if kind != "view" else {}
            found.append(outcome(f"e{number}", kind, ts, **paid, **who))
    return found


@settings(max_examples=60)
@given(months(), st.randoms(use_true_random=False))
def test_lives_are_those_of_everything_that_was_ever_known(found: list[Fact], random: Random) -> None:
    late = sorted(found, key=lambda fact: fact.ts + random.choice([0, 0, random.randrange(7 * DAY)]))
    kept = Kept()
    for start in range(0, len(late), 3):
        kept.take(late[start : start + 3])
    assert lived(kept.cells) == lived(plain_cells(found, RULES))


def test_a_user_is_counted_by_the_first_page_with_all_that_was_spent_since() -> None:
    shown = page("p", 0, ["b"], user_id="anna")
    bought = [outcome(f"e{n}", "purchase", n * 5 * DAY, value=20, currency="EUR", user_id="anna") for n in (1, 2)]
    back = outcome("r", "return", 11 * DAY, value=20, currency="EUR", user_id="anna")
    other = page("q", DAY, ["b"], user_id="bert", session_id="t")
    found = counted(shown, *bought, back, other)
    assert (found["users"], found["buyers"], found["lifetime:EUR"]) == (20_000, 10_000, 200_000)
    assert (found["first_purchases"], found["first_purchase_seconds"]) == (10_000, 5 * 86_400 * 10_000)


def test_a_visitor_counts_once_a_day_in_all_sessions_and_a_session_that_logs_in_is_its_user() -> None:
    pages = [page(f"p{n}", n * MINUTE, ["a"]) for n in range(3)]
    seen = outcome("e", "view", 4 * MINUTE, user_id="anna")
    elsewhere = page("q", 5 * MINUTE, ["a"], session_id="phone", user_id="anna")
    later = page("r", DAY, ["a"], user_id="anna")
    assert counted(*pages)["visitors"] == 10_000
    assert counted(*pages, seen, elsewhere, later)["visitors"] == 20_000


def test_who_was_away_for_longer_than_two_windows_begins_anew() -> None:
    pages = [page("p", 0, ["a"], user_id="anna"), page("q", 14 * DAY + 1, ["a"], user_id="anna")]
    assert counted(*pages)["users"] == 20_000
    between = outcome("e", "view", 13 * DAY, user_id="anna")
    assert counted(*pages, between)["users"] == 10_000


def test_a_purchase_before_any_page_has_no_time_until_it() -> None:
    assert "first_purchases" not in counted(outcome("e", "purchase", 0), page("p", MINUTE, ["a"]))


@pytest.mark.parametrize(("seconds", "bucket"), [(0, 0), (1, 1), (2, 3), (3, 4), (3600, 24), (604_800, 39)])
def test_buckets_of_time_double_every_other(seconds: int, bucket: int) -> None:
    assert bucket_of(seconds * 1000) == bucket
    assert bucket_s(bucket) <= seconds < bucket_s(bucket + 1)


def test_the_median_is_of_the_bucket_in_the_middle() -> None:
    assert median_s({}) is None
    assert median_s({0: 10_000}) == 0.5
    assert bucket_s(24) < (median_s({1: 10, 24: 100, 39: 20}) or 0) < bucket_s(25)

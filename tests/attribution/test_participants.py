"""The units of an experiment: what each did, whatever the order in which its events came."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from attribution.credit import CreditRules
from attribution.facts import Dims, Fact, Outcome, Page, key_bytes
from attribution.join import join_sessions
from attribution.participants import Participant, participants, tabled
from attribution.rows import Row
from attribution.units import EMPTY, Bounds

RULES = CreditRules(click_ms=1_800_000, purchase_ms=7 * 86_400_000)


def page(session: str, at: int, variant: str, items: tuple[str, ...] = ("a", "b"), experiment: str = "x") -> Fact:
    dims = Dims(experiment=experiment, variant=variant, device="phone")
    return Fact(session, None, at, Page(f"{session}-{at}", at, None, dims, key_bytes(items)))


def outcome(
    session: str,
    at: int,
    kind: str,
    item: str,
    value: float | None = None,
    order: str | None = None,
    money: str = "EUR",
) -> Fact:
    cents = None if value is None else round(value * 10_000)
    name = f"{session}-{at}-{kind}-{item}"
    return Fact(session, None, at, Outcome(name, at, kind, key_bytes([item]), None, cents, money, 1, order))


FACTS = [
    page("s1", 1000, "b"),
    page("s1", 9000, "b"),
    outcome("s1", 500, "purchase", "a", 99.0),
    outcome("s1", 2000, "click", "a"),
    outcome("s1", 3000, "click", "z"),
    outcome("s1", 4000, "cart", "a"),
    outcome("s1", 5000, "purchase", "a", 20.5, "o1"),
    outcome("s1", 5000, "purchase", "z", 4.5, "o1"),
    outcome("s1", 6000, "return", "z", 4.5, "o1"),
    page("s2", 1000, "control"),
    page("s3", 1000, "control"),
    page("s3", 2000, "b"),
    page("s4", 1000, "holdout"),
    page("s5", 1000, "b"),
    page("s6", 1000, "", experiment=""),
    outcome("s2", 2000, "purchase", "b", 1.0, money="USD"),
]


def test_a_unit_counts_from_its_first_page_on() -> None:
    found = participants(FACTS, "x", RULES, testers=("s5",))
    assert found.rows == [
        Participant("s1", "b", "phone", "", 2, 4, 1, 1, 2, 1, 20.5),
        Participant("s2", "control", "phone", "", 1, 2, 0, 0, 1, 1, 0.0),
    ]
    assert (found.switched, found.held_out, found.testers) == (1, 1, 1)
    assert list(found.currencies) == ["EUR", "USD"]


@given(st.randoms(use_true_random=False), st.lists(st.sampled_from(FACTS), max_size=10))
def test_order_and_repeats_change_nothing(order: random.Random, repeated: list[Fact]) -> None:
    facts = [*FACTS, *repeated]
    order.shuffle(facts)
    assert participants(facts, "x", RULES) == participants(FACTS, "x", RULES)


def test_users_are_counted_over_their_sessions() -> None:
    facts = [
        Fact(f"s{n}", "anna", at, Page(f"p{n}", at, "anna", Dims(experiment="x", variant="b"), key_bytes(["a"])))
        for n, at in ((1, 1000), (2, 99_000))
    ]
    [row] = participants([*facts, page("s3", 1000, "b")], "x", RULES, unit="user").rows
    assert (row.unit, row.pages) == ("anna", 2)


def test_what_a_unit_did_is_kept_when_its_facts_are_too_old_to_be() -> None:
    day = 86_400_000
    visits = [
        (day, ["page", ("click", "a", None), ("purchase", "a", 20.0)]),
        (2 * day, ["page", ("cart", "b", None)]),
        (20 * day, [("purchase", "z", 5.0)]),
        (40 * day, ["page", ("click", "b", None), ("return", "a", 20.0)]),
    ]
    facts: list[Fact] = []
    for at, did in visits:
        for n, one in enumerate(did):
            facts.append(
                page("s", at, "b") if one == "page" else outcome("s", at + n, one[0], one[1], one[2])  # type: ignore
            )
    [row] = participants(facts, "x", RULES).rows
    bounds, kept, unit = Bounds(500, 500, 14 * day), dict[str, Row](), EMPTY
    for fact in facts:
        joined, _ = join_sessions({"s": [fact]}, {"s": unit}, RULES, bounds)
        unit, kept = joined.units["s"], joined.rows["x"]
    assert tabled(kept).rows == [row]
    assert row == Participant("s", "b", "phone", "", 3, 6, 2, 1, 2, 2, 5.0)
    assert len(unit.pages) == 1

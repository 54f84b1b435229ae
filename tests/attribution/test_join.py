"""Any order, repeats and batches give what one plain reading of the log gives."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.cells import Cells, cell_of, field_of, without_zeros
from attribution.credit import CreditRules, shares
from attribution.facts import Fact, Seen, fact_of, key_bytes
from attribution.join import by_session, join_sessions, join_users
from attribution.units import EMPTY, MOST_SEEN, Bounds, Unit, decode_unit, encode_unit, grown
from contracts.plain_events import PlainEvent, check_event
from replay.reference.attribution import plain_cells

NOW = 1_700_000_000_000
MINUTE = 60_000
DAY = 24 * 60 * MINUTE
BOUNDS = Bounds(500, 500, 14 * DAY + 60 * MINUTE)
RULES = CreditRules(30 * MINUTE, 7 * DAY)


def fact(**fields: Any) -> Fact:
    event = check_event({"v": 1, "session_id": "s", **fields}, now_ms=NOW + 1000 * DAY)
    assert isinstance(event, PlainEvent), event
    found = fact_of(event)
    assert found is not None
    return found


def page(name: str, ts: int, items: list[str], context: dict[str, Any] | None = None, **more: Any) -> Fact:
    own = {"event_id": f"impression-{name}", "request_id": name, "type": "impression", "ts": NOW + ts, "items": items}
    return fact(**own, context={"scenario": "home", "version": 2} | (context or {}), **more)


def outcome(name: str, kind: str, ts: int, item: str = "a", **more: Any) -> Fact:
    return fact(event_id=name, type=kind, ts=NOW + ts, item_id=item, **more)


class Kept:
    """What the flow keeps, in memory."""

    def __init__(self, rules: CreditRules = RULES) -> None:
        self.rules = rules
        self.cells: Cells = Counter()
        self.sessions: dict[str, bytes] = {}
        self.users: dict[str, bytes] = {}

    def take(self, facts: list[Fact]) -> None:
        sessions, told = join_sessions(by_session(facts), self._read(self.sessions), self.rules, BOUNDS)
        users = join_users(told, self._read(self.users), self.rules, BOUNDS)
        self.sessions |= {name: encode_unit(unit) for name, unit in sessions.units.items()}
        self.users |= {name: encode_unit(unit) for name, unit in users.units.items()}
        self.cells.update(sessions.cells)
        self.cells.update(users.cells)

    def _read(self, raw: dict[str, bytes]) -> dict[str, Unit]:
        return {name: decode_unit(one) for name, one in raw.items()}


def counted(*facts: Fact, rules: CreditRules = RULES) -> dict[str, int]:
    """Return the counters of all cells that are recommended, by name."""
    kept = Kept(rules)
    kept.take(list(facts))
    found: Counter[str] = Counter()
    for cell, count in without_zeros(kept.cells).items():
        if cell.dims.recommended == "yes":
            found[cell.counter] += count
    return dict(found)


SESSIONS, USERS, ITEMS = st.sampled_from(["s1", "s2"]), st.sampled_from([None, None, "u1", "u2"]), "abcd"
TIMES = st.sampled_from([0, 1, 5, 29, 30, 31, 600, 3 * 24 * 60, 7 * 24 * 60, 7 * 24 * 60 + 1])


@st.composite
def facts(draw: st.DrawFn) -> list[Fact]:
    found = []
    for number in range(draw(st.integers(0, 12))):
        who = {"session_id": draw(SESSIONS), "user_id": draw(USERS)}
        ts = draw(TIMES) * MINUTE
        kind = draw(st.sampled_from(["page", "page", "seen", "view", "cart", "purchase", "purchase", "return"]))
        items = draw(st.lists(st.sampled_from(ITEMS), min_size=1, max_size=4))
        if kind == "page":
            margins = draw(st.sampled_from([None, [0.1, 0.5, None, 0.3333][: len(items)]]))
            context = {"scenario": draw(st.sampled_from(["home", "cart"])), "margins": margins, "device": "phone"}
            found.append(page(f"p{number}", ts, items, context, **who))
        elif kind == "seen":
            named = f"p{draw(st.integers(0, number))}"
            found.append(
                fact(event_id=f"e{number}", type="impression", ts=NOW + ts, items=items, request_id=named, **who)
            )
        else:
            more: dict[str, Any] = {}
            if draw(st.booleans()):
                more["request_id"] = f"p{draw(st.integers(0, 5))}"
            if kind in ("purchase", "return"):
                more["value"] = draw(st.sampled_from([None, 0, 10, 9.99, 0.0001, -1]))
                more["order_id"] = draw(st.sampled_from([None, "o1", "o2"]))
                more["currency"] = draw(st.sampled_from([None, "EUR", "USD"]))
                more["quantity"] = draw(st.sampled_from([None, 3]))
            found.append(outcome(f"e{number}", kind, ts, items[0], **more, **who))
    return found


@given(facts(), st.sampled_from(["last", "first", "linear"]), st.randoms(use_true_random=False))
def test_any_order_repeats_and_batches_give_what_a_plain_reading_gives(
    found: list[Fact], touch: Any, random: Any
) -> None:
    rules = CreditRules(30 * MINUTE, 7 * DAY, touch)
    kept, came = Kept(rules), [*found, *(one for one in found if random.random() < 0.3)]
    random.shuffle(came)
    while came:
        size = random.randint(1, len(came))
        kept.take(came[:size])
        del came[:size]
    assert without_zeros(kept.cells) == plain_cells(found, rules)


def test_a_purchase_counts_for_the_last_page_that_held_it_within_the_window() -> None:
    bought = outcome("e", "purchase", 50 * MINUTE, value=20, currency="EUR")
    found = counted(page("p", 0, ["a"], {"margins": [0.25]}), page("q", 40 * MINUTE, ["b"]), bought)
    assert found["revenue:EUR"] == 200_000
    assert found["margin:EUR"] == 50_000
    assert found["orders"] == found["purchases"] == 10_000


def test_a_click_after_its_window_counts_for_nobody_unless_it_names_its_page() -> None:
    shown = page("p", 0, ["b", "a"])
    assert "clicks" not in counted(shown, outcome("e", "view", 31 * MINUTE))
    found = counted(shown, outcome("e", "view", 31 * MINUTE, request_id="p"))
    assert (found["clicks"], found["clicks@2"], found["shown@2"]) == (10_000, 10_000, 10_000)


def test_a_return_takes_from_the_page_that_the_purchase_counted_for() -> None:
    bought = outcome("e", "purchase", MINUTE, value=20, currency="EUR", order_id="o")
    back = outcome("r", "return", 9 * DAY, value=20, currency="EUR", order_id="o")
    found = counted(page("p", 0, ["a"], {"margins": [0.25]}), bought, back)
    assert (found["revenue:EUR"], found["returned:EUR"], found.get("margin:EUR", 0)) == (200_000, 200_000, 0)


def test_what_was_shown_before_the_log_in_earns_what_the_user_buys_later() -> None:
    before = page("p", 0, ["a"])
    seen = outcome("l", "view", MINUTE, "z", user_id="anna")
    bought = outcome("e", "purchase", DAY, value=5, session_id="other", user_id="anna")
    assert counted(before, seen, bought)["revenue:XXX"] == 50_000
    assert "revenue:XXX" not in counted(before, bought)


def test_lines_of_one_order_are_one_order_and_linear_touch_splits_it() -> None:
    lines = [outcome(f"e{n}", "purchase", MINUTE, value=1, order_id="o") for n in range(2)]
    found = counted(page("p", 0, ["a"]), page("q", 1, ["a"]), page("r", 2, ["a"]), *lines)
    assert (found["orders"], found["purchases"]) == (10_000, 20_000)
    assert shares(10_000, 3) == [3333, 3333, 3334]


def test_carts_that_end_in_a_purchase_are_told_from_those_left() -> None:
    kept = outcome("c", "cart", 1), outcome("e", "purchase", 2)
    left = outcome("d", "cart", 1, "b")
    found = counted(page("p", 0, ["a", "b"]), *kept, left)
    assert (found["carts"], found["carts_bought"]) == (20_000, 10_000)


def test_what_no_page_brought_counts_as_not_recommended() -> None:
    kept = Kept()
    kept.take([outcome("e", "purchase", 0, value=3, currency="EUR")])
    [revenue] = [cell for cell in kept.cells if cell.counter == "revenue:EUR"]
    assert (revenue.dims.recommended, kept.cells[revenue]) == ("no", 30_000)
    assert cell_of(revenue.hour, field_of(revenue)) == revenue


@pytest.mark.parametrize("raw", [b"", b"x", b"\x95\x02\x80\x80\x80\x90", encode_unit(Unit())[:-1]])
def test_a_unit_that_cannot_be_read_says_so(raw: bytes) -> None:
    with pytest.raises(ValueError, match="unit"):
        decode_unit(raw)


def test_what_is_seen_of_a_page_stays_bounded_whatever_the_order() -> None:
    bounds = Bounds(pages=10, outcomes=10, keep_ms=10**9)
    seen = [Seen("p", key_bytes([f"made-up-{n}-{k}" for k in range(1000)])) for n in range(5)]
    there = grown(EMPTY, seen, (), bounds).after
    back = grown(EMPTY, reversed(seen), (), bounds).after
    assert len(there.seen["p"]) == 8 * MOST_SEEN
    assert there == back

"""Each planted fault fires its check and no other; a clean shop fires none."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from functools import cache

import msgspec
import numpy as np
import pytest

from contracts.events import Rejection
from contracts.items import Item
from contracts.plain_events import PlainEvent, check_event
from contracts.quality_settings import QualityOptions
from quality.bots import BotRules, bots_in, without_bots
from quality.catalogue import CatalogueFigures, figures_of, strange_prices
from quality.checks import ADVICE, Check, Seen, State, judge, silent, worst
from quality.recorded import counted, judge_recording
from quality.series import Series
from quality.tally import Tally, TallyRules, value_name
from replay.synthetic.shoppers import DAY_MS, make_shop, shoppers

OPTIONS = QualityOptions()
RULES = TallyRules.of(OPTIONS, 1_800_000)
DAYS, EVERY_MS = 4, 10_000
FIRST_MS = 20_000 * 86_400_000
END_MS = FIRST_MS + DAYS * 86_400_000
LAST_HOUR_MS = END_MS - 3_600_000
ITEMS = [f"i{n}" for n in range(300)]
Record = PlainEvent | Rejection
BROKEN, AHEAD = Rejection("not_json", "expected JSON"), Rejection("future_timestamp", "ts is ahead")


def event(n: int, ts: int, draw: random.Random) -> PlainEvent:
    kind = "purchase" if n % 10 == 0 else "cart" if n % 5 in (1, 2) else "view"
    value = round(draw.lognormvariate(3.5, 0.8), 2) if kind == "purchase" else None
    return PlainEvent(1, f"e{n}", kind, f"s{n // 4}", ts, item_id=draw.choice(ITEMS), value=value)


@cache
def clean() -> tuple[PlainEvent, ...]:
    """Four days of a shop with an event every 10 seconds: 15 minutes have 90: 45 views, 36 carts."""
    draw = random.Random(5)
    return tuple(event(n, ts, draw) for n, ts in enumerate(range(FIRST_MS, END_MS, EVERY_MS)))


def in_last_hour(plant: Callable[[int, PlainEvent], Iterable[Record]]) -> Iterator[Record]:
    """Yield the clean days with what is planted into their last hour."""
    for n, one in enumerate(clean()):
        yield from plant(n, one) if one.ts >= LAST_HOUR_MS else [one]


def with_fields(one: PlainEvent, **fields: object) -> PlainEvent:
    return msgspec.structs.replace(one, **fields)


def silent_purchases(n: int, one: PlainEvent) -> list[Record]:
    return [] if one.type == "purchase" else [one]


CATALOGUE = {
    item: Item(title=f"Shoe {n}", price=20 + n % 50, category="shoes", stock=3, image_url="https://x.example/1.jpg")
    for n, item in enumerate(ITEMS)
}


def judged(records: Iterable[Record], catalogue: CatalogueFigures | None = None) -> list[Check]:
    found = counted(records, RULES, END_MS, set(ITEMS))
    return judge(Seen(Series(found.cells), END_MS // 60_000, catalogue or figures_of(CATALOGUE.items())), OPTIONS)


def fired(checks: Iterable[Check]) -> dict[str, State]:
    return {check.title: check.state for check in checks if check.state in (State.WARN, State.BAD)}


PLANTED: dict[str, Callable[[int, PlainEvent], list[Record]]] = {
    "silent cart": lambda n, one: [] if one.type == "cart" else [one],
    "broken": lambda n, one: [one, BROKEN] if n % 20 == 0 else [one],
    "future": lambda n, one: [one, AHEAD] if n % 40 == 0 else [one],
    "late": lambda n, one: [with_fields(one, ts=one.ts - 3_600_000)] if n % 6 == 1 else [one],
    "duplicate": lambda n, one: [one, one] if n % 5 == 0 else [one],
    "unknown": lambda n, one: [with_fields(one, item_id=f"old-{n}")] if n % 8 == 0 else [one],
    "values": lambda n, one: [with_fields(one, value=100 * one.value) if one.value else one],
}


def test_clean_days_fire_nothing_and_every_check_has_an_opinion() -> None:
    checks = judged(clean())
    assert fired(checks) == {}
    assert {check.title for check in checks if check.state is State.UNKNOWN} == set()
    assert worst(checks) is State.OK


def test_a_type_that_few_events_are_of_is_looked_at_over_a_longer_while() -> None:
    """15 minutes have 9 purchases, an hour has 36, two hours 72."""
    seen = Seen(Series(counted(in_last_hour(silent_purchases), RULES, END_MS).cells), END_MS // 60_000)
    states = {}
    for least in (9, 30, 36, 37, 72, 73):
        found = {one.of: one for one in silent(seen, OPTIONS.model_copy(update={"least_expected": least}))}
        states[least] = (found["purchase"].state, found["purchase"].figure)
    half = (State.OK, 0.5)  # of two hours
    assert states == {
        **dict.fromkeys((9, 30, 36), (State.BAD, 0.0)),
        **dict.fromkeys((37, 72), half),
        73: (State.UNKNOWN, 0.5),
    }


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_fires_its_check_and_no_other(name: str) -> None:
    assert fired(judged(in_last_hour(PLANTED[name]))) == {name: State.BAD}


def test_a_crawler_is_named_and_fires_the_share_of_bots_alone() -> None:
    agent = {"user_agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}

    def crawl(n: int, one: PlainEvent) -> list[Record]:
        return (
            [one, with_fields(one, event_id=f"b{n}", session_id=f"b{n // 2}", context=agent)] if n % 3 == 0 else [one]
        )

    records = list(in_last_hour(crawl))
    found = counted(records, RULES, END_MS, set(ITEMS))
    assert len(found.bots) > 100
    assert {name[0] for name in found.bots} == {"b"}
    assert fired(judged(records)) == {"bots": State.BAD}


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("title", {"title": "i0"}),
        ("price", {"price": None}),
        ("category", {"category": ""}),
        ("picture", {"image_url": None}),
        ("stock", {"stock": None}),
        ("prices", {"price": 2500.0}),
        ("prices", {"price": 0.0}),
    ],
)
def test_a_planted_fault_of_the_catalogue_fires_its_check_and_no_other(name: str, lacking: dict[str, object]) -> None:
    spoilt = [
        (item_id, item.model_copy(update={**lacking, **({"title": item_id} if name == "title" else {})}))
        if n % 4 == 0
        else (item_id, item)
        for n, (item_id, item) in enumerate(CATALOGUE.items())
    ]
    assert fired(judged(clean(), figures_of(spoilt))) == {name: State.BAD}


def test_a_shop_without_pictures_and_stock_is_not_told_to_send_them() -> None:
    bare = [(name, item.model_copy(update={"image_url": None, "stock": None})) for name, item in CATALOGUE.items()]
    checks = {check.name: check.state for check in judged(clean(), figures_of(bare))}
    assert checks["picture"] is checks["stock"] is State.UNKNOWN


def test_a_type_is_not_silent_before_two_days_are_known_nor_while_the_flow_is_behind() -> None:
    records = [one for one in in_last_hour(PLANTED["silent cart"]) if isinstance(one, Rejection) or one.ts > FIRST_MS]
    short = [one for one in records if isinstance(one, Rejection) or one.ts >= END_MS - 26 * 3_600_000]
    assert fired(judged(short)) == {}
    series = Series(counted(records, RULES, END_MS).cells)
    held = {check.title: check for check in judge(Seen(series, END_MS // 60_000, behind=7), OPTIONS)}
    assert held["silent cart"].state is State.UNKNOWN
    assert held["silent cart"].says == "Nothing to do yet: the flow is 7 records behind."


def test_a_whole_site_that_is_silent_fires_each_type_that_has_enough_events() -> None:
    types = ("silent cart", "silent purchase", "silent view")
    assert fired(judged(in_last_hour(lambda n, one: []))) == dict.fromkeys(types, State.BAD)


def test_half_of_a_threshold_warns() -> None:
    few = fired(judged(in_last_hour(lambda n, one: [one, BROKEN] if n % 80 == 0 else [one])))
    assert few == {"broken": State.WARN}


def test_every_check_says_what_to_do() -> None:
    names = {check.name for check in judged(clean())}
    assert names == set(ADVICE)
    [cart] = [one for one in judged(in_last_hour(PLANTED["silent cart"])) if one.title == "silent cart"]
    assert cart.figure == 0.0
    assert cart.says.startswith("Look at what sends cart events:")


def test_a_recording_tells_when_a_fault_was_worst() -> None:
    days = in_last_hour(PLANTED["silent cart"])
    found = {one.check.title: one for one in judge_recording(counted(days, RULES, END_MS, set(ITEMS)).cells, OPTIONS)}
    cart = found["silent cart"]
    assert cart.check.state is State.BAD
    assert cart.minute is not None
    assert LAST_HOUR_MS // 60_000 < cart.minute <= LAST_HOUR_MS // 60_000 + 30
    assert found["silent view"].check.state is State.OK


def test_the_synthetic_shop_fires_nothing_in_three_days() -> None:
    shop = make_shop(np.random.default_rng(7), 500)
    events = shoppers(shop, 8_000, np.random.default_rng(3), span_ms=3 * DAY_MS)
    records = [check_event(one.model_dump(exclude_none=True), now_ms=2**43) for one in events]
    held = {item_id for item_id, _ in shop.items}
    found = counted(records, RULES, 2**43, held)
    assert found.bots == {}
    worst_of = judge_recording(found.cells, OPTIONS, figures_of(shop.items))
    assert fired(one.check for one in worst_of) == {}
    assert {one.check.title for one in worst_of if one.check.state is State.OK} >= {"silent view", "late", "unknown"}


def click(session: str, ts: int, item: str = "i1", **more: object) -> PlainEvent:
    return PlainEvent(1, f"{session}-{ts}-{item}", "view", session, ts, item_id=item, **more)  # type: ignore[arg-type]


def test_who_is_too_fast_or_sees_too_much_is_no_human() -> None:
    rules = BotRules(rate=90, breadth=400, agents=True, gap_ms=1_800_000, max_sessions=1000)
    fast = [click("fast", 60_000_000 + n * 500) for n in range(91)]
    broad = [click("broad", 60_000_000 + n * 5_000, f"i{n}") for n in range(401)]
    human = [click("human", 60_000_000 + n * 800, f"i{n % 9}") for n in range(75)]
    returning = [click("back", 60_000_000 + n * 1_900_000, f"i{n}") for n in range(500)]
    assert bots_in([*fast, *broad, *human, *returning], rules) == {"fast": "rate", "broad": "breadth"}
    assert bots_in([*fast[:90], *broad[:400]], rules) == {}


def test_all_events_of_a_bot_are_left_out_of_a_recording_also_those_before_it_was_known() -> None:
    rules = BotRules(rate=3, breadth=400, agents=True, gap_ms=1_800_000, max_sessions=10)
    events = [click("fast", 60_000_000 + n) for n in range(5)] + [click("human", 60_000_500)]
    assert [one.session_id for one in without_bots(lambda: events, rules)] == ["human"]


def test_memory_is_bounded_in_ids_and_sessions() -> None:
    rules = TallyRules(600_000, 50, BotRules(90, 400, True, 1_800_000, 20))
    tally = Tally(rules)
    tally.count([click(f"s{n}", 60_000_000 + n) for n in range(1000)], 0, 0)
    assert len(tally.visits) == 20
    again = tally.count([click(f"s{n}", 60_000_000 + n) for n in (1, 999)], 60_000_999, 0)
    assert sum(count for (_, name), count in again.cells.items() if name == "duplicate") == 1


def test_types_of_nobody_are_counted_together() -> None:
    made_up = [PlainEvent(1, f"e{n}", f"t{n}", "s", 60_000_000, item_id="i") for n in range(100)]
    found = Tally(RULES).count(made_up, 0, 0)
    assert {name for _, name in found.cells if name.startswith("type.")} == {"type.other"}


def test_values_lie_in_half_powers_of_two() -> None:
    assert [value_name(value) for value in (1.0, 1.5, 2.0, 0.25)] == ["value.0", "value.1", "value.2", "value.-4"]
    assert [value_name(value) for value in (0.0, -3.0, float("inf"))] == ["value.none"] * 3


def test_a_price_is_compared_with_those_of_its_category() -> None:
    prices = np.array([10.0] * 30 + [5_000.0] * 30 + [5_000.0])
    assert strange_prices(prices, np.array([0] * 30 + [1] * 30 + [0])) == 1
    assert strange_prices(prices, np.array([0] * 30 + [1] * 31)) == 0

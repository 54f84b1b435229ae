"""The sample of a year: what is asked for comes, in order, the same for the same seed, and nothing that cannot be."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date
from functools import cache

import numpy as np
import pytest

from contracts.errors import SettingsError
from contracts.events import Event
from contracts.items import Item
from replay.sample.calendar import season_of, share_of_days
from replay.sample.chunk import DAY_MS, Chunk
from replay.sample.days import Sample, Wanted, sample_of
from replay.sample.rows import EventRows, document
from replay.synthetic.words import LEAVES

SMALL = Wanted(users=300, items=400, events=12_000, days=40, seed=3, bots=0.1)


@cache
def made() -> tuple[Sample, tuple[Chunk, ...]]:
    sample = sample_of(SMALL)
    return sample, tuple(sample.days())


@cache
def events() -> tuple[Event, ...]:
    sample, chunks = made()
    rows = EventRows(sample.stock, SMALL.seed)
    return tuple(Event.model_validate(document(row)) for chunk in chunks for row in rows.rows(chunk))


def by_type(wanted: str) -> list[Event]:
    return [event for event in events() if event.type == wanted]


def test_the_events_asked_for_come_in_time_order() -> None:
    times = [event.ts for event in events()]
    assert times == sorted(times)
    assert abs(len(times) - 12_000) < 400
    assert times[0] >= SMALL.start_ms
    assert times[-1] < SMALL.start_ms + 41 * DAY_MS
    assert len({event.event_id for event in events()}) == len(times)


def test_the_same_seed_gives_the_same_sample_and_another_one_does_not() -> None:
    def first_day(wanted: Wanted) -> list[list[int]]:
        chunk = next(sample_of(wanted).days())
        return [chunk.item.tolist(), chunk.ts_ms.tolist()]

    assert first_day(SMALL) == first_day(SMALL)
    assert first_day(SMALL) != first_day(replace(SMALL, seed=4))


def test_all_kinds_of_events_come_and_views_most() -> None:
    counts = Counter(event.type for event in events())
    assert set(counts) == {"view", "cart", "purchase", "return", "like"}
    assert counts["view"] > 10 * counts["cart"] > 10 * counts["purchase"] / 2 > counts["return"] > 0


def test_what_is_bought_was_in_the_cart_and_what_is_sent_back_was_bought() -> None:
    taken = {(event.session_id, event.item_id): event.ts for event in by_type("cart")}
    bought = {(event.order_id, event.item_id): event for event in by_type("purchase")}
    assert all(taken[event.session_id, event.item_id] < event.ts for event in bought.values())
    for event in by_type("return"):
        before = bought[event.order_id, event.item_id]
        assert 2 * DAY_MS < event.ts - before.ts < 26 * DAY_MS
        assert (event.value, event.quantity, event.user_id) == (before.value, before.quantity, before.user_id)


def test_clothes_are_taken_in_one_of_their_sizes() -> None:
    sizes = {item_id: (item.attributes or {}).get("sizes") for item_id, item in made()[0].stock.items}
    taken = [(sizes[event.item_id or ""], (event.context or {}).get("size")) for event in by_type("cart")]
    assert all(size in offered if offered and size else size is None for offered, size in taken)
    assert sum(size is not None for _, size in taken) > 20
    shirts = [item for _, item in made()[0].stock.items if item.category == "fashion/men/shirts"]
    assert shirts[0].attributes is not None
    assert shirts[0].attributes["sizes"] == ["XS", "S", "M", "L", "XL", "XXL"]


def test_items_are_whole_and_valid() -> None:
    for item_id, item in made()[0].stock.items:
        checked = Item.model_validate(item.model_dump())
        assert item_id
        assert checked.image_url
        assert checked.supplier
        assert checked.price


def test_no_item_is_seen_before_it_came() -> None:
    sample, chunks = made()
    assert (sample.stock.came >= 0).sum() > 80
    for day, chunk in enumerate(chunks[: SMALL.days]):
        assert (sample.stock.came[chunk.item] <= day).all()


def test_bots_are_in_the_truth_with_all_their_events_and_have_the_share_that_was_asked_for() -> None:
    sample, _ = made()
    counts = Counter(event.session_id for event in events())
    assert sample.bots
    assert {f"s3-{bot.session}": bot.events for bot in sample.bots} == {
        f"s3-{bot.session}": counts[f"s3-{bot.session}"] for bot in sample.bots
    }
    assert 0.05 < sum(bot.events for bot in sample.bots) / len(events()) < 0.15


def test_each_kind_of_bot_gives_itself_away() -> None:
    sample, _ = made()
    kind = {f"s3-{bot.session}": bot.kind for bot in sample.bots}
    visits = defaultdict[str, list[Event]](list)
    for event in events():
        if event.session_id in kind:
            visits[event.session_id].append(event)
    for session, visit in visits.items():
        agent = (visit[0].context or {})["user_agent"]
        gap_ms = np.median(np.diff([event.ts for event in visit]))
        match kind[session]:
            case "crawler":
                assert "Googlebot" in agent
            case "script":
                assert "Headless" in agent
            case "scraper":
                assert gap_ms < 400
            case "hoarder":
                assert {event.type for event in visit} == {"cart"}
            case _:
                assert len(visit) > 300
                assert len({event.item_id for event in visit}) <= 3
    assert len(set(kind.values())) >= 3


def test_no_human_is_as_quick_as_a_bot() -> None:
    sample, chunks = made()
    bots = [bot.session for bot in sample.bots]
    views = np.concatenate([chunk.ts_ms[(chunk.kind == 0) & ~np.isin(chunk.session, bots)] for chunk in chunks])
    sessions = np.concatenate([chunk.session[(chunk.kind == 0) & ~np.isin(chunk.session, bots)] for chunk in chunks])
    order = np.lexsort((views, sessions))
    gaps = np.diff(views[order])[np.diff(sessions[order]) == 0]
    assert 30_000 < np.median(gaps) < 50_000
    assert gaps.max() <= 1_500_000


def test_what_a_promotion_names_sells_for_less_while_it_lasts() -> None:
    sample, chunks = made()
    cheaper = 0
    for day, chunk in enumerate(chunks[: SMALL.days]):
        bought = chunk.take(chunk.kind == 2)
        lower = bought.value / bought.quantity < sample.stock.price[bought.item] - 0.02
        on = [spell.items for spell in sample.planned if spell.kind == "promotion" and spell.height(day)]
        yesterday = [spell.items for spell in sample.planned if spell.kind == "promotion" and spell.height(day - 1)]
        promoted = np.any([*on, *yesterday, np.zeros(len(sample.stock), bool)], axis=0)
        assert promoted[bought.item[lower]].all()
        cheaper += int(lower.sum())
    assert cheaper > 0


def test_what_a_supplier_does_not_deliver_is_not_bought() -> None:
    sample, chunks = made()
    spell = next(one for one in sample.planned if one.kind == "supplier out")
    inside = chunks[spell.first + 1 : spell.end]  # visits that began the day before may still buy
    assert inside
    bots = [bot.session for bot in sample.bots]
    carts = [chunk.item[(chunk.kind == 1) & ~np.isin(chunk.session, bots)] for chunk in inside]
    assert sum(len(items) for items in carts) > 0
    assert not any(spell.items[items].any() for items in carts)


def test_seasons_are_where_people_expect_them() -> None:
    place = {leaf.slug: at for at, leaf in enumerate(LEAVES)}
    july, december = season_of(date(2025, 7, 14)), season_of(date(2025, 12, 14))
    assert july[place["tents"]] > 0.5 > december[place["tents"]]
    assert december[place["coats"]] > 1.0 > july[place["coats"]]
    shares = share_of_days(1_735_689_600_000, 365)
    assert shares.sum() == pytest.approx(1.0)
    assert int(shares.argmax()) == date(2025, 11, 28).timetuple().tm_yday - 1  # Black Friday


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("users", 0, "--users: expected at least 10, got 0"),
        ("items", 5, f"--items: expected at least {len(LEAVES)}, got 5"),
        ("days", 0, "--days: expected at least 1, got 0"),
        ("bots", 0.9, "--bots: expected a share from 0 to 0.5, got 0.9"),
    ],
)
def test_a_sample_that_cannot_be_is_refused(field: str, value: float, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        replace(SMALL, **{field: value})

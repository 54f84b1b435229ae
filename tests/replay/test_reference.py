"""The plain reading of a log: it says what the flows' own steps say, and a difference is found and counted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import orjson
import pytest

from contracts.events import Event
from contracts.ids import event_key, item_key, partition_of
from contracts.profiles import Profile
from contracts.sessions import CLICK
from contracts.settings import AttributionOptions, LogSettings, RedisSettings, ServiceSettings
from eventlog.contract import Record, Topic
from eventlog.open_log import open_writer
from replay.reference.compare import Reference, compare
from replay.reference.differences import Differences
from replay.reference.log import LoggedEvent
from replay.reference.profiles import PlainUsers, compare_profiles
from replay.reference.sessions import PlainSessions, WindowClick, plain_state
from replay.reference.trends import PlainTrends
from retrieval.groups import groups_of
from retrieval.trend_columns import AFTER, TrendColumns
from retrieval.trends import TrendRules
from session_model.window import Outcome, WindowRules
from state.profiles import ProfileStore
from tests.flows.counted import flowed
from tests.flows.test_trend_parity import browsing

GAP_MS = 1_800_000
T0 = 1_700_000_000_000
RULES = TrendRules()


def event(number: int, ts: int, session: str = "s", item: str = "a", **more: object) -> Event:
    one = {"v": 1, "event_id": f"e{number}", "type": "view", "session_id": session, "item_id": item, "ts": ts}
    return Event.model_validate({**one, **more})


def logged(events: Sequence[Event]) -> list[tuple[LoggedEvent, Event]]:
    return [(LoggedEvent(0, offset, one), one) for offset, one in enumerate(events)]


def trends_of(events: Sequence[Event]) -> PlainTrends:
    found = PlainTrends(RULES, GAP_MS)
    clicks = [one for one in events if not one.is_impression]
    found.read(logged(clicks), logged([one for one in events if one.is_impression]))
    found.end_all()
    return found


def test_it_counts_what_the_steps_of_the_trends_flow_count() -> None:
    events = browsing(60)

    plain, columns = trends_of(events), flowed([*events, *last(events)], 50)

    assert len(plain.items) > 10
    assert sorted(plain.items) == sorted(set(columns.trends.keys.tolist()) - {item_key("last")})
    for item, expected in plain.items.items():
        at = columns.trends.rows_of(np.array([item], np.uint64))
        for name, count in expected.counts(RULES).items():
            assert columns.trends.counts_at(name, at, expected.as_of_ms)[0] == pytest.approx(count, rel=1e-5)
        assert columns.trends.origin_counts_at(at)[0].tolist() == expected.origins
    assert sorted(columns.ended.slots()) == sorted(plain.ended)
    assert sum(len(clicked) for _, clicked in plain.showings().values()) > 50
    assert_showings(columns.trends, plain)


def test_it_counts_what_the_steps_count_of_regions_and_devices() -> None:
    contexts = ({"region": "north"}, {"region": "south", "device": "phone"}, None)
    events = [event(n, T0 + n, f"s{n % 7}", "abc"[n % 2 + n % 5 // 4], context=contexts[n % 3]) for n in range(60)]

    plain, columns = trends_of(events), flowed([*events, *last(events)], 50)

    assert sorted(plain.groups) == sorted(groups_of("north") + groups_of("south", "phone"))
    assert [len(one.clicks) for one in plain.groups.values()] == [20, 20, 20]
    for group, expected in plain.groups.items():
        at = columns.trends.rows_of(np.array([group], np.uint64))
        assert columns.trends.popularity_at(at, expected.as_of_ms)[0] == pytest.approx(20.0, rel=1e-5)
        neighbours, shares = columns.trends.neighbours_at(at)
        got = dict(zip(neighbours[0].tolist(), shares[0, :, AFTER].tolist(), strict=True))
        for item, (after, _, _) in expected.pairs(RULES).items():
            assert got[item] == pytest.approx(after / 20.0, rel=2e-3)


def last(events: Sequence[Event]) -> list[Event]:
    """Return a click so much later that every session before it has ended."""
    return [event(10**9, max(one.ts for one in events) + 9 * GAP_MS, "last", "last")]


def assert_showings(columns: TrendColumns, plain: PlainTrends) -> None:
    for item, (shown, clicked) in plain.shown_counts().items():
        at = columns.rows_of(np.array([item], np.uint64))
        if at[0] >= 0:
            assert columns.shown_at(at)[0].tolist() == pytest.approx([shown, clicked], rel=1e-5)


def test_a_click_that_comes_again_counts_once_however_much_later() -> None:
    clicks = [event(n, T0 + n) for n in range(300)]
    plain = trends_of([*clicks, *clicks])
    assert (len(plain.items[item_key("a")].clicks), plain.repeats) == (300, 300)


def test_windows_repeats_and_late_clicks_are_those_of_the_rules() -> None:
    sessions = PlainSessions(WindowRules(max_events=3, idle_gap_ms=GAP_MS))
    times = [(1, T0 + 1), (2, T0 + 5), (2, T0 + 5), (3, T0 + 3), (4, T0 + 9), (5, T0), (6, T0 + 2 * GAP_MS), (7, T0)]
    sessions.read(logged([event(number, ts) for number, ts in times]))

    assert sessions.outcomes[0] == {Outcome.APPLIED: 5, Outcome.DUPLICATE: 1, Outcome.LATE: 2}
    [session] = sessions.sessions.values()
    assert [(click.ts_ms, click.event) for click in session.window] == [(T0 + 2 * GAP_MS, event_key("e6"))]
    assert (session.events, session.last_offset) == (1, 6)


def test_a_state_is_the_gated_mean_of_its_clicks() -> None:
    weights = {"gate_weight": np.zeros((2, 2)), "gate_bias": np.zeros(2), "gate_shift": np.zeros((4, 2))}
    vectors = {1: np.array([1.0, 0.0]), 2: np.array([0.0, 1.0])}
    clicks = [WindowClick(T0, 1, 1, 1), WindowClick(T0, 2, 2, 1), WindowClick(T0, 3, 3, 1), WindowClick(T0, 4, 1, 0)]
    assert plain_state(clicks, weights, vectors.get).tolist() == [0.25, 0.5]


@dataclass
class Kept:
    """A log of two clicks, and a Redis that holds what they mean."""

    settings: ServiceSettings
    reference: Reference


@pytest.fixture
def kept(redis_settings: RedisSettings) -> Kept:
    settings = ServiceSettings(redis=redis_settings, log=LogSettings(partitions=2))
    writer = open_writer(settings.log, settings.redis)
    now_ms = time.time_ns() // 1_000_000
    events = [event(n, now_ms + n - 100_000, "s", item) for n, item in enumerate("aba")]
    writer.append(Topic.CLICKS, [Record("s", orjson.dumps(one.model_dump(exclude_none=True))) for one in events])
    writer.close()
    return Kept(settings, Reference.of(settings))


def test_a_log_that_nobody_has_applied_is_lost_whole(kept: Kept) -> None:
    found = compare(kept.reference, kept.settings)
    assert kept.reference.event_ids == {"e0", "e1", "e2"}
    assert (found.lost, found.twice) == (3 + 3 + 1, 0)  # to the session, to the trends, and as a session that ended
    assert f"partition {partition_of('s', 2)}, applied: expected 3, got 0" in found.said
    assert "session s: expected 3 events, got none" in found.said


def test_figures_that_nobody_has_counted_are_found(kept: Kept) -> None:
    settings = kept.settings.model_copy(update={"attribution": AttributionOptions(run=True)})
    found = compare(Reference.of(settings), settings)
    assert "clicks of hour" in " ".join(found.said)


def test_what_is_more_than_it_must_be_was_counted_twice() -> None:
    found = Differences()
    found.counted("clicks", 10, 12)
    found.counted("clicks", 10, 10)
    found.counted("clicks", 10, 9)
    assert (found.lost, found.twice, len(found.said), bool(found)) == (1, 2, 2, True)
    assert not Differences()


def test_a_users_own_clicks_must_be_in_the_profile_and_nameless_ones_of_the_session_may() -> None:
    plain = PlainUsers()
    plain.read(
        logged(
            [
                event(1, T0, "phone", user_id="u"),
                event(2, T0, "laptop"),
                event(3, T0, "laptop", user_id="u"),
                event(4, T0, "laptop", user_id="v", type="purchase"),
                event(5, T0, "nobody"),
            ]
        )
    )
    assert {name: (sorted(user.own), sorted(user.joined)) for name, user in plain.users.items()} == {
        "u": (sorted(event_key(f"e{n}") for n in (1, 3)), [event_key("e2")]),
        "v": ([event_key("e4")], []),
    }


@pytest.mark.parametrize(
    ("kept", "counts", "lost", "twice"),
    [
        ([1, 2, 3], (3, 0), 0, 0),
        ([1, 3], (2, 0), 0, 0),
        ([1, 2], (2, 0), 1, 0),
        ([1, 2, 3], (4, 0), 0, 1),
        ([1, 2, 3, 9], (4, 0), 0, 1),
        ([1, 2, 3], (3, 1), 0, 1),
    ],
)
def test_what_a_profile_lacks_and_has_twice_is_counted(
    redis_settings: RedisSettings, kept: list[int], counts: tuple[int, int], lost: int, twice: int
) -> None:
    plain, found = PlainUsers(), Differences()
    plain.read(logged([event(1, T0, user_id="u"), event(2, T0), event(3, T0, user_id="u")]))
    settings = ServiceSettings(redis=redis_settings, log=LogSettings(partitions=4))
    store, at = ProfileStore(redis_settings, keep_ms=GAP_MS), partition_of("u", 4)
    clicks = np.array([(T0, 1, event_key(f"e{n}"), 1) for n in kept], CLICK)
    [users] = store.load(0, {at: ["u"]})
    profile = replace(Profile(), revision=1, clicks=clicks, events=counts[0], purchases=counts[1])
    assert store.commit(0, [(users, 3, {"u": profile})]) == [True]

    compare_profiles(found, plain, settings)

    assert (found.lost, found.twice) == (lost, twice)
    store.close()

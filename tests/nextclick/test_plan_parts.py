"""The parts of a plan: waiting, curves of cost, processes; by hand where a number can be."""

from __future__ import annotations

from dataclasses import replace
from math import inf, log

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import SettingsError
from nextclick.commands.plan import PACKAGE, known_coefficients, known_prices, read_toml
from nextclick.plan.coefficients import Coefficients, changed, coefficients_of, measured
from nextclick.plan.parts import flows, gateways, redis, search_us, smallest
from nextclick.plan.prices import prices_of
from nextclick.plan.shop import RANGES, Shop
from nextclick.plan.waiting import busiest, cv2_of, mean_wait, wait_below, waits
from nextclick.plan.whole import plan, with_spare
from nextclick.show.plan_tables import plan_json

PRICES = known_prices(None)


def flat(**values: float) -> Coefficients:
    """Return coefficients of round numbers, so that a shop can be computed by hand."""
    known = {
        "gateway_request": 1000, "gateway_post": 100, "gateway_click": 100, "gateway_row": 1, "gateway_item": 1,
        "gateway_row_relayed": 1, "relay_row": 1,
        "gateway_search": 100, "redis_request": 100, "redis_post": 40, "redis_click": 10, "redis_row": 5,
        "redis_row_read": 1, "rows_click": 2, "sessions_click": 50, "trends_click": 20, "trends_impression": 80,
        "profiles_click": 50, "session_bytes": 1000, "profile_bytes": 5000, "row_bytes": 1000, "ended_bytes": 200,
        "item_bytes": 1000, "request_p50": 4, "request_p99": 8,
    }  # fmt: skip
    return changed(known_coefficients([], []), [f"{name}={value}" for name, value in (known | values).items()])


SMALL = Shop(requests=1000.0, events=600.0, items=10_000.0, users=1000.0, zones=1.0)


def test_one_server_waits_as_often_as_it_is_busy_and_two_as_erlang_said() -> None:
    assert waits(1, 0.6) == pytest.approx(0.6)
    assert waits(2, 1.0) == pytest.approx(1 / 3)
    assert waits(2, 2.0) == 1.0


def test_the_mean_wait_of_one_server_is_pollaczeks() -> None:
    assert mean_wait(1, 0.5, 2.0, 1.0) == pytest.approx(2.0)
    assert mean_wait(1, 0.5, 2.0, 0.0) == pytest.approx(1.0)
    assert mean_wait(1, 1.0, 2.0, 0.0) == inf


def test_the_wait_of_99_in_100_is_that_of_an_exponential_tail_and_nothing_where_few_wait() -> None:
    assert wait_below(0.99, 1, 0.5, 2.0, 1.0) == pytest.approx(4.0 * log(50.0))
    assert wait_below(0.99, 1, 0.009, 2.0, 1.0) == 0.0


def test_the_busiest_that_a_process_may_be_is_where_the_wait_is_as_long_as_allowed() -> None:
    busy = busiest(4.0 * log(50.0), 2.0, 1.0)
    assert busy == pytest.approx(0.5, abs=1e-6)
    assert busiest(1e9, 2.0, 1.0) == pytest.approx(1.0)


def test_percentiles_give_the_spread_of_a_lognormal_distribution() -> None:
    assert cv2_of(5.0, 5.0) == 0.0
    assert cv2_of(1.0, 10.2408) == pytest.approx(1.718, abs=1e-3)  # sigma 1: e - 1
    with pytest.raises(ValueError, match="expected 0 < p50 <= p99"):
        cv2_of(3.0, 2.0)


@pytest.mark.parametrize(("servers", "offered"), [(0, 0.5), (1, -0.1)])
def test_no_server_and_less_than_no_load_are_refused(servers: int, offered: float) -> None:
    with pytest.raises(ValueError, match="expected a server or more"):
        waits(servers, offered)


def test_what_is_busy_is_a_line_between_measured_loads_and_the_cost_stays_beyond_them() -> None:
    curve = replace(flat()["gateway_request"], at=(100.0, 500.0), values=(4000.0, 2000.0))
    assert [curve.busy_at(load) for load in (50, 100, 300, 500, 1000)] == [2e5, 4e5, 7e5, 1e6, 2e6]
    assert curve.cost_at(300) == pytest.approx(7e5 / 300)
    assert curve.beyond(1000) == 2.0


def test_a_search_grows_with_the_logarithm_of_the_items() -> None:
    curve = replace(flat()["gateway_search"], at=(1e5, 1e6), values=(200.0, 400.0))
    assert [curve.size_at(size) for size in (1e4, 1e5, 1e6, 1e7)] == pytest.approx([200.0, 200.0, 400.0, 600.0])


def test_the_smallest_number_is_found_and_none_where_none_does() -> None:
    for wanted in (1, 2, 3, 17, 1000):
        assert smallest(lambda count, wanted=wanted: count >= wanted) == wanted
    assert smallest(lambda count: False, most=50) is None


def test_a_small_shop_computed_by_hand() -> None:
    """1,000 requests of 1 ms, 600 clicks of 200 us in POSTs of their own; 1,200 rows of 1 us, .12 items a second."""
    c = flat()
    part, latency = gateways(SMALL, c, row_us=1.0)
    shared, each = 1.0 + 0.12, 0.0012 + 10_000 / 86_400 / 1e6
    assert part.count == 2  # 1.12 cores: .5612 of a core each, under .6
    assert part.busy_cores == pytest.approx(shared + 2 * each)
    assert latency is not None
    assert latency.busy == pytest.approx(shared / 2 + each)
    assert latency.alone_ms == pytest.approx(8.0 + 2.0)
    assert {one.name: one.count for one in flows(SMALL, c)} == {
        "sessions flow": 1, "trends flow": 1, "profiles flow": 1, "items flow": 1,
    }  # fmt: skip
    shards = redis(SMALL, c, readers=2, usable_gb=10.0)
    assert shards.count == 1
    assert shards.busy_cores == pytest.approx(0.1 + 0.024 + 0.006 + 0.006 + 0.0024)
    sessions, profiles, trends, ended, items = 600 / 6 * 2100 * 1000, 1500 * 5000, 1e7, 1e8, 1e7
    assert shards.memory_gb == pytest.approx((sessions + profiles + trends + ended + items) / 1e9)


def test_shards_are_those_of_the_memory_where_that_is_more() -> None:
    assert redis(replace(SMALL, users=4e6), flat(), readers=1, usable_gb=10.0).count == 4


def test_partitions_spread_over_the_shards_and_tables_over_slots() -> None:
    """30 GB of profiles, 40 of items and .5 of others, on nodes that may hold 9.8."""
    day = plan(replace(SMALL, users=4e6, items=4e7), flat(), replace(PRICES, caches=PRICES.caches[:1])).ordinary
    assert next(part.count for part in day.parts if part.name == "Redis shards") == 8
    assert day.log.partitions == 32
    assert day.table_shards == {"trends": 1, "items": 5}


def test_every_graph_of_the_index_is_asked() -> None:
    c = flat()
    assert search_us(SMALL, c) == 0.0
    assert search_us(replace(SMALL, items=9e6), c) == pytest.approx(200.0)


def test_where_following_rows_leaves_no_time_for_requests_a_relay_a_machine_is_planned() -> None:
    c, shop = flat(gateway_row=100), replace(SMALL, events=6000.0)
    assert gateways(shop, c, row_us=100.0)[0].count is None
    found = plan(shop, c, PRICES)
    assert "takes every row of trends, 10,000 a second here, and has no time" in found.ordinary.blocked[0]
    assert {part.name for part in found.ordinary.parts} >= {"gateways", "relays"}
    assert found.warnings[0] == found.ordinary.blocked[0]


def test_with_a_relay_redis_tells_each_machine_once_and_every_process_still_takes_the_rows() -> None:
    shop = replace(SMALL, requests=50_000.0, events=6000.0)
    alone = plan(shop, flat(), PRICES).ordinary
    relayed = plan(replace(shop, followers="machine"), flat(), PRICES).ordinary
    assert alone.blocked == relayed.blocked == ()
    assert [part.count for part in (alone.parts[0], relayed.parts[0])] == [87, 87]
    [relays] = [part for part in relayed.parts if part.name == "relays"]
    assert relays.count == relayed.machines[0].count
    assert relays.busy_cores == pytest.approx(0.01 * relays.count)
    assert relayed.network.follow_mb_s == pytest.approx(alone.network.follow_mb_s * relays.count / 87)


@pytest.mark.parametrize(
    ("costs", "said"),
    [
        ({"gateway_row": 100, "gateway_row_relayed": 100}, "too many by a relay too: write them less often (--emit-s)"),
        ({"relay_row": 100}, "a relay is one process, and has not the time for so many rows"),
    ],
)
def test_rows_that_even_a_relay_cannot_bring_are_said_to_be_too_many(costs: dict[str, float], said: str) -> None:
    shop = replace(SMALL, events=6000.0, followers="machine")
    assert said in plan(shop, flat(**costs), PRICES).ordinary.blocked[-1]


def test_a_shop_that_one_machine_holds_is_told_so_and_a_large_one_is_not() -> None:
    told = plan(SMALL, flat(), PRICES).warnings
    assert told[0].startswith("one machine of c7i.4xlarge (521 a month at list price) does: `nextclick up`")
    assert not any("one machine of" in one for one in plan(replace(SMALL, requests=50_000.0), flat(), PRICES).warnings)


def test_a_spare_zone_is_half_as_much_again_in_three_and_all_of_it_in_two() -> None:
    assert [with_spare(10, zones) for zones in (1, 2, 3)] == [10, 20, 15]


def test_a_p99_below_that_of_a_request_alone_is_never_met() -> None:
    found = plan(replace(SMALL, p99_ms=9.0), flat(), PRICES)
    assert found.ordinary.latency is None
    assert any("no number of gateways keeps p99 under 9 ms" in one for one in found.warnings)


rates = st.floats(min_value=1.0, max_value=1e6)
CURVES = known_coefficients([], [])


@given(
    rates,
    rates,
    st.sampled_from(["requests", "events", "items", "users"]),
    st.floats(1.0, 10.0),
    st.sampled_from([0.0, 2.4]),
)
def test_more_of_anything_never_needs_less(
    requests: float, events: float, what: str, times: float, row_us: float
) -> None:
    shop = Shop(requests=requests, events=events, items=1e6, users=1e6)
    more = replace(shop, **{what: getattr(shop, what) * times})
    for less, greater in zip(counts(shop, row_us), counts(more, row_us), strict=True):
        assert less <= greater


fields = {
    name: st.floats(*ends) if name not in ("zones", "replicas", "post") else st.integers(*map(int, ends)).map(float)
    for name, ends in RANGES.items()
}


@given(st.fixed_dictionaries(fields), st.sampled_from(["process", "machine"]), st.booleans())
@settings(max_examples=40)
def test_every_shop_in_range_has_a_plan_that_is_json(
    asked: dict[str, float], followers: str, attribution: bool
) -> None:
    asked = {**asked, "requests": asked["requests"] / asked["peak"], "events": asked["events"] / asked["peak"]}
    asked["requests"] = max(asked["requests"], RANGES["requests"][0])
    shop = Shop(**asked, followers=followers, attribution=attribution)  # type: ignore[arg-type]
    told = orjson.loads(plan_json(plan(shop, CURVES, PRICES), CURVES))
    assert told["days"]["ordinary"]["parts"]
    assert 0.0 <= told["money"]["low"] <= told["money"]["high"] * (1 + 1e-9)


def counts(shop: Shop, row_us: float) -> list[float]:
    """Return processes by part; infinite where none is enough."""
    found = [
        gateways(shop, CURVES, row_us=row_us)[0],
        *flows(shop, CURVES),
        redis(shop, CURVES, readers=9, usable_gb=9.0),
    ]
    return [inf if part.count is None else part.count for part in found]


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"requests": -1.0}, "--requests: expected a number from 0.001 to 1e+08, got -1"),
        ({"events": float("nan")}, "--events: expected a number from 0 to 1e+08, got nan"),
        ({"items": 0.0}, "--items: expected a number from 1 to 1e+10, got 0"),
        ({"requests": float("inf")}, "--requests: expected a number from 0.001 to 1e+08, got inf"),
        ({"known": 1.5}, "--known: expected a number from 0 to 1, got 1.5"),
        ({"p99_ms": 0.0}, "--p99: expected a number from 1 to 100000, got 0"),
        ({"zones": 2.5}, "--zones: expected a whole number, got 2.5"),
        ({"peak": 0.5}, "--peak: expected a number from 1 to 1000, got 0.5"),
        ({"followers": "nobody"}, "--followers: expected process or machine, got 'nobody'"),
    ],
)
def test_a_shop_that_cannot_be_is_refused_in_words(given_: dict[str, float], said: str) -> None:
    with pytest.raises(SettingsError) as error:
        replace(SMALL, **given_)
    assert said in str(error.value)


def test_a_file_of_a_benchmark_replaces_what_it_has_whole() -> None:
    known = known_coefficients([], [])
    rows = [
        {"name": "100/s: gateway-0, this tree", "value": 3000.0},
        {"name": "500/s: gateway-0, this tree", "value": 1500},
    ]
    file = {"name": "pair", "made_at": "2027-01-01", "machine": {"cpu": "Z80", "cores": 1}, "rows": rows}
    found = measured(known, [file])
    assert (found["gateway_request"].values, found["gateway_request"].made_at) == ((3000.0, 1500.0), "2027-01-01")
    assert found["gateway_request"].machine == "1 cores, Z80"
    assert found["redis_request"] == known["redis_request"]  # the file has no rows of it
    assert measured(known, [{**file, "rows": rows[:1]}])["gateway_request"] == known["gateway_request"]
    searches = [{"name": f"{size}: CPU a search, mean", "value": 0.5} for size in ("100k", "1M", "3M")]
    assert measured(known, [{"name": "index", "rows": searches}])["gateway_search"].values == (500.0,) * 3  # ms


@pytest.mark.parametrize("change", ["nonsense=1", "gateway_row", "gateway_row=-1", "gateway_row=nan", "gateway_row=x"])
def test_a_change_that_is_none_is_refused(change: str) -> None:
    with pytest.raises(SettingsError, match="expected"):
        changed(known_coefficients([], []), [change])


def test_a_table_of_coefficients_that_lacks_one_or_has_a_wrong_one_is_refused() -> None:
    document = read_toml(PACKAGE / "coefficients.toml")
    with pytest.raises(SettingsError, match="missing \\['rows_click'\\]"):
        coefficients_of({name: one for name, one in document.items() if name != "rows_click"})
    for wrong in ({"value": -1}, {"value": [1, 2]}, {"value": "3"}, {"command": ""}, {"value": True}):
        with pytest.raises(SettingsError):
            coefficients_of({**document, "row_bytes": {**document["row_bytes"], **wrong}})
    for wrong in ({"at": [500, 100]}, {"value": [1000, 1]}):
        with pytest.raises(SettingsError):
            coefficients_of({**document, "gateway_request": {**document["gateway_request"], **wrong}})


def test_prices_that_are_none_are_refused() -> None:
    document = read_toml(PACKAGE / "prices.toml")
    machine = document["machines"][0]
    for wrong in (
        {"out_gb": -1}, {"out_gb": "free"}, {"committed": 1.5}, {"machines": []}, {"more": 1}, {"broker": {}},
        {"machines": [{**machine, "hour": 0}]}, {"caches": [{"name": "x"}]},
    ):  # fmt: skip
        with pytest.raises(SettingsError, match="prices: "):
            prices_of({**document, **wrong})

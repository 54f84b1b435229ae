"""What each part of the product needs for a load: processes, cores, memory, partitions, shards; and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil

from nextclick.plan.coefficients import Coefficients
from nextclick.plan.shop import ENDED_SLOTS, Shop
from nextclick.plan.waiting import busiest, cv2_of, wait_below

GB = 1e9
MOST = 10**15
"""Processes of a part that are looked for, at most."""
MOST_FOLLOWING = 0.8
"""Share of its time that a gateway process may spend on rows and items: with more, their number runs away."""
RELAY_BYTES = 4e8
"""A relay: 64 MB of changes of each of three tables, and the process."""
OPEN_VISIT_BYTES = 2_400.0
"""An open session of five clicks in the trends flow (docs/bounds.md, "What an open session takes")."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a part needs. `count` processes (shards of Redis), None where no number of them does; `busy_cores` they keep
    busy, by coefficient in `spent`; `loads` are things a second of each process; `how` is the arithmetic, a line each.
    """

    name: str
    count: int | None
    busy_cores: float
    memory_gb: float
    spent: Mapping[str, float] = field(default_factory=dict)
    how: tuple[str, ...] = ()
    loads: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Latency:
    """What a request waits for, milliseconds, 99 of 100."""

    p99_ms: float
    wait_ms: float
    alone_ms: float
    busy: float
    """Share of its core that a gateway process keeps busy."""


def smallest(fits: Callable[[int], bool], most: int = MOST) -> int | None:
    """Return the smallest number from 1 on that fits, where every larger one does too; None beyond `most`."""
    high = 1
    while not fits(high):
        if high >= most:
            return None
        high = min(2 * high, most)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def search_us(shop: Shop, c: Coefficients) -> float:
    """Return what the search of a request takes beyond that of the small shop that requests were measured in: every
    graph of the index is asked.
    """
    search = c["gateway_search"]
    return max(0.0, shop.graphs * search.size_at(shop.items / shop.graphs) - search.values[0])


def limit_of(shop: Shop, c: Coefficients) -> float:
    """Return the share of a core that a gateway process may be busy: `usable`, and less where requests would wait too
    long for each other. 0 where a request alone takes longer than is allowed.
    """
    service_ms = (c["gateway_request"].values[0] + search_us(shop, c)) / 1e3
    left_ms = shop.p99_ms - alone_ms(shop, c)
    cv2 = cv2_of(c["request_p50"].value, max(c["request_p99"].value, c["request_p50"].value))
    return min(shop.usable, busiest(left_ms, service_ms, cv2)) if left_ms > 0.0 else 0.0


def alone_ms(shop: Shop, c: Coefficients) -> float:
    """Return the time of 99 of 100 requests that meet no others."""
    return c["request_p99"].value + search_us(shop, c) / 1e3 + shop.network_ms


def gateways(shop: Shop, c: Coefficients, *, row_us: float) -> tuple[Part, Latency | None]:
    """Return the gateway processes, and their latency. `row_us`: what a row of trends costs each of them."""
    rows, extra_us, limit = shop.rows(c["rows_click"].value), search_us(shop, c), limit_of(shop, c)
    row_cores = rows * row_us / 1e6
    item_cores = shop.item_changes * c["gateway_item"].value / 1e6
    posts = shop.events / shop.post
    shared = (posts * c["gateway_post"].value + shop.events * c["gateway_click"].value) / 1e6
    shared += shop.requests * extra_us / 1e6

    def busy(count: int) -> float:
        asked = c["gateway_request"].busy_at(shop.requests / count) / 1e6
        return row_cores + item_cores + shared / count + asked

    has_time = row_cores + item_cores <= MOST_FOLLOWING * limit
    count = smallest(lambda count: busy(count) <= limit) if has_time else None
    number = count or 0
    spent = {
        "gateway_request": number * c["gateway_request"].busy_at(shop.requests / max(1, number)) / 1e6,
        "gateway_search": shop.requests * extra_us / 1e6,
        "gateway_post": posts * c["gateway_post"].value / 1e6,
        "gateway_click": shop.events * c["gateway_click"].value / 1e6,
        "gateway_row": number * row_cores,
        "gateway_item": number * item_cores,
    }
    how = (
        f"search beyond the measured shop: {shop.graphs} graphs of {shop.items / shop.graphs:,.0f} items, "
        f"{extra_us:,.0f} us a request",
        f"each process follows {rows:,.0f} rows/s ({row_cores:.2f} cores) and {shop.item_changes:,.0f} items/s "
        f"({item_cores:.2f} cores); it may be busy {limit:.2f} of a core",
        _gateway_words(shop, c, count),
    )
    memory = memory_of(shop, c, processes=1)
    loads = {"gateway_request": shop.requests / max(1, number)}
    part = Part("gateways", count, sum(spent.values()), number * memory, spent, how, loads)
    return part, _latency(shop, c, count, busy(count) if count else 1.0)


def _gateway_words(shop: Shop, c: Coefficients, count: int | None) -> str:
    if count is None:
        return "no number of processes does: what each does besides requests fills its core"
    rate = shop.requests / count
    cost_us = c["gateway_request"].cost_at(rate)
    return f"{count:,} processes of {rate:,.0f} requests/s: {cost_us:,.0f} us each, and search"


def _latency(shop: Shop, c: Coefficients, count: int | None, busy: float) -> Latency | None:
    if count is None:
        return None
    service_ms = (c["gateway_request"].cost_at(shop.requests / count) + search_us(shop, c)) / 1e3
    cv2 = cv2_of(c["request_p50"].value, max(c["request_p99"].value, c["request_p50"].value))
    wait_ms, alone = wait_below(0.99, 1, busy, service_ms, cv2), alone_ms(shop, c)
    return Latency(alone + wait_ms, wait_ms, alone, busy)


def memory_of(shop: Shop, c: Coefficients, *, processes: int) -> float:
    """Return gigabytes that so many gateway processes of a machine hold each for itself: the index is beside."""
    rows = shop.trends * c["gateway_row_bytes"].value + ENDED_SLOTS * c["gateway_ended_bytes"].value
    return processes * (c["gateway_memory"].value * 1e6 + rows) / GB


def index_gb(shop: Shop, c: Coefficients) -> float:
    """Return gigabytes of the index, once a machine: its files are mapped."""
    return shop.items * c["index_item_bytes"].value / GB


def relays(shop: Shop, c: Coefficients, machines: int) -> Part:
    """Return the processes that read the trends for their machine: one each."""
    rows = shop.rows(c["rows_click"].value)
    each = rows * c["relay_row"].value / 1e6
    how = (f"{machines:,} machines, one each: {each:.2f} of a core for {rows:,.0f} rows/s",)
    memory = machines * RELAY_BYTES / GB
    return Part("relays", machines, machines * each, memory, {"relay_row": machines * each}, how)


def flows(shop: Shop, c: Coefficients) -> list[Part]:
    """Return the workers of each flow: processes that share the partitions."""
    clicks, pages, known = shop.events, shop.requests, shop.events * shop.known
    loads: dict[str, dict[str, float]] = {
        "sessions flow": {"sessions_click": clicks},
        "trends flow": {"trends_click": clicks, "trends_impression": pages},
    }
    if shop.users:
        loads["profiles flow"] = {"profiles_click": known}
    if shop.attribution:
        loads["attribution flow"] = {"attribution_event": clicks + pages}
    found = [_flow(name, load, shop, c) for name, load in loads.items()]
    return [*found, Part("items flow", 1, 0.0, c["flow_memory"].value * 1e6 / GB, {}, ("one: not measured by item",))]


def _flow(name: str, load: Mapping[str, float], shop: Shop, c: Coefficients) -> Part:
    def busy(count: int) -> float:
        return sum(c[key].busy_at(rate / count) for key, rate in load.items()) / 1e6

    count = smallest(lambda count: busy(count) <= shop.usable)
    assert count is not None  # a flow does nothing but its load
    spent = {key: count * c[key].busy_at(rate / count) / 1e6 for key, rate in load.items()}
    how = tuple(
        f"{rate:,.0f}/s by {count} workers: {c[key].cost_at(rate / count):,.0f} us each ({key})"
        for key, rate in load.items()
    )
    state = shop.open_visits * OPEN_VISIT_BYTES if name == "trends flow" else 0.0
    memory = (count * c["flow_memory"].value * 1e6 + state) / GB
    loads = {key: rate / count for key, rate in load.items()}
    return Part(name, count, sum(spent.values()), memory, spent, how, loads)


def redis_bytes(shop: Shop, c: Coefficients) -> dict[str, float]:
    """Return bytes that Redis keeps, without copies, by kind."""
    return {
        "sessions": shop.open_visits * c["session_bytes"].value,
        "profiles": shop.profiles * c["profile_bytes"].value,
        "trends": shop.trends * c["row_bytes"].value,
        "ended sessions": ENDED_SLOTS * c["ended_bytes"].value,
        "items": shop.items * c["item_bytes"].value,
    }


def redis(shop: Shop, c: Coefficients, *, readers: int, usable_gb: float) -> Part:
    """Return the shards of Redis, by processor and by memory. `readers` follow the trends table; `usable_gb` is what a
    shard may hold. Their copies are not counted.
    """
    rows = shop.rows(c["rows_click"].value)
    posts = shop.events / shop.post
    spent = {
        "redis_post": posts * c["redis_post"].value / 1e6,
        "redis_click": shop.events * c["redis_click"].value / 1e6,
        "redis_row": rows * c["redis_row"].value / 1e6,
        "redis_row_read": rows * readers * c["redis_row_read"].value / 1e6,
    }
    rest = sum(spent.values())

    def busy(count: int) -> float:
        return rest / count + c["redis_request"].busy_at(shop.requests / count) / 1e6

    by_cores = smallest(lambda count: busy(count) <= shop.usable)
    kept = redis_bytes(shop, c)
    total_gb = sum(kept.values()) / GB
    by_memory = max(1, ceil(total_gb / usable_gb - 1e-9))
    assert by_cores is not None
    count = max(by_cores, by_memory)
    spent["redis_request"] = count * c["redis_request"].busy_at(shop.requests / count) / 1e6
    words = ", ".join(f"{name} {size / GB:,.1f}" for name, size in kept.items())
    how = (
        f"{by_cores:,} shards by processor: " + ", ".join(f"{key} {cores:,.1f}" for key, cores in spent.items()),
        f"{rows:,.0f} rows/s of trends, read by {readers:,} followers",
        f"{by_memory:,} shards by memory, GB: {words}; {usable_gb:.1f} a shard",
    )
    loads = {"redis_request": shop.requests / count}
    return Part("Redis shards", count, sum(spent.values()), total_gb, spent, how, loads)

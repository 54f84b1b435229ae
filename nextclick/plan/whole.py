"""The whole plan: parts, machines, log and network of an ordinary day and of a sales day; money; what is not known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from math import ceil, log2
from typing import Any, Final

from nextclick.plan.coefficients import Coefficients
from nextclick.plan.money import MONTH_H, Money, money
from nextclick.plan.parts import GB, Latency, Part, flows, gateways, index_gb, memory_of, redis, redis_bytes, relays
from nextclick.plan.prices import Kind, Prices
from nextclick.plan.shop import DAY_S, Shop

LOG_COPIES = 3
LEAST_PARTITIONS = 8
PARTITIONS_A_SHARD = 4
"""Partitions to a shard of Redis: each is one slot, and slots lie on shards as chance has it."""
READERS_OF_CLICKS = 3
"""The sessions, trends and profiles flows each read every click."""
MEASURED_GATEWAYS = 2
MEASURED_WORKERS = 2
MEASURED_SHARDS = 1
TOPICS = 4


@dataclass(frozen=True, slots=True)
class Machines:
    """Machines of a kind, with those of a spare zone."""

    what: str
    kind: str
    count: int
    cores: float
    memory_gb: float
    hour: float
    how: str


@dataclass(frozen=True, slots=True)
class Log:
    """The event log in Kafka."""

    partitions: int
    brokers: int
    mb_s: float
    kept_gb: float
    how: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """Megabytes a second: from and to visitors, into and out of the log, and the trends table to who follows it."""

    in_mb_s: float
    out_mb_s: float
    log_mb_s: float
    follow_mb_s: float


@dataclass(frozen=True, slots=True)
class Day:
    """What a day needs. `blocked` says why the product as it is built cannot do it; then the gateways are those of a
    product in which one process a machine follows the trends table. `table_shards` says over how many slots the
    tables of trends and of items have to be spread, as a slot lies on one shard.
    """

    shop: Shop
    latency: Latency | None
    parts: tuple[Part, ...]
    machines: tuple[Machines, ...]
    cache: Kind
    cache_nodes: int
    table_shards: Mapping[str, int]
    log: Log
    network: Network
    blocked: tuple[str, ...]

    @property
    def busy_cores(self) -> float:
        return sum(part.busy_cores for part in self.parts)

    @property
    def processes(self) -> int:
        return sum(part.count or 0 for part in self.parts)

    @property
    def cores(self) -> float:
        """Cores of all machines, spare ones included, without brokers and Redis."""
        return sum(machines.count * machines.cores for machines in self.machines)

    def spent(self) -> dict[str, float]:
        """Return busy cores by coefficient, the largest first."""
        found: dict[str, float] = {}
        for part in self.parts:
            for name, cores in part.spent.items():
                found[name] = found.get(name, 0.0) + cores
        return dict(sorted(found.items(), key=lambda one: -one[1]))


ONE_MACHINE: Final = "one machine of"


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a shop."""

    ordinary: Day
    sales: Day | None
    money: Money
    warnings: tuple[str, ...]

    @property
    def on_one_machine(self) -> str | None:
        """Return that one machine does, and which, where it does."""
        return next((one for one in self.warnings if one.startswith(ONE_MACHINE)), None)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        days = {"ordinary": self.ordinary, "sales": self.sales}
        return {
            "v": 1,
            "days": {name: _day_json(day) for name, day in days.items() if day is not None},
            "money": asdict(self.money),
            "warnings": list(self.warnings),
        }


def _day_json(day: Day) -> dict[str, Any]:
    totals = {"busy_cores": day.busy_cores, "processes": day.processes, "cores": day.cores}
    return {**asdict(day), "totals": totals, "busy_cores_by_coefficient": day.spent()}


def plan(shop: Shop, c: Coefficients, prices: Prices) -> Plan:
    """Return what a shop needs. The log's partitions and brokers, and the shards of Redis, are those of the sales day
    all month: partitions are fixed for a deployment's life.
    """
    sales = day(shop.on_sales_day(), c, prices) if shop.peak > 1.0 else None
    ordinary = day(replace(shop, peak=1.0), c, prices)
    if sales is not None:
        ordinary = replace(ordinary, log=replace(sales.log, mb_s=ordinary.log.mb_s))
    cost = money(shop, ordinary, sales, prices)
    return Plan(ordinary, sales, cost, tuple(warnings(sales or ordinary, c, prices)))


def day(shop: Shop, c: Coefficients, prices: Prices) -> Day:
    """Return what one day's rates need."""
    blocked, relayed = [], shop.followers == "machine"
    part, latency = gateways(shop, c, row_us=c["gateway_row_relayed" if relayed else "gateway_row"].value)
    rows = f"each gateway process takes every row of trends, {shop.rows(c['rows_click'].value):,.0f} a second here"
    if part.count is None and not relayed:
        blocked.append(f"{rows}, and has no time for requests; figures are of a relay a machine (--followers machine)")
        relayed = True
        part, latency = gateways(shop, c, row_us=c["gateway_row_relayed"].value)
    if part.count is None:
        part, latency = gateways(shop, c, row_us=0.0)
        if part.count is not None:
            blocked.append(f"{rows}, too many by a relay too: write them less often (--emit-s); figures are without")
    if part.count is None:
        blocked.append(f"no number of gateways keeps p99 under {shop.p99_ms:g} ms: the parts of a request alone do not")
    parts = [part]
    serving = _machines("gateways", part.count or 1, shop, prices, index_gb(shop, c), memory_of(shop, c, processes=1))
    readers = part.count or 1
    if relayed:
        readers = max(1, serving.count)
        parts.append(relays(shop, c, readers))
        if parts[-1].busy_cores > shop.usable * readers:
            blocked.append("a relay is one process, and has not the time for so many rows: write them less often")
    workers = flows(shop, c)
    cache, shards = _shards(shop, c, prices, readers)
    flow_gb = max(one.memory_gb / (one.count or 1) for one in workers)
    working = _machines("flows", sum(one.count or 0 for one in workers), shop, prices, 0.0, flow_gb)
    return Day(
        shop=shop,
        latency=latency,
        parts=(*parts, *workers, shards),
        machines=(serving, working),
        cache=cache,
        cache_nodes=(shards.count or 1) * (1 + int(shop.replicas)),
        table_shards=_table_shards(shop, c, shards, cache.memory_gb * prices.cache_usable),
        log=_log(shop, c, prices, max(one.count or 1 for one in workers), shards.count or 1),
        network=_network(shop, c, readers),
        blocked=tuple(blocked),
    )


def _machines(what: str, processes: int, shop: Shop, prices: Prices, shared_gb: float, each_gb: float) -> Machines:
    """Return the machines that cost least: one core of each is left to the system, a fifth of its memory too."""
    best: Machines | None = None
    for kind in prices.machines:
        room = min(kind.cores - 1.0, (kind.memory_gb * 0.8 - shared_gb) / each_gb)
        if room < 1.0:
            continue
        bare = ceil(processes / int(room))
        count = with_spare(bare, int(shop.zones))
        how = f"{processes:,} processes, {int(room)} a machine: {bare:,}; {count:,} with a zone to spare"
        found = Machines(what, kind.name, count, kind.cores, kind.memory_gb, kind.hour, how)
        if best is None or count * kind.hour < best.count * best.hour:
            best = found
    if best is None:
        largest = max(kind.memory_gb for kind in prices.machines)
        how = f"{shared_gb + each_gb:,.1f} GB do not fit into {largest:g} GB: larger machines, or fewer items on each"
        return Machines(what, "none of those in the price file", 0, 0.0, 0.0, 0.0, how)
    return best


def with_spare(count: int, zones: int) -> int:
    """Return how many machines in so many zones leave `count` when one zone is lost."""
    return count if zones < 2 else zones * ceil(count / (zones - 1))


def _shards(shop: Shop, c: Coefficients, prices: Prices, readers: int) -> tuple[Kind, Part]:
    """Return the cache nodes that cost least, and the shards on them."""
    share = prices.cache_usable
    found = [(kind, redis(shop, c, readers=readers, usable_gb=kind.memory_gb * share)) for kind in prices.caches]
    return min(found, key=lambda one: (one[1].count or 0) * one[0].hour)


def _table_shards(shop: Shop, c: Coefficients, shards: Part, usable_gb: float) -> dict[str, int]:
    busy = shards.spent["redis_row"] + shards.spent["redis_row_read"]
    items_gb = redis_bytes(shop, c)["items"] / GB
    return {"trends": max(1, ceil(busy / shop.usable - 1e-9)), "items": max(1, ceil(items_gb / usable_gb - 1e-9))}


def _log(shop: Shop, c: Coefficients, prices: Prices, workers: int, shards: int) -> Log:
    events = shop.events + shop.requests
    spread = PARTITIONS_A_SHARD * shards if shards > 1 else 1
    wanted = max(2 * workers, ceil(events / prices.partition_events), spread, LEAST_PARTITIONS)
    partitions = 2 ** ceil(log2(wanted))
    mb_s = (shop.events * c["click_log_bytes"].value + shop.requests * c["impression_log_bytes"].value) / 1e6
    by_bytes = ceil(LOG_COPIES * mb_s / prices.broker_mb_s)
    by_partitions = ceil(TOPICS * LOG_COPIES * partitions / prices.broker_partitions)
    kept_gb = mb_s * DAY_S * shop.log_days * LOG_COPIES / 1e3
    how = (
        f"partitions: two for each of {workers} workers of the largest flow, one for {prices.partition_events:,.0f} "
        f"of {events:,.0f} events/s, {PARTITIONS_A_SHARD} for each of {shards:,} shards; the next power of two",
        f"brokers: {by_bytes} by {LOG_COPIES} x {mb_s:,.1f} MB/s, {by_partitions} by partitions, {LOG_COPIES} at least",
    )
    return Log(partitions, max(LOG_COPIES, by_bytes, by_partitions), mb_s, kept_gb, how)


def _network(shop: Shop, c: Coefficients, readers: int) -> Network:
    clicks = shop.events * c["click_log_bytes"].value / 1e6
    pages = shop.requests * c["impression_log_bytes"].value / 1e6
    posted = shop.events * c["post_bytes"].value / 1e6
    return Network(
        in_mb_s=shop.requests * c["question_bytes"].value / 1e6 + posted,
        out_mb_s=shop.requests * c["answer_bytes"].value / 1e6,
        log_mb_s=(LOG_COPIES + READERS_OF_CLICKS) * clicks + (LOG_COPIES + 1) * pages,
        follow_mb_s=shop.rows(c["rows_click"].value) * c["row_bytes"].value * readers / 1e6,
    )


def warnings(day: Day, c: Coefficients, prices: Prices) -> Iterator[str]:
    """Yield what cannot be, and what a plan says of loads and sizes that nobody measured, and by what factor."""
    yield from day.blocked
    if (kind := one_machine(day, c, prices)) is not None:
        price = f"{kind.name} ({kind.hour * MONTH_H:,.0f} a month at list price)"
        yield f"{ONE_MACHINE} {price} does: `nextclick up`, with Redis and the log within it, and nothing to spare"
    if day.cache_nodes > prices.cache_nodes:
        yield f"Redis nodes: {day.cache_nodes:,}, more than the {prices.cache_nodes:,.0f} of one cluster"
    yield from _beyond(day, c)
    if (serving := day.machines[0]).count == 0:
        yield f"machines: {serving.how}"
    if day.network.follow_mb_s > 1_000.0:
        yield f"the trends table to who follows it: {day.network.follow_mb_s:,.0f} MB/s out of Redis"


def one_machine(day: Day, c: Coefficients, prices: Prices) -> Kind | None:
    """Return the cheapest machine that everything fits on, Redis too, with nothing spare; None where none does."""
    memory = index_gb(day.shop, c) + sum(part.memory_gb for part in day.parts)
    cores = day.busy_cores / day.shop.usable
    found = [kind for kind in prices.machines if kind.cores - 1.0 >= cores and 0.8 * kind.memory_gb >= memory]
    return min(found, key=lambda kind: kind.hour) if found and not day.blocked else None


def _beyond(day: Day, c: Coefficients) -> Iterator[str]:
    """Yield loads and sizes beyond those that were measured, with the factor."""
    counts: Mapping[str, int] = {part.name: part.count or 0 for part in day.parts}
    flow = max((part for part in day.parts if part.name.endswith("flow")), key=lambda part: part.count or 0)
    for what, count, most in (
        ("gateway processes", counts["gateways"], MEASURED_GATEWAYS),
        (f"workers of the {flow.name}", flow.count or 0, MEASURED_WORKERS),
        ("shards of Redis", counts["Redis shards"], MEASURED_SHARDS),
    ):
        if count > most:
            yield f"{what}: {count:,}, {count / most:,.0f} times what was measured ({most})"
    for part in day.parts:
        for name, load in part.loads.items():
            if part.count and c[name].beyond(load) > 1.05:
                yield f"{part.name}: {load:,.0f}/s each, {c[name].beyond(load):.1f} times what {name} was measured at"
    each = day.shop.items / day.shop.graphs
    if (times := c["gateway_search"].beyond(each)) > 1.05:
        yield f"graphs of {each:,.0f} items: {times:,.1f} times the largest that was measured"
    if day.shop.graphs > 1:
        yield f"an index of {day.shop.graphs} graphs on one machine: the sum of their searches, not measured together"

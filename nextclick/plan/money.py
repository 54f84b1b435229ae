"""Money a month: counts times list prices, as a range from a year's commitment at a third of the peak to list prices at
the peak all day.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nextclick.plan.prices import Prices
from nextclick.plan.shop import DAY_S, Shop

if TYPE_CHECKING:
    from nextclick.plan.whole import Day

MONTH_DAYS = 30.4
MONTH_H = MONTH_DAYS * 24.0
MEAN_OF_PEAK = 1.0 / 3.0
"""A day's mean against its busiest hour, for the low end of what is paid by the gigabyte."""


@dataclass(frozen=True, slots=True)
class Cost:
    """A line of the bill, a month: from `low` to `high`."""

    what: str
    low: float
    high: float
    how: str


@dataclass(frozen=True, slots=True)
class Money:
    """The bill of a month, and the prices that it stands on."""

    currency: str
    date: str
    source: str
    costs: tuple[Cost, ...]
    low: float
    high: float


def money(shop: Shop, ordinary: Day, sales: Day | None, prices: Prices) -> Money:
    """Return the bill. Machines are those of the day; Redis and the log are those of the sales day all month."""
    days = shop.peak_days if sales is not None else 0.0
    largest = sales or ordinary
    costs = [*_machines(ordinary, sales, days, prices)]
    nodes, brokers = largest.cache_nodes, largest.log.brokers
    costs.append(_hours(f"Redis: {nodes} x {largest.cache.name}", nodes * largest.cache.hour, prices))
    costs.append(_hours(f"Kafka: {brokers} x {prices.broker.name}", brokers * prices.broker.hour, prices))
    kept = ordinary.log.kept_gb
    costs.append(Cost("Kafka: disk", *(2 * (kept * prices.disk_gb_month,)), how=f"{kept:,.0f} GB, copies included"))
    costs += _transfer(ordinary, sales, days, prices)
    low, high = sum(cost.low for cost in costs), sum(cost.high for cost in costs)
    return Money(prices.currency, prices.date, prices.source, tuple(costs), low, high)


def _hours(what: str, hour: float, prices: Prices) -> Cost:
    high = hour * MONTH_H
    return Cost(what, high * prices.committed, high, f"{hour:,.2f} an hour, {MONTH_H:.0f} h")


def _machines(ordinary: Day, sales: Day | None, days: float, prices: Prices) -> list[Cost]:
    found = [_hours(f"{one.what}: {one.count} x {one.kind}", one.count * one.hour, prices) for one in ordinary.machines]
    if sales is not None and days:
        hour = sum(one.count * one.hour for one in sales.machines) - sum(
            one.count * one.hour for one in ordinary.machines
        )
        more = max(0.0, hour) * 24.0 * days
        found.append(Cost(f"more machines on {days:g} sales days", more, more, f"{hour:,.2f} an hour more, on demand"))
    return found


def _transfer(ordinary: Day, sales: Day | None, days: float, prices: Prices) -> list[Cost]:
    def month_gb(name: str) -> float:
        usual: float = getattr(ordinary.network, name)
        busy: float = getattr(sales.network, name) if sales is not None else 0.0
        return (usual * (MONTH_DAYS - days) + busy * days) * DAY_S / 1e3

    def ranged(what: str, gb: float, price: float) -> Cost:
        how = f"{gb:,.0f} GB at the peak all day; low: {MEAN_OF_PEAK:.0%} of it"
        return Cost(what, gb * price * MEAN_OF_PEAK, gb * price, how)

    both = month_gb("in_mb_s") + month_gb("out_mb_s")
    inside = (month_gb("log_mb_s") + month_gb("follow_mb_s")) * 2.0 / 3.0  # of three zones, two are others
    through = ranged("balancer", both, prices.balancer_gb)
    hours = prices.balancer_hour * MONTH_H
    return [
        ranged("to the internet", month_gb("out_mb_s"), prices.out_gb),
        replace(through, low=through.low + hours, high=through.high + hours),
        ranged("between zones", inside, prices.zone_gb),
    ]

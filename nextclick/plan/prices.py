"""What machines, brokers, cache nodes and transfer cost: assumptions of a date, for the user to replace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

from contracts.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Kind:
    """A machine, cache node or broker that can be had: cores, memory, and its price for an hour."""

    name: str
    cores: float
    memory_gb: float
    hour: float


@dataclass(frozen=True, slots=True)
class Prices:
    """List prices in `currency` on `date`. `committed` is what a year's commitment costs, as a share of them."""

    date: str
    currency: str
    source: str
    machines: tuple[Kind, ...]
    caches: tuple[Kind, ...]
    broker: Kind
    broker_mb_s: float
    """Megabytes a second that a broker writes, copies included: an assumption."""
    broker_partitions: float
    """Partitions of a broker, copies included."""
    partition_events: float
    """Events a second that one partition takes: an assumption."""
    disk_gb_month: float
    object_gb_month: float
    zone_gb: float
    """A gigabyte from one zone to another, both ends."""
    out_gb: float
    """A gigabyte to the internet."""
    balancer_hour: float
    balancer_gb: float
    """A gigabyte through the balancer."""
    committed: float
    cache_nodes: float
    """Nodes of one Redis Cluster, copies included, that a provider offers at most."""
    cache_usable: float
    """Share of a cache node's memory that data may take: the rest is for copies on write and buffers."""


def prices_of(document: Mapping[str, Any]) -> Prices:
    """Read a table of prices. Raises SettingsError for one that is missing, unknown or below 0."""
    names = {field.name for field in fields(Prices)}
    if document.keys() != names:
        missing, more = sorted(names - document.keys()), sorted(document.keys() - names)
        raise SettingsError(f"prices: expected {len(names)} entries, missing {missing}, not known {more}")
    found: dict[str, Any] = dict(document)
    for name in ("machines", "caches"):
        found[name] = tuple(_kind(name, one) for one in document[name])
        if not found[name]:
            raise SettingsError(f"prices: expected at least one of {name}, got none")
    found["broker"] = _kind("broker", document["broker"])
    for name, value in found.items():
        if name in ("date", "currency", "source"):
            found[name] = str(value)
        elif not isinstance(value, tuple | Kind):
            found[name] = _number(name, value)
    for name in ("committed", "cache_usable"):
        if found[name] > 1.0:
            raise SettingsError(f"prices: {name}: expected a share up to 1, got {found[name]:g}")
    return Prices(**found)


def _kind(name: str, fields_: Any) -> Kind:
    if not isinstance(fields_, Mapping) or fields_.keys() != {"name", "cores", "memory_gb", "hour"}:
        raise SettingsError(f"prices: {name}: expected name, cores, memory_gb and hour, got {fields_!r:.80}")
    numbers = {key: _number(f"{name}.{key}", fields_[key]) for key in ("cores", "memory_gb", "hour")}
    return Kind(str(fields_["name"]), **numbers)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value <= 0.0:
        raise SettingsError(f"prices: {name}: expected a number above 0, got {value!r:.40}")
    return float(value)

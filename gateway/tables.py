"""The tables that a gateway follows: one list. A table is declared here, and its replica, its readiness, its lag and
its metrics follow from that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from contracts import keys
from contracts.outage import SharedOutage
from contracts.settings import RedisSettings, ServiceSettings
from gateway.consents import Refusals
from gateway.experiments import Decisions
from gateway.key_table import KeyTable
from gateway.live_index import LiveIndex
from gateway.replica import Arrays, Refused, Replica, Rows
from gateway.replicas import into_sessions, into_showings, into_trends, keys_of
from gateway.settings import GatewayOptions
from gateway.sharded_replica import Followed, ShardedReplica, keys_of_shard
from retrieval.serving_state import ServingState
from state.relay_words import RELAYED
from state.shards import shard_readers

log = logging.getLogger("nextclick.gateway")


@dataclass(frozen=True, slots=True)
class Columns:
    """What the tables are followed into."""

    settings: ServiceSettings
    live: LiveIndex
    state: ServingState
    decisions: Decisions
    api_keys: KeyTable
    refusals: Refusals


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is followed."""

    name: str
    """In readiness, in metrics and in logs."""
    key: str
    """In Redis: see `contracts.keys`."""
    apply: Callable[[Columns], Callable[[Rows], None]]
    """Returns what writes encoded rows into the columns."""
    held: Callable[[Columns], Callable[[], Iterable[int]]]
    """Returns what lists the row keys that the columns hold."""
    count: Callable[[Columns], Callable[[], int]]
    """Returns what counts the rows in memory."""
    arrays: Callable[[Columns], Arrays] | None = None
    """Returns what writes changes that come as arrays, where rows are many and small."""


CATALOGUE: Final = Table(
    "catalogue",
    keys.CATALOGUE,
    apply=lambda columns: columns.live.take,
    held=lambda columns: keys_of(columns.state.catalogue),
    count=lambda columns: columns.state.catalogue.__len__,
)
TRENDS: Final = Table(
    "trends",
    keys.TRENDS,
    apply=lambda columns: columns.state.trends.apply_rows,
    held=lambda columns: columns.state.trends.held,
    count=lambda columns: columns.state.trends.__len__,
    arrays=lambda columns: into_trends(columns.state.trends),
)
SHOWINGS: Final = Table(
    "showings",
    keys.SHOWINGS,
    apply=lambda columns: into_showings(columns.state.trends),
    held=lambda columns: columns.state.trends.blocks,
    count=lambda columns: lambda: len(columns.state.trends.blocks()),
)
ENDED: Final = Table(
    "ended",
    keys.ENDED,
    apply=lambda columns: into_sessions(columns.state.ended, columns.settings.trend.sessions),
    held=lambda columns: columns.state.ended.slots,
    count=lambda columns: columns.state.ended.__len__,
)
SCENARIOS: Final = Table(
    "scenarios",
    keys.SCENARIOS,
    apply=lambda columns: columns.decisions.apply,
    held=lambda columns: columns.decisions.held,
    count=lambda columns: columns.decisions.__len__,
)
REFUSALS: Final = Table(
    "refusals",
    keys.REFUSALS,
    apply=lambda columns: columns.refusals.apply,
    held=lambda columns: columns.refusals.held,
    count=lambda columns: columns.refusals.__len__,
)
TABLES: Final = (CATALOGUE, TRENDS, SHOWINGS, ENDED, SCENARIOS, REFUSALS)
API_KEYS: Final = Table(
    "keys",
    keys.API_KEYS,
    apply=lambda columns: columns.api_keys.apply,
    held=lambda columns: columns.api_keys.held,
    count=lambda columns: columns.api_keys.__len__,
)
"""Followed where keys are asked."""


def tables_of(options: GatewayOptions) -> tuple[Table, ...]:
    """Return the tables that a gateway with these options follows."""
    return (*TABLES, API_KEYS) if options.asks_keys else TABLES


FOLLOWING: web.AppKey[SharedOutage] = web.AppKey("outage of what is followed in Redis")
"""One line when Redis cannot be followed, whatever is followed there."""


def following() -> SharedOutage:
    return SharedOutage(log, "tables are not followed now, answers are from memory: ")


REPLICAS: web.AppKey[Mapping[str, Followed]] = web.AppKey("replicas")
"""The followed tables of an application, by name."""


def replicas_of(
    columns: Columns,
    tables: Iterable[Table],
    redis: RedisSettings,
    refused: Callable[[str], Refused],
    turn: asyncio.Lock,
    outage: SharedOutage,
) -> dict[str, Followed]:
    """Return a replica of each table, by name. `refused` is told a table's key and returns who is told of bad rows;
    `turn` is held while rows are applied; `outage` tells of all of them.
    """
    found: dict[str, Followed] = {}
    for table in tables:
        relay = columns.settings.relay.socket if table.key in RELAYED else ""
        readers, held = shard_readers(redis, table.key, relay), table.held(columns)
        count = len(readers)
        start = columns.live.start if table is CATALOGUE else None
        starts = (start.of(count) if start is not None else None) or [None] * count
        parts = [
            Replica(
                table.name if count == 1 else f"{table.name}:{shard}",
                reader,
                table.apply(columns),
                held if count == 1 else keys_of_shard(held, shard, count),
                starts[shard],
                refused(table.key),
                turn,
                outage.part(),
                table.arrays(columns) if table.arrays is not None else None,
            )
            for shard, reader in enumerate(readers)
        ]
        found[table.name] = parts[0] if count == 1 else ShardedReplica(table.name, parts)
    return found

"""Experiments and units of them, with an effect that is known."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from attribution.rows import Row, encode_row
from contracts.experiments import Experiment, ExperimentVersion
from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.client import connect

HALF: dict[str, Any] = {
    "scenario": "homepage",
    "variants": [{"name": "control", "share": 0.5}, {"name": "b", "share": 0.5, "patch": {"bury": ["shoe-1"]}}],
}
MASKS = {"control": f"{(1 << 500) - 1:x}", "b": f"{((1 << 1000) - 1) ^ ((1 << 500) - 1):x}"}


def published(now_ms: int = 0, **fields: Any) -> ExperimentVersion:
    """Return an experiment that was published at a moment, with what is named apart."""
    own = {name: fields.pop(name) for name in ("version", "stopped_ms", "by", "why", "promoted") if name in fields}
    return ExperimentVersion(
        name="x",
        published_ms=now_ms,
        started_ms=now_ms,
        experiment=Experiment.model_validate({**HALF, **fields}),
        buckets=MASKS,
        **{"version": 1, **own},
    )


def plant(
    redis: RedisSettings, name: str, units: int, *, better: int = 1, orders: Callable[[int], int] = lambda n: n % 2
) -> None:
    """Keep rows of so many sessions of each variant: `better` clicks more, and `orders` by number, in `b`."""
    now_ms = time.time_ns() // 1_000_000
    rows: dict[str, bytes] = {}
    for n in range(units):
        own = {"device": "phone" if n % 4 else "desktop", "region": "", "first_ms": now_ms, "pages": 4, "shown": 32}
        control = Row(variant="control", clicks=n % 2, orders=n % 2, **own)
        treated = Row(variant="b", clicks=n % 2 + 1, orders=orders(n), **own)
        rows |= {f"c{n}": encode_row(control), f"b{n}": encode_row(treated)}
    client = connect(redis)
    client.hset(Keys(redis.prefix).experiment_units(name, "session"), mapping=rows)
    client.close()

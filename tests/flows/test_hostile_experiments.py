"""Experiments in the attribution flow and in the judge: foreign things under their keys, and pages that nobody made."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import orjson
import pytest

from contracts.experiments import ExperimentVersion
from contracts.keys import Keys
from contracts.settings import RedisSettings, ServiceSettings
from eventlog.contract import Record, Topic
from eventlog.open_log import open_writer
from flows.attribution_steps import AttributionPath, decode_facts
from judge.bandits import HOUR_MS, SharesJob
from judge.sources import StoredSources
from state.client import connect
from tests.flows.test_attribution_flow import LOG, NOW, OPTIONS, batch, open_store
from tests.judge.planted import published

BANDIT = {"kind": "bandit", "context": ["device", "returning"]}
FOREIGN: list[Callable[[Any, str], Any]] = [
    lambda redis, key: redis.set(key, b"\xff\x00{"),
    lambda redis, key: redis.rpush(key, b"\xff"),
    lambda redis, key: redis.sadd(key, b"x"),
    lambda redis, key: redis.zadd(key, {b"\xff": float("inf"), b"x": float("-inf"), b"": 1.5}),
    lambda redis, key: redis.xadd(key, {b"a": b"b"}),
    lambda redis, key: redis.hset(
        key,
        mapping={
            b"\xff": b"\xff",
            b"": b"",
            b"s": b"\x9c",
            b'[1e999,"control","phone","yes","pages"]': b"10000",
            b'[-9000000000000000000,"control","phone","yes","pages"]': b"999999999999999999",
            b'[9000000000000000000,"b","phone","yes","clicks"]': b"-999999999999999999",
            b'[true,"b","phone","yes","clicks"]': b"5",
            b'[[],"b","phone","yes","clicks"]': b"5",
            b'["x"]': b"5",
            b"[" * 3000: b"5",
        },
    ),
]


def page(n: int, **said: Any) -> Record:
    own = {"v": 1, "session_id": said.pop("session_id", f"s{n}"), "ts": said.pop("ts", NOW + n), "type": "impression"}
    context = {"scenario": "homepage", "experiment": "x", "variant": "b", "device": "phone", **said}
    own |= {"event_id": f"impression-r{n}", "request_id": f"r{n}", "items": ["i", "j"], "context": context}
    return Record(own["session_id"], orjson.dumps(own))


def bandit(now_ms: int) -> ExperimentVersion:
    return published(now_ms, allocation=BANDIT)


def test_foreign_things_under_keys_of_experiments_end_neither_the_flow_nor_the_judge(
    redis_settings: RedisSettings, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(redis_settings)
    path = AttributionPath(store=store, writer=lambda: open_writer(LOG, redis_settings), options=OPTIONS)
    redis, keys = connect(redis_settings), Keys(redis_settings.prefix)
    version = bandit(NOW - HOUR_MS)
    job = SharesJob(redis_settings, lambda: [version], lambda: NOW)
    sources = StoredSources(ServiceSettings(redis=redis_settings, log=LOG))
    day, numbers = NOW // 86_400_000, count(1)
    names = [keys.experiment_units("x", "session"), keys.experiment_sums("x", day), keys.attribution_experiments()]
    names += [keys.bandit_shares("x"), keys.attribution_progress(), keys.attribution_facts()]
    for name in names:
        for put in FOREIGN:
            first, second = next(numbers), next(numbers)
            redis.unlink(keys.attribution_progress(), name)
            put(redis, name)
            for _ in range(2):
                job.write()
                sources.units(version)
                sources.counted()
            redis.unlink(keys.attribution_progress())
            path.apply(
                decode_facts(
                    batch([page(first), page(second)], topic=Topic.IMPRESSIONS), now_ms=NOW, max_future_ms=60_000
                )
            )
            assert {f"s{first}", f"s{second}"} <= {row.unit for row in sources.units(version).rows}, (name, put)
            store.forget_experiments(NOW // HOUR_MS - 1)
            job.write()
    assert all(record.levelno < logging.CRITICAL for record in caplog.records)
    assert len(caplog.records) < 20
    for one in (redis, store, job, sources):
        one.close()


def test_pages_that_nobody_made_are_counted_or_left_out_and_end_nothing(redis_settings: RedisSettings) -> None:
    store = open_store(redis_settings)
    path = AttributionPath(store=store, writer=lambda: open_writer(LOG, redis_settings), options=OPTIONS)
    said: list[dict[str, Any]] = [{"propensity": one} for one in (-1, 0, 2, True, "1", None, [], {}, 1e300, 5e-324)]
    said += [{"between": one, "teams": [0, 1]} for one in ([], {}, ["a"], ["a", {}], ["a", "b", "c"], "ab", ["", ""])]
    said += [
        {"between": ["control", "b"], "teams": one}
        for one in ([], [0], [0, 1, 0], [0, 2], [0, -1], [[], {}], [True, 1.0], ["0", "1"], [0, None], 1, {})
    ]
    said += [{"experiment": one} for one in ("e" * 65_536, {}, [], 5, True, "\0", "é:{x}", "__proto__", "")]
    said += [{"variant": one} for one in ("v" * 65_536, {}, [], 5, None)]
    said += [{"ts": one} for one in (0, 1, NOW - 400 * 86_400_000, 4_102_444_800_000)]
    said += [{"experiment": f"forged-{n}"} for n in range(700)]
    said += [{"session_id": "long", "ts": NOW + n} for n in range(500)]
    records = [page(n, **one) for n, one in enumerate(said)]
    raw = records[0].value.replace(b'"propensity":-1', b'"propensity":1e999')
    records += [Record("s", raw), Record("s", raw.replace(b"1e999", b"NaN"))]
    begun = time.monotonic()
    for start in range(0, len(records), 100):
        found = batch(records[start : start + 100], start, Topic.IMPRESSIONS)
        path.apply(decode_facts(found, now_ms=NOW, max_future_ms=60_000))
    assert time.monotonic() - begun < 20
    assert store.place(str(Topic.IMPRESSIONS), 0).next_offset == len(records)
    store.close()

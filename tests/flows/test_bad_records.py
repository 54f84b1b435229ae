"""Records, rows and blobs that cannot be taken, in the flows as they run, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import redis

from contracts.codec import decode_row
from contracts.ids import item_key
from contracts.items import ItemPut, StockSet, encode_change
from contracts.keys import CATALOGUE, SHOWINGS, TRENDS, Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.open_log import open_dead_letters, open_writer
from state.sessions import SessionStore
from state.tables import TableReader, TableWriter
from tests.damage import SESSION_BLOBS, TABLES, damaged, nested

ROOT = Path(__file__).parents[2]
LOG = LogSettings(partitions=1)
NOW_MS = time.time_ns() // 1_000_000


@contextmanager
def worker(redis_settings: RedisSettings, flow: str) -> Iterator[subprocess.Popen[bytes]]:
    env = {
        **os.environ,
        "NEXTCLICK_REDIS__URL": redis_settings.url,
        "NEXTCLICK_REDIS__PREFIX": redis_settings.prefix,
        "NEXTCLICK_LOG__PARTITIONS": str(LOG.partitions),
        "NEXTCLICK_TREND__EMIT_INTERVAL_MS": "0",
    }
    command = [sys.executable, "-m", "bytewax.run", f"flows.{flow}:flow"]
    process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], timeout_s: float = 120) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, process.communicate()[1].decode()[-3000:]
        assert time.monotonic() < until, "gave up waiting"
        time.sleep(0.02)


def append(redis_settings: RedisSettings, topic: Topic, values: Sequence[bytes]) -> None:
    writer = open_writer(LOG, redis_settings)
    writer.append(topic, [Record("k", value) for value in values])
    writer.close()


def letters_of(redis_settings: RedisSettings) -> list[tuple[str, str]]:
    letters = open_dead_letters(LOG, redis_settings)
    kept = sorted((letter.source, letter.reason) for letter in letters.read(1000))
    letters.close()
    return kept


def click(n: int, session: str = "s", **more: Any) -> bytes:
    fields = {"v": 1, "event_id": f"e{n}", "type": "view", "session_id": session, "item_id": f"i{n % 3}", "ts": NOW_MS}
    return orjson.dumps(fields | more)


def deep_click(n: int, field: bytes, depth: int) -> bytes:
    return click(n)[:-1] + b',"%s":%s}' % (field, nested(depth))


BAD_CLICKS = {
    **{f"click, {kind}": raw for kind, raw in damaged(click(900)).items()},
    "context nested 1010 deep": deep_click(901, b"context", 1010),
    "version nested 1010 deep": deep_click(902, b"v", 1010),
    "items nested 1010 deep": deep_click(903, b"items", 1010),
    "nested 5000 deep": deep_click(904, b"x", 5000),
}


def test_the_sessions_flow_goes_on_past_bad_clicks_rows_and_sessions(redis_settings: RedisSettings) -> None:
    table = TABLES["catalogue"]
    writer = TableWriter(redis_settings, CATALOGUE)
    writer.commit({**{kind.encode(): raw for kind, raw in table.kinds().items()}, **table.put("i0", "i1")})
    keys = Keys(redis_settings.prefix)
    bad = [f"session, {kind}" for kind in SESSION_BLOBS]
    with redis.Redis.from_url(redis_settings.url) as client:
        for name, blob in zip(bad, SESSION_BLOBS.values(), strict=True):
            client.set(keys.session(0, name), blob)
    values = [click(n, bad[n % len(bad)]) for n in range(100)]
    for place, raw in enumerate(BAD_CLICKS.values()):
        values.insert(7 * place, raw)
    append(redis_settings, Topic.CLICKS, values)
    store = SessionStore(redis_settings, idle_gap_ms=60_000)
    with worker(redis_settings, "sessions") as process:
        wait_for(lambda: store.progress(0).next_offset == len(values), process)
        writer.commit({table.name("bad"): b"\x01cut"})  # and while it follows
        append(redis_settings, Topic.CLICKS, [click(1000, "last")])
        wait_for(lambda: store.progress(0).next_offset == len(values) + 1, process)
    counts = dict(store.progress(0).counts)
    assert counts == {"applied": 101, "dead_lettered": len(BAD_CLICKS), "begun_afresh": len(bad)}
    sessions = store.load(0, bad).sessions
    assert sum(session.events for session in sessions.values()) == 100
    kept = letters_of(redis_settings)
    assert [reason for _, reason in kept].count("bad_session") == len(bad)
    assert {source for source, _ in kept if source.startswith("clicks:")} == {
        f"clicks:0:{7 * place}" for place in range(len(BAD_CLICKS))
    }
    store.close()
    writer.close()


def put(name: str, **fields: Any) -> bytes:
    return orjson.dumps({"op": "put", "item_id": name, "item": {"title": name, **fields}})


def deep_put(name: str, depth: int) -> bytes:
    return b'{"op":"put","item_id":"%s","item":{"title":"t","attributes":{"a":%s}}}' % (name.encode(), nested(depth))


BAD_CHANGES = {
    **{f"change, {kind}": raw for kind, raw in damaged(put("x")).items()},
    "an item 300 deep": deep_put("shoe", 300),
    "an item 1010 deep": deep_put("shoe", 1010),
    "an item that answers could not show": deep_put("shoe", 201),
    "an item seen after all time": b'{"op":"seen","item_id":"never","ts":%d}' % (2**63 - 1),
    "an item seen beyond 64 bits": b'{"op":"seen","item_id":"never","ts":%d}' % 2**70,
    "an op nested 1010 deep": b'{"op":%s,"item_id":"x"}' % nested(1010),
}


def test_the_items_flow_goes_on_past_bad_changes_and_keeps_what_came_before_them(
    redis_settings: RedisSettings,
) -> None:
    values = [encode_change(ItemPut.model_validate({"item_id": "shoe", "item": {"title": "Shoe"}}))]
    values += [encode_change(StockSet(item_id="shoe", stock=0))]  # in the batch of what cannot be written of it
    for place, raw in enumerate(BAD_CHANGES.values()):
        values += [raw, put(f"i{place}")]
    append(redis_settings, Topic.ITEMS, values)
    reader = TableReader(redis_settings, CATALOGUE)
    with worker(redis_settings, "items") as process:
        wait_for(lambda: reader.applied(Topic.ITEMS, 0) == len(values), process)
    [raw] = reader.get([TABLES["catalogue"].name("shoe")])
    assert raw is not None
    shoe = decode_row(raw)
    assert (shoe.item.title, shoe.stock) == ("Shoe", 0)
    assert reader.size() == 1 + len(BAD_CHANGES)
    reasons = {int(source.rpartition(":")[2]): reason for source, reason in letters_of(redis_settings)}
    assert sorted(reasons) == [2 + 2 * place for place in range(len(BAD_CHANGES))]
    assert [reasons[at] for at in sorted(reasons)][-6:] == ["bad_record"] * 4 + ["invalid"] * 2
    reader.close()


def test_the_trends_flow_goes_on_past_bad_records_of_both_topics(redis_settings: RedisSettings) -> None:
    values = [click(n, f"s{n}") for n in range(30)]
    for place, raw in enumerate(BAD_CLICKS.values()):
        values.insert(2 * place, raw)
    append(redis_settings, Topic.CLICKS, values)
    shown = orjson.dumps(
        {"v": 1, "event_id": "m", "type": "impression", "session_id": "s", "items": ["shown"], "ts": NOW_MS}
    )
    append(redis_settings, Topic.IMPRESSIONS, [*BAD_CLICKS.values(), shown])
    reader = TableReader(redis_settings, TRENDS)
    shown_ones = TableReader(redis_settings, SHOWINGS)
    names = [item_key(name).to_bytes(8, "little") for name in ("i0", "i1", "i2")]
    with worker(redis_settings, "trends") as process:
        wait_for(lambda: None not in reader.get(names) and shown_ones.size() == 1, process)
    shown_ones.close()
    kept = letters_of(redis_settings)
    assert [source for source, _ in kept] == sorted(f"impressions:0:{n}" for n in range(len(BAD_CLICKS)))
    reader.close()

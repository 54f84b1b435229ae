"""What tests of backups share: a small deployment in a Redis, and all that a Redis holds, to be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import redis

from contracts.api_keys import Scope, new_key
from contracts.keys import CATALOGUE, SCENARIOS
from contracts.sessions import CLICK, Session
from contracts.settings import RedisSettings
from eventlog.contract import DeadLetter, Record, Topic
from eventlog.redis_log import RedisLogWriter
from nextclick.stack.backup.making import make_backup
from nextclick.stack.backup.manifest import Manifest
from nextclick.stack.backup.restoring import Restored, restore_backup
from nextclick.stack.settings import StackOptions, StackSettings, with_given
from state.client import connect
from state.documents import DocumentStore
from state.key_copies import drop_staged
from state.key_store import KeyStore
from state.redis_snapshot import keys_of
from state.sessions import SessionStore
from state.tables import Source, TableWriter
from state.users import UserStore

GAP_MS = 1_800_000
NOW_MS = 1_764_400_000_000


def session(name: str, events: int) -> Session:
    window = np.zeros(1, CLICK)
    window[0] = (1000, 7, 8, 1)
    return Session(name, "u1", 1000, 1000, events, 41, window, np.array([1.0, 0.0], np.float32), 5)


def fill(settings: StackSettings) -> None:
    """Write what every part of a deployment writes: log, sessions, catalogue, users, scenarios, keys, counters."""
    own = settings.redis
    log = RedisLogWriter(settings.log, own)
    log.append(Topic.CLICKS, [Record(f"s{n % 7}", orjson.dumps({"click": n})) for n in range(300)])
    log.dead_letter([DeadLetter("gateway", 2, "invalid", "no item", 1000, b"{}")])
    sessions = SessionStore(own, idle_gap_ms=GAP_MS)
    sessions.commit(3, start=0, next=40, watermark_ms=1000, sessions=[session("a", 40)], counts={"applied": 40})
    items = TableWriter(own, CATALOGUE)
    items.commit({bytes([n, *bytes(7)]): b"row" for n in range(100)}, [], source=Source("items", 0, 0, 100))
    users = UserStore(own, partitions=settings.log.partitions)
    users.change("u1", lambda _: {"region": "north"})
    scenarios = DocumentStore(own, SCENARIOS)
    scenarios.publish("home", lambda version: orjson.dumps({"name": "home", "version": version}))
    keys = KeyStore(own)
    key, _ = new_key("site", [Scope.EVENTS], public=False, now_ms=NOW_MS)
    keys.change(lambda _: ([key], []))
    for one in (log, sessions, items, users, scenarios, keys):
        one.close()


def contents(url: str, pattern: str = "*") -> dict[bytes, Any]:
    """Return all that a Redis holds, by key: the value, and whether it expires."""
    client = redis.Redis.from_url(url)
    found = {}
    for key in client.scan_iter(pattern, count=1000):
        kind = client.type(key).decode()
        read = {
            "string": client.get,
            "hash": client.hgetall,
            "list": lambda key: client.lrange(key, 0, -1),
            "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
            "stream": client.xrange,
        }
        found[key] = (read[kind](key), client.ttl(key) >= 0)
    client.close()
    return found


def deployment(folder: Path, **given: object) -> StackSettings:
    """Return the settings of a stack in a folder."""
    return with_given(StackSettings(stack=StackOptions(port=0, folder=folder)), given)


def at(settings: StackSettings, url: str) -> StackSettings:
    """Return the settings with another Redis."""
    return with_given(settings, {"redis.url": url})


def backup(settings: StackSettings, to: Path, **given: Any) -> Manifest:
    return make_backup(settings, to, **{"now_ms": NOW_MS, "environment": {}, "named_files": {}, **given})


def beside(settings: StackSettings, own: RedisSettings) -> StackSettings:
    """Return the settings with these of Redis."""
    return settings.model_copy(update={"redis": own})


def emptied(settings: StackSettings) -> None:
    client = connect(settings.redis)
    drop_staged(client, settings.redis.prefix)
    for keys in keys_of(client, settings.redis.prefix):
        client.unlink(*keys)
    client.close()


def held(settings: StackSettings) -> dict[bytes, bytes]:
    """Return all keys of a deployment, as DUMP tells them."""
    client = connect(settings.redis)
    found = {key: client.dump(key) for keys in keys_of(client, settings.redis.prefix) for key in keys}
    client.close()
    return found


def restored(settings: StackSettings, path: Path, *, replace: bool = False) -> Restored:
    return restore_backup(settings, path, now="20261129T080000Z", replace=replace)

"""Damage in everything that Redis keeps, planted while a stack runs: flows go on, followers follow, requests are
answered, and no process dies of it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from contracts.ids import partition_of
from contracts.keys import CATALOGUE, ENDED, SHOWINGS, TRENDS, Keys
from contracts.settings import LogSettings
from eventlog.contract import Topic
from eventlog.open_log import open_dead_letters
from nextclick.stack.client import Client, GatewayRefused
from nextclick.stack.stack import Stack
from tests.damage import SESSION_BLOBS, TABLES, nested
from tests.fuzz.shop import running_shop
from tests.processes import wait_for

KEYS = Keys()
SESSION, ITEM = "damaged-session", "damaged-item"
CLICKS_AT = partition_of(SESSION, LogSettings().partitions)
ITEMS_AT = partition_of(ITEM, LogSettings().partitions)
NO_NUMBERS = {
    "nothing": b"",
    "a word": b"abc",
    "below none": b"-5",
    "NaN": b"nan",
    "infinity": b"inf",
    "a fraction": b"1.5",
    "very large": b"9" * 40,
    "no text": b"\xff\xfe\x00",
    "large": b"999999999999",
    "none again": b"0",
}
Plant = Callable[[Any], object]


@dataclass(frozen=True)
class Field:
    """A number in a hash, or (without a name) a key of its own."""

    key: str
    name: str = ""

    def plant(self, store: Any, value: bytes) -> None:
        if self.name:
            store.hset(self.key, self.name, value)
        else:
            store.set(self.key, value)


NUMBERS = {
    "offset of the sessions": Field(KEYS.progress(CLICKS_AT), "next"),
    "watermark": Field(KEYS.progress(CLICKS_AT), "watermark"),
    "counter of clicks": Field(KEYS.progress(CLICKS_AT), "applied"),
    "end of the clicks log": Field(KEYS.log_end(Topic.CLICKS, CLICKS_AT)),
    "end of the items log": Field(KEYS.log_end(Topic.ITEMS, ITEMS_AT)),
    "what the sessions flow applied": Field(KEYS.log_groups(Topic.CLICKS, CLICKS_AT), "sessions"),
    "what the items flow applied": Field(KEYS.log_groups(Topic.ITEMS, ITEMS_AT), "items"),
    "offset of the catalogue": Field(KEYS.table_progress(CATALOGUE), f"{Topic.ITEMS}:{ITEMS_AT}"),
    "end of the catalogue": Field(KEYS.table_end(CATALOGUE)),
    "end of the trends": Field(KEYS.table_end(TRENDS)),
    "end of the showings": Field(KEYS.table_end(SHOWINGS)),
    "end of the ended sessions": Field(KEYS.table_end(ENDED)),
    "number of dead letters": Field(KEYS.log_end("dead", CLICKS_AT)),
    "what a flow tells": Field(KEYS.read_progress(), f"sessions:{Topic.CLICKS}:0"),
    "what a flow lost": Field(KEYS.read_progress(), f"trends:{Topic.CLICKS}:lost"),
    "a field of nobody": Field(KEYS.read_progress(), "\udcff:x".encode(errors="surrogateescape").decode("latin-1")),
}
OTHER_KINDS = {
    "progress": KEYS.progress(CLICKS_AT),
    "groups of the log": KEYS.log_groups(Topic.CLICKS, CLICKS_AT),
    "end of the log": KEYS.log_end(Topic.CLICKS, CLICKS_AT),
    "end of the catalogue": KEYS.table_end(CATALOGUE),
    "progress of the catalogue": KEYS.table_progress(CATALOGUE),
    "end of the trends": KEYS.table_end(TRENDS),
    "dead letters": KEYS.dead_letters(CLICKS_AT),
    "number of dead letters": KEYS.log_end("dead", CLICKS_AT),
    "sources of dead letters": KEYS.log("dead", CLICKS_AT),
    "what flows tell": KEYS.read_progress(),
    "a session": KEYS.session(CLICKS_AT, SESSION),
}


def _of_another_kind(key: str) -> Plant:
    def plant(store: Any) -> None:
        if store.type(key) == b"list":
            store.delete(key)
            store.sadd(key, b"x")
        else:
            store.delete(key)
            store.rpush(key, b"a", b"list")

    return plant


def _row(table: str, kind: str) -> Plant:
    rows = TABLES[table]
    return lambda store: store.hset(KEYS.table_rows(rows.table), rows.name("bad"), rows.kinds()[kind])


def _letter(**fields: bytes) -> Plant:
    return lambda store: store.xadd(KEYS.dead_letters(CLICKS_AT), fields)


def _change(table: str, *fields: bytes) -> Plant:
    def plant(store: Any) -> None:
        at = int(store.get(KEYS.table_end(table)) or 0)
        store.execute_command("XADD", KEYS.table_changes(table), f"{at}-1", *fields)
        store.set(KEYS.table_end(table), at + 1)

    return plant


_APPEND = """
local at = redis.call('INCR', KEYS[1]) - 1
return redis.call('XADD', KEYS[2], string.format('%d-1', at), 'v', ARGV[1])
"""
"""In one step: the stack appends to the same log meanwhile."""


def _record(topic: Topic, partition: int, value: bytes) -> Plant:
    keys = KEYS.log_end(topic, partition), KEYS.log(topic, partition)
    return lambda store: store.eval(_APPEND, 2, *keys, value)


DAMAGES: dict[str, Plant] = {
    **{
        f"{what}: {kind}": lambda store, field=field, value=value: field.plant(store, value)
        for what, field in NUMBERS.items()
        for kind, value in NO_NUMBERS.items()
    },
    **{f"{what}: another kind": _of_another_kind(key) for what, key in OTHER_KINDS.items()},
    **{f"{what}: gone": lambda store, key=key: store.delete(key) for what, key in OTHER_KINDS.items()},
    **{f"row of {table}: {kind}": _row(table, kind) for table, rows in TABLES.items() for kind in rows.kinds()},
    **{
        f"session: {kind}": lambda store, blob=blob: store.set(KEYS.session(CLICKS_AT, SESSION), blob)
        for kind, blob in SESSION_BLOBS.items()
    },
    "dead letter: one field": _letter(x=b"y"),
    "dead letter: no number": _letter(source=b"gateway", reason=b"late", detail=b"d", at=b"nan", raw=b"{}"),
    "dead letter: no text": _letter(source=b"\xff", reason=b"\xfe", detail=b"\xff", at=b"1", raw=b"\xff"),
    **{
        f"change of the {table}: {kind}": _change(table, *fields)
        for table in (CATALOGUE, TRENDS, ENDED)
        for kind, fields in {
            "no count": (b"put", b"x", b"key", b"row"),
            "too many": (b"put", b"16", b"key", b"row"),
            "of no kind": (b"x", b"1"),
            "one field": (b"delete", b"1"),
            "a bad row": (b"put", b"1", b"longer than a key", b"\xff"),
        }.items()
    },
    **{
        f"record of the {topic}: {kind}": _record(topic, partition, value)
        for topic, partition in ((Topic.CLICKS, CLICKS_AT), (Topic.ITEMS, ITEMS_AT), (Topic.IMPRESSIONS, CLICKS_AT))
        for kind, value in {
            "no bytes": b"",
            "no text": b"\xff\xfe",
            "cut": b'{"v":1,"event',
            "nested 1010 deep": b'{"op":"put","item_id":"x","item":{"title":"t","a":' + nested(1010) + b"}}",
            "a number beyond all": b'{"v":1,"ts":' + b"9" * 400 + b"}",
        }.items()
    },
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_shop(tmp_path_factory.mktemp("planted") / "stack") as running:
        yield running


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.url, timeout_s=60.0) as opened:
        lines = (b'{"item_id":"%s","title":"T","category":"planted"}' % name for name in (ITEM.encode(), b"b"))
        opened.put_items(lines)
        yield opened


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_everything_goes_on_around_what_is_damaged(stack: Stack, client: Client, damage: str) -> None:
    with redis.Redis.from_url(stack.redis_url) as store:
        DAMAGES[damage](store)
    for session in (f"other-{uuid.uuid4().hex}", SESSION):
        expect_clicks_to_count(client, session, but_for=["catalogue_behind"])  # nobody knows, until something changes
    assert changed(client)
    expect_clicks_to_count(client, SESSION)
    wait_for(lambda: all(table["following"] for table in client._call("GET", "/readyz")["tables"].values()))
    assert client._call("GET", "/api/dead-letters?limit=500")["letters"] is not None
    assert stack.supervisor is not None
    assert [one.name for one in stack.supervisor.children if one.restarts] == []


def expect_clicks_to_count(client: Client, session: str, but_for: Sequence[str] = ()) -> None:
    """Click, and expect an answer that counts the click, within a while; nothing is left out of it but `but_for`."""
    until = time.monotonic() + 60
    while True:
        click = {"v": 1, "event_id": uuid.uuid4().hex, "type": "view", "session_id": session, "item_id": ITEM}
        sent = client.send_events([{**click, "ts": time.time_ns() // 1_000_000}])
        assert (sent["accepted"], sent["rejected"]) == (1, [])
        answer = client.recommend("homepage", session, after=sent["token"])
        if answer["session"]["events"] >= 1 and answer["degraded"] in ([], but_for) and not answer.get("stale"):
            return
        assert time.monotonic() < until, answer
        time.sleep(0.05)


def changed(client: Client) -> bool:
    """Return whether a change of an item is seen, within a while."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if client.set_stock({ITEM: 3})["visible"] and client.item(ITEM)["stock"] == 3:
                return True
        except GatewayRefused as refused:
            if refused.status != 404:  # an item whose row is loaded again
                raise
    return False


def test_damaged_letters_are_shown_as_such(stack: Stack) -> None:
    with redis.Redis.from_url(stack.redis_url) as store:
        DAMAGES["dead letter: one field"](store)
    letters = open_dead_letters(LogSettings(), stack.running_settings.redis)
    assert "unreadable" in {one.reason for one in letters.read(1000)}
    letters.close()

"""The audit log: bounded in bytes, the newest first, and never a key in it."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.api_keys import new_key
from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.audit import ADMIN, CATALOGUE, ENTRY_BYTES, KEPT, AsyncAuditLog, AuditLog, Entry, encoded
from state.client import connect

KEY = new_key("shop", ["events"], public=False, now_ms=0).text


@pytest.fixture
def audit(redis_settings: RedisSettings) -> Iterator[AuditLog]:
    log = AuditLog(redis_settings)
    yield log
    log.close()


def entry(number: int = 0, what: str = "PUT /api/items/a") -> Entry:
    return Entry(number, "k1", what, "10.0.0.7", "202")


def test_entries_come_back_the_newest_first_each_kind_apart(audit: AuditLog) -> None:
    for number in range(1200):
        audit.append(CATALOGUE, entry(number))
    audit.append(ADMIN, entry(5000, "keys create"))
    assert [one.at_ms for one in audit.newest(CATALOGUE)] == list(range(1199, -1, -1))
    assert list(audit.newest(ADMIN)) == [entry(5000, "keys create")]


async def test_an_event_loop_writes_the_same(audit: AuditLog, redis_settings: RedisSettings) -> None:
    log = AsyncAuditLog(redis_settings, within_s=60)
    await log.append(ADMIN, entry(7))
    await log.close()
    assert list(audit.newest(ADMIN)) == [entry(7)]


@given(st.builds(Entry, st.integers(0, 2**53), st.text(), st.text(), st.text(), st.text(max_size=2000)))
def test_an_entry_is_bounded_in_bytes_and_can_be_read(one: Entry) -> None:
    raw = encoded(one)
    assert len(raw) <= ENTRY_BYTES
    assert orjson.loads(raw)["at_ms"] == one.at_ms


@pytest.mark.parametrize("text", ["\U0001f45f" * 500, '"' * 500, "\\" * 500, "\n" * 500, "é" * 500])
def test_the_longest_entry_of_any_letters_fits(text: str) -> None:
    assert len(encoded(Entry(2**53, text, text, text, text))) <= ENTRY_BYTES


def test_no_key_gets_into_an_entry(audit: AuditLog) -> None:
    audit.append(ADMIN, Entry(1, KEY, f"GET /x?key={KEY}", KEY, KEY))
    [found] = audit.newest(ADMIN)
    assert KEY[21:] not in repr(found)
    assert KEY[4:20] in found.who


def test_what_is_kept_is_bounded(audit: AuditLog, redis_settings: RedisSettings) -> None:
    redis = connect(redis_settings)
    key = Keys(redis_settings.prefix).audit(ADMIN)
    with redis.pipeline(transaction=False) as pipe:
        for _ in range(KEPT[ADMIN] + 500):
            pipe.xadd(key, {b"e": b"{}"})
        pipe.execute()
    audit.append(ADMIN, entry())
    assert KEPT[ADMIN] <= redis.xlen(key) <= KEPT[ADMIN] + 100
    assert KEPT[ADMIN] * ENTRY_BYTES == 8 * 1024 * 1024
    assert KEPT[CATALOGUE] * ENTRY_BYTES == 32 * 1024 * 1024
    redis.close()


def test_a_damaged_entry_is_shown_as_one(audit: AuditLog, redis_settings: RedisSettings) -> None:
    redis = connect(redis_settings)
    redis.xadd(Keys(redis_settings.prefix).audit(ADMIN), {b"e": b"no json"}, id="77-1")
    redis.close()
    assert list(audit.newest(ADMIN)) == [Entry(77, "?", "an entry that cannot be read", "?", "?")]

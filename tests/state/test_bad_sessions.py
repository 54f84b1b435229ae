"""A stored session that cannot be read counts as none, and keeps no other from being read."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.codec import encode_session
from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.embedded import EmbeddedRedis
from state.sessions import SessionReader, SessionStore
from tests.damage import SESSION_BLOBS, a_session, flipped

NAMES = ["first", "bad", "last"]
ANY = flipped(encode_session(a_session()))


def store_of(redis_settings: RedisSettings) -> SessionStore:
    return SessionStore(redis_settings, idle_gap_ms=60_000)


def keep(redis_settings: RedisSettings, blob: bytes) -> None:
    """Keep two good sessions in partition 0, and a blob in the place of a third between them."""
    store = store_of(redis_settings)
    good = [replace(a_session(), session_id=name) for name in ("first", "last")]
    store.commit(0, start=0, next=5, watermark_ms=1, sessions=good, counts={})
    store.close()
    with redis.Redis.from_url(redis_settings.url) as client:
        client.set(Keys(redis_settings.prefix).session(0, "bad"), blob)


@pytest.mark.parametrize("kind", SESSION_BLOBS)
async def test_the_others_are_read_and_the_bad_one_counts_as_none(redis_settings: RedisSettings, kind: str) -> None:
    keep(redis_settings, SESSION_BLOBS[kind])
    store = store_of(redis_settings)
    loaded = store.load(0, NAMES)
    assert (sorted(loaded.sessions), loaded.next_offset) == (["first", "last"], 5)
    assert [(one.session_id, one.raw) for one in loaded.unreadable] == [("bad", SESSION_BLOBS[kind])]
    reader = SessionReader(redis_settings, partitions=1)
    views = await reader.read(NAMES)
    assert [view.session is not None for view in views] == [True, False, True]
    assert [view.unreadable is not None for view in views] == [False, True, False]
    assert [view.applied_offset for view in views] == [5, 5, 5]
    await reader.close()
    store.close()


async def test_a_key_of_another_kind_counts_as_no_session_and_is_written_over(redis_settings: RedisSettings) -> None:
    keep(redis_settings, b"")
    key = Keys(redis_settings.prefix).session(0, "bad")
    with redis.Redis.from_url(redis_settings.url) as client:
        client.delete(key)
        client.lpush(key, b"a list")
    reader = SessionReader(redis_settings, partitions=1)
    views = await reader.read(NAMES)
    assert [view.session is not None for view in views] == [True, False, True]
    assert views[1].unreadable is not None
    store = store_of(redis_settings)
    bad = replace(a_session(), session_id="bad")
    store.commit(0, start=5, next=6, watermark_ms=1, sessions=[bad], counts={})
    assert [view.session is not None for view in await reader.read(NAMES)] == [True, True, True]
    await reader.close()
    store.close()


@settings(max_examples=150)
@given(blob=ANY, position=st.integers(0, 2))
def test_any_bytes_of_one_session_leave_the_others_read(
    redis_server: EmbeddedRedis, blob: bytes, position: int
) -> None:
    own = RedisSettings(url=redis_server.url, prefix=f"t{uuid.uuid4().hex[:12]}", timeout_ms=60_000)
    keep(own, blob)
    names = [name for name in NAMES if name != "bad"]
    names.insert(position, "bad")
    store = store_of(own)
    loaded = store.load(0, names)
    store.close()
    assert {"first", "last"} <= set(loaded.sessions)
    assert ("bad" in loaded.sessions) != bool(loaded.unreadable)

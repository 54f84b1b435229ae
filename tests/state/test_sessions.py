"""The session store on a real Redis: state and offset move together or not at all."""

from __future__ import annotations

import time

import numpy as np
import pytest

from contracts.errors import StateConflict
from contracts.ids import partition_of
from contracts.sessions import CLICK, Session
from contracts.settings import RedisSettings
from state.sessions import Progress, SessionReader, SessionStore

GAP_MS = 30 * 60 * 1000


def session(name: str, events: int = 1) -> Session:
    window = np.zeros(1, CLICK)
    window[0] = (1000, 7, 8, 1)
    return Session(name, "u1", 1000, 1000, events, 41, window, np.array([1.0, 0.0], np.float32), 5)


def test_what_was_committed_is_loaded_with_its_offset(redis_settings: RedisSettings) -> None:
    store = SessionStore(redis_settings, idle_gap_ms=GAP_MS)
    store.commit(3, start=0, next=42, watermark_ms=1000, sessions=[session("a")], counts={"applied": 40, "late": 2})
    loaded = store.load(3, ["a", "b"])
    assert (loaded.next_offset, loaded.watermark_ms, list(loaded.sessions)) == (42, 1000, ["a"])
    stored = loaded.sessions["a"]
    assert (stored.user_id, stored.events, stored.last_offset, stored.model_version) == ("u1", 1, 41, 5)
    assert stored.window.tolist() == [(1000, 7, 8, 1)]
    assert stored.embedding.tolist() == [1.0, 0.0]
    assert store.progress(3) == Progress(42, 1000, {"applied": 40, "late": 2})


def test_a_batch_is_applied_once_however_often_it_is_committed(redis_settings: RedisSettings) -> None:
    store = SessionStore(redis_settings, idle_gap_ms=GAP_MS)
    store.commit(0, start=0, next=5, watermark_ms=1, sessions=[session("a")], counts={"applied": 5})
    with pytest.raises(StateConflict, match="starts at 0, the stored offset is 5"):
        store.commit(0, start=0, next=5, watermark_ms=9, sessions=[session("a", 99)], counts={"applied": 5})
    assert store.load(0, ["a"]).sessions["a"].events == 1
    assert store.progress(0) == Progress(5, 1, {"applied": 5})


def test_a_session_expires_by_itself_after_the_idle_gap(redis_settings: RedisSettings) -> None:
    store = SessionStore(redis_settings, idle_gap_ms=30)
    store.commit(0, start=0, next=1, watermark_ms=1, sessions=[session("a")], counts={})
    time.sleep(0.06)
    assert store.load(0, ["a"]).sessions == {}


async def test_several_views_come_in_one_read(redis_settings: RedisSettings) -> None:
    store = SessionStore(redis_settings, idle_gap_ms=GAP_MS)
    place = partition_of("a", 8)
    store.commit(place, start=0, next=42, watermark_ms=1, sessions=[session("a")], counts={})
    reader = SessionReader(redis_settings, partitions=8)
    known, unknown = await reader.read(["a", "nobody"])
    assert known.session is not None
    assert known.session.events == 1
    assert (known.includes(41), known.includes(42)) == (True, False)
    assert unknown.session is None
    await reader.close()

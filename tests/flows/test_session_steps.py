"""The session path: decode, fold, commit, on a real Redis, without Bytewax."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from contracts.errors import StateConflict
from contracts.events import EventCode
from contracts.settings import RedisSettings
from eventlog.contract import Batch, DeadLetter, Message, Position, Record, Topic
from flows.session_steps import SessionPath, decode_batch
from session_model.window import WindowRules
from state.sessions import SessionStore

NOW = 1_700_000_000_000
MINUTE = 60_000


class Letters:
    """A log writer at the edge that keeps dead letters in a list."""

    def __init__(self) -> None:
        self.kept: list[DeadLetter] = []

    def append(self, topic: Topic, records: Sequence[Record]) -> list[Position]:
        raise AssertionError("the session path appends nothing")

    def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        self.kept.extend(letters)

    def close(self) -> None: ...


class NoVectors:
    def vectors_of(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        return np.zeros((len(keys), 2), np.float32), np.zeros(len(keys), np.bool_)


def click(event_id: str, session_id: str = "s", ts: int = NOW, **more: object) -> bytes:
    event = {"v": 1, "event_id": event_id, "type": "view", "session_id": session_id, "item_id": "i", "ts": ts, **more}
    return orjson.dumps(event)


def batch_of(*raws: bytes, start: int = 0) -> Batch:
    messages = [Message(start + n, raw) for n, raw in enumerate(raws)]
    return Batch(Topic.CLICKS, 3, start, start + len(raws), messages)


def path_on(redis_settings: RedisSettings) -> tuple[SessionPath, SessionStore, Letters]:
    store, letters = SessionStore(redis_settings, idle_gap_ms=30 * MINUTE), Letters()
    path = SessionPath(
        store=store,
        writer=letters,
        encoder=None,
        item_vectors=NoVectors(),
        rules=WindowRules(),
        clock_ms=lambda: NOW,
    )
    return path, store, letters


def apply(path: SessionPath, batch: Batch) -> None:
    path.apply(decode_batch(batch, now_ms=NOW, max_future_ms=300_000))


def test_every_record_is_applied_or_dead_lettered_and_counted(redis_settings: RedisSettings) -> None:
    path, store, letters = path_on(redis_settings)
    late = click("e3", "other", ts=NOW - 60 * MINUTE)
    shown = orjson.dumps({"v": 1, "event_id": "m", "type": "impression", "session_id": "s", "items": ["i"], "ts": NOW})
    future = click("e4", ts=NOW + 6 * MINUTE)
    apply(path, batch_of(click("e1"), click("e2"), click("e1"), late, b"not json", click("v", v=2), shown, future))
    progress = store.progress(3)
    assert progress.next_offset == 8
    assert progress.counts == {"applied": 2, "duplicate": 1, "dead_lettered": 4, "impressions": 1}
    assert [(letter.source, letter.reason) for letter in letters.kept] == [
        ("clicks:3:4", "not_json"),
        ("clicks:3:5", "unknown_version"),
        ("clicks:3:7", "future_timestamp"),
        ("clicks:3:3", "late"),
    ]


def test_a_batch_out_of_place_writes_nothing_and_names_the_stored_offset(redis_settings: RedisSettings) -> None:
    path, store, letters = path_on(redis_settings)
    apply(path, batch_of(click("e1")))
    with pytest.raises(StateConflict) as refused:
        apply(path, batch_of(click("e1"), b"broken"))
    assert refused.value.stored == 1
    assert store.progress(3).counts == {"applied": 1}
    assert letters.kept == []


def test_batches_of_a_reading_are_applied_together_and_one_out_of_place_alone_is_refused(
    redis_settings: RedisSettings,
) -> None:
    path, store, letters = path_on(redis_settings)
    apply(path, batch_of(click("e1")))
    others = [
        Batch(Topic.CLICKS, partition, 0, 2, [Message(0, click(f"e{partition}")), Message(1, b"no")])
        for partition in (1, 2)
    ]
    batches = [others[0], batch_of(click("e1"), b"broken"), others[1]]
    refused = path.apply_all([decode_batch(batch, now_ms=NOW, max_future_ms=300_000) for batch in batches])
    assert [conflict and conflict.stored for conflict in refused] == [None, 1, None]
    assert [store.progress(partition).next_offset for partition in (1, 2, 3)] == [2, 2, 1]
    assert [store.progress(partition).counts for partition in (1, 2)] == [{"applied": 1, "dead_lettered": 1}] * 2
    assert [letter.source for letter in letters.kept] == ["clicks:1:1", "clicks:2:1"]
    assert [store.load(partition, ["s"]).sessions["s"].events for partition in (1, 2, 3)] == [1, 1, 1]


def test_what_is_late_in_one_partition_is_not_in_another_at_the_same_offset(redis_settings: RedisSettings) -> None:
    path, store, letters = path_on(redis_settings)
    late = click("e2", "other", ts=NOW - 60 * MINUTE)
    batches = [
        Batch(Topic.CLICKS, 0, 0, 2, [Message(0, click("e1")), Message(1, late)]),
        Batch(Topic.CLICKS, 1, 0, 2, [Message(0, late), Message(1, click("e1"))]),
        Batch(Topic.CLICKS, 2, 0, 2, [Message(0, click("e1")), Message(1, click("e1"))]),
    ]
    path.apply_all([decode_batch(batch, now_ms=NOW, max_future_ms=300_000) for batch in batches])
    assert [letter.source for letter in letters.kept] == ["clicks:0:1"]
    assert [store.progress(partition).counts for partition in (0, 1, 2)] == [
        {"applied": 1, "dead_lettered": 1},
        {"applied": 2},
        {"applied": 1, "duplicate": 1},
    ]


def test_a_session_name_in_two_partitions_is_two_sessions(redis_settings: RedisSettings) -> None:
    path, store, _ = path_on(redis_settings)
    batches = [
        Batch(Topic.CLICKS, partition, 0, 1, [Message(0, click(f"e{partition}", user_id=f"u{partition}"))])
        for partition in (0, 1)
    ]
    path.apply_all([decode_batch(batch, now_ms=NOW, max_future_ms=300_000) for batch in batches])
    assert [store.load(partition, ["s"]).sessions["s"].user_id for partition in (0, 1)] == ["u0", "u1"]


def test_a_batch_of_nothing_moves_the_offset(redis_settings: RedisSettings) -> None:
    path, store, _ = path_on(redis_settings)
    apply(path, Batch(Topic.CLICKS, 3, 0, 4, []))
    assert store.progress(3).next_offset == 4


def test_offsets_with_gaps_are_followed(redis_settings: RedisSettings) -> None:
    path, store, _ = path_on(redis_settings)
    apply(path, Batch(Topic.CLICKS, 3, 0, 12, [Message(4, click("e1")), Message(11, click("e2"))]))
    session = store.load(3, ["s"]).sessions["s"]
    assert (session.events, session.last_offset, store.progress(3).next_offset) == (2, 11, 12)


def test_a_sender_whose_clock_is_ahead_makes_no_other_click_late(redis_settings: RedisSettings) -> None:
    """Events may be dated up to five minutes ahead, and the idle gap may be shorter."""
    store, letters = SessionStore(redis_settings, idle_gap_ms=2 * MINUTE), Letters()
    path = SessionPath(
        store=store,
        writer=letters,
        encoder=None,
        item_vectors=NoVectors(),
        rules=WindowRules(idle_gap_ms=2 * MINUTE),
        clock_ms=lambda: NOW,
    )
    ahead = [click(f"a{at}", f"ahead-{at}", NOW + 299_000) for at in range(40)]
    others = [click(f"o{at}", f"other-{at % 111}", NOW - at * 100) for at in range(1000)]
    path.apply(decode_batch(batch_of(*ahead), now_ms=NOW, max_future_ms=300_000))
    path.apply(decode_batch(batch_of(*others, start=40), now_ms=NOW, max_future_ms=300_000))

    assert letters.kept == []
    assert store.progress(3).watermark_ms == NOW
    assert len(store.load(3, [f"other-{at}" for at in range(111)]).sessions) == 111
    store.close()


def test_a_click_without_consent_is_passed_by_and_no_dead_letter() -> None:
    quiet = click("e2", consent=False), click("e3", consent=False, own=1), click("e4", consent=False, ts="soon")
    decoded = decode_batch(batch_of(click("e1"), *quiet, click("e5", consent=True)), now_ms=NOW, max_future_ms=MINUTE)
    assert [offset for offset, *_ in decoded.clicks] == [0, 4]
    assert (decoded.rejected, decoded.impressions) == ([], 0)


def test_types_of_the_sites_own_mean_what_the_setting_says() -> None:
    batch = batch_of(*(click(kind, type=kind) for kind in ("wishlist_add", "not_for_me", "scrolled")))
    types = {"wishlist_add": "like", "not_for_me": "hide"}
    decoded = decode_batch(batch, now_ms=NOW, max_future_ms=0, types=types)
    assert [taken[-1] for taken in decoded.clicks] == [EventCode.LIKE, EventCode.HIDE, EventCode.OTHER]

"""What flows know of who was erased: a list that changes, and records of a log that keeps what it was given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson
import pytest

from contracts.hashed_names import hashed
from contracts.settings import RedisSettings, ServiceSettings
from eventlog.contract import Batch, Message, Topic
from flows.erased import ACTED_S, LOOK_S, ErasedList, PassesByErased
from rights.erasure import ErasedNames, Erasure, Status, Subject, encode_erasure
from state.erasures import ErasureStore, Job
from state.presence import this_process

SECRET = b"s" * 32


class Log:
    """Three records, as Kafka gives them."""

    connections = 1

    def seek(self, partition: int, offset: int) -> None: ...

    def poll(self, max_records: int, max_wait_s: float) -> list[Batch]:
        rows = [("s1", "anna", 5), ("s1", "anna", 50), ("s2", None, 5), ("s3", "ben", 5)]
        records = [orjson.dumps({"session_id": s, "user_id": u, "ts": ts}) for s, u, ts in rows]
        return [Batch(Topic.CLICKS, 0, 7, 12, [Message(7 + at, raw) for at, raw in enumerate([*records, b"none"])])]

    def ends(self) -> Mapping[int, int]:
        return {0: 12}

    def earliest(self) -> Mapping[int, int]:
        return {0: 7}

    def commit(self, partition: int, next_offset: int) -> None: ...

    def hold(self, partition: int, offset: int) -> None: ...

    def close(self) -> None: ...


def test_records_of_the_past_of_who_was_erased_are_passed_by_and_offsets_stay() -> None:
    users, sessions = {hashed(SECRET, "user", "anna"): 10}, {hashed(SECRET, "session", "s2"): 10}
    reader = PassesByErased(Log(), lambda: ErasedNames(SECRET, users, sessions))
    [batch] = reader.poll(10, 0)
    assert [one.offset for one in batch.messages] == [8, 10, 11]
    assert (batch.start, batch.next) == (7, 12)
    [whole] = PassesByErased(Log(), ErasedNames).poll(10, 0)
    assert len(whole.messages) == 5


@pytest.fixture
def store(redis_settings: RedisSettings) -> Iterator[ErasureStore]:
    opened = ErasureStore(redis_settings)
    yield opened
    opened.close()


def test_a_flow_learns_who_was_erased_and_says_so_once_every_partition_has_met_it(
    redis_settings: RedisSettings, store: ErasureStore
) -> None:
    now = [0.0]
    listed = ErasedList(ServiceSettings(redis=redis_settings), "trends", lambda: now[0])
    assert not listed()
    one = Erasure("a", Subject.SESSION, hashed(store.secret(), "session", "s1"), 10, Status.RUNNING)
    store.put("a", encode_erasure(one), Job(None, ("s1",)))
    now[0] += LOOK_S
    names = listed()
    assert names.erased_ms("s1") == 10
    assert listed() is names
    assert store.told() == {}
    now[0] += ACTED_S
    listed()
    assert store.told() == {this_process("trends", 0).name: 1}
    store.put("damaged", b"no erasure")
    now[0] += LOOK_S
    assert listed().erased_ms("s1") == 10

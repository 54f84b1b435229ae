"""Calls that wait in Redis: due, taken up under a lease, bounded; and who waits for an item."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts.ids import partition_of
from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.client import connect
from state.due_calls import MOST_FAILURES, DueCall, DueCalls, Failure, Queue
from state.interest import InterestStore

NONE = {"delivered": 0, "dead": 0, "left_out": 0, "waiting": 0}


@pytest.fixture
def queue(redis_settings: RedisSettings) -> Iterator[DueCalls]:
    opened = DueCalls(redis_settings, "q", most=3)
    yield opened
    opened.close()


@pytest.fixture
def interest(redis_settings: RedisSettings) -> Iterator[InterestStore]:
    opened = InterestStore(redis_settings, partitions=4, most=2, keep_ms=60_000)
    yield opened
    opened.close()


def test_a_call_is_taken_when_it_is_due_and_by_one_alone(queue: DueCalls) -> None:
    assert queue.put([("a", b"1"), ("b", b"2")], 1000) == 2
    assert queue.take(999, 50, 10) == []
    assert queue.take(1000, 50, 1) == [DueCall("a", b"1", 1)]
    assert queue.take(1000, 50, 10) == [DueCall("b", b"2", 1)]
    assert queue.take(1049, 50, 10) == []


def test_a_call_whose_lease_is_over_comes_back(queue: DueCalls) -> None:
    queue.put([("a", b"1")], 0)
    queue.take(0, 50, 10)
    assert queue.take(50, 50, 10) == [DueCall("a", b"1", 2)]
    queue.again("a", 500)
    assert queue.take(499, 50, 10) == []
    assert queue.take(500, 50, 10) == [DueCall("a", b"1", 3)]
    queue.done("a", "delivered")
    assert queue.take(10_000, 50, 10) == []
    assert queue.counts() == {**NONE, "delivered": 1}
    queue.again("a", 500)
    assert queue.take(10_000, 50, 10) == []


def test_no_more_wait_than_the_bound_says_and_the_others_are_counted(queue: DueCalls) -> None:
    assert queue.put([(str(n), b"x") for n in range(5)], 0) == 3
    assert queue.put([("0", b"again"), ("9", b"x")], 0) == 0
    assert queue.counts() == {**NONE, "left_out": 3, "waiting": 3}
    assert [call.body for call in queue.take(0, 1, 10)] == [b"x"] * 3


def test_what_happened_gives_way_to_its_calls_in_one_go(queue: DueCalls) -> None:
    queue.put([("event", b"e")], 0)
    queue.take(0, 50, 1)
    assert queue.put([("p1", b"1"), ("p2", b"2")], 5, instead_of="event") == 2
    assert [call.name for call in queue.take(10_000, 50, 10)] == ["p1", "p2"]
    queue.put([], 5, instead_of="p1")
    assert queue.counts() == {**NONE, "waiting": 1}


def test_keys_that_hold_something_else_are_begun_afresh(queue: DueCalls, redis_settings: RedisSettings) -> None:
    client, keys = connect(redis_settings), Keys(redis_settings.prefix)
    for key in (keys.due_calls("q"), keys.calls("q"), keys.call_counts("q")):
        client.set(key, b"no such thing")
    assert (queue.counts(), queue.take(0, 1, 1)) == (NONE, [])
    queue.put([("a", b"1")], 0)
    client.hset(keys.calls("q"), "a:tries", b"many")
    assert queue.take(0, 1, 1) == [DueCall("a", b"1", 1)]
    client.delete(keys.calls("q"))
    assert queue.take(10, 1, 1) == []
    client.close()


def test_those_who_clicked_an_item_last_are_kept_and_named_newest_first(interest: InterestStore) -> None:
    interest.note({7: {"anna": 1, "bert": 3, "cleo": 2}}, {})
    assert interest.waiting(7, 0) == ["bert", "cleo"]
    assert interest.waiting(7, 3) == ["bert"]
    interest.note({7: {"cleo": 9}}, {7: ["bert"], 8: ["nobody"]})
    assert interest.waiting(7, 0) == ["cleo"]
    assert interest.waiting(8, 0) == []


def test_a_user_who_is_forgotten_waits_for_nothing(interest: InterestStore) -> None:
    interest.note({item: {"anna": 1, "bert": 2} for item in range(1, 4)}, {})
    assert interest.forget("anna") == 3
    assert [interest.waiting(item, 0) for item in range(1, 4)] == [["bert"]] * 3
    assert interest.forget("anna") == 0


def test_interest_expires_and_is_begun_afresh_where_something_else_stands(
    interest: InterestStore, redis_settings: RedisSettings
) -> None:
    client, keys = connect(redis_settings), Keys(redis_settings.prefix)
    client.set(keys.waits(7), b"no such thing")
    assert interest.waiting(7, 0) == []
    interest.note({7: {"anna": 1}}, {})
    assert interest.waiting(7, 0) == ["anna"]
    assert 0 < client.pttl(keys.waits(7)) <= 60_000
    client.set(keys.profile(partition_of("anna", 4), "anna"), b"p")
    client.lpush(keys.user(partition_of("anna", 4), "anna"), "x")
    assert interest.known(["anna", "bert"]) == [(b"p", None), (None, None)]
    client.close()


def test_a_queue_shows_what_waits_since_when_and_what_failed(queue: DueCalls) -> None:
    assert queue.look(0) == Queue(0, 0, None, None, {"delivered": 0, "dead": 0, "left_out": 0}, [])
    queue.put([("a", b"1")], 1000)
    queue.put([("b", b"2")], 2000)
    queue.put([("a1", b"1"), ("a2", b"1")], 3000, instead_of="a")  # they tell what happened at 1000
    queue.take(3000, 50, 1)
    seen = queue.look(3000)
    assert (seen.waiting, seen.due, seen.oldest_ms, seen.next_ms) == (3, 2, 1000, 3000)
    once, last = Failure("a1", 3010, 1, "answered 503", "x", False), Failure("a2", 3020, 12, "answered 500", "", True)
    queue.again("a1", 9000, once)
    queue.done("a2", "dead", last)
    queue.done("b", "delivered")
    seen = queue.look(3000)
    assert (seen.waiting, seen.due, seen.oldest_ms, seen.next_ms) == (1, 0, 1000, 9000)
    assert (seen.counts, seen.failures) == ({"delivered": 1, "dead": 1, "left_out": 0}, [last, once])
    for n in range(MOST_FAILURES + 5):
        queue.again("a1", 9000, once._replace(at_ms=n))
    assert [one.at_ms for one in queue.look(0).failures] == list(range(24, 4, -1))


def test_what_another_release_did_away_with_waits_no_more(queue: DueCalls, redis_settings: RedisSettings) -> None:
    queue.put([("a", b"1"), ("b", b"2")], 0)
    queue.put([("c", b"3")], 7)
    keys, client = Keys(redis_settings.prefix), connect(redis_settings)
    client.zrem(keys.due_calls("q"), "a", "b")  # as a release does that has no list of since when
    client.hdel(keys.calls("q"), "a", "b")
    queue.take(0, 50, 10)
    assert client.zrange(keys.calls_since("q"), 0, -1) == [b"c"]
    client.close()


def test_what_is_no_failure_is_passed_by(queue: DueCalls, redis_settings: RedisSettings) -> None:
    client, keys = connect(redis_settings), Keys(redis_settings.prefix)
    client.rpush(keys.call_failures("q"), b"{", b'{"name": 1}', b"7")
    assert queue.look(0).failures == []
    client.set(keys.call_failures("q"), b"x")
    client.set(keys.calls_since("q"), b"x")
    client.close()
    assert queue.look(0).oldest_ms is None
    queue.put([("a", b"1")], 5)
    queue.again("a", 9, Failure("a", 1, 1, "", "", False))
    assert (queue.look(0).oldest_ms, len(queue.look(0).failures)) == (5, 1)

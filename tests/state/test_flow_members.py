"""Processes of a flow know who is there, and each partition has one of them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.settings import RedisSettings
from state.client import connect
from state.flow_members import HERE_MS, FlowMembers, leave, share_of
from tests.processes import wait_for


@given(st.sets(st.text(max_size=5), min_size=1, max_size=9), st.integers(1, 64))
def test_each_partition_is_of_one_member_and_shares_are_even(members: set[str], partitions: int) -> None:
    shares = [share_of(one, sorted(members), partitions) for one in members]
    assert sorted(p for share in shares for p in share) == list(range(partitions))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_member_that_comes_and_goes_is_seen_by_the_others(redis_settings: RedisSettings) -> None:
    first, second = (FlowMembers(redis_settings, "sessions", name, 4) for name in ("a", "b"))
    first.join()
    assert first.share() == [0, 1, 2, 3]
    second.join()
    assert second.share() == [1, 3]
    wait_for(lambda: first.share() == [0, 2])
    other = FlowMembers(redis_settings, "items", "c", 4)  # of another flow
    other.join()
    assert other.share() == [0, 1, 2, 3]


def test_who_is_silent_is_gone_and_who_left_is_gone_at_once(redis_settings: RedisSettings) -> None:
    redis, key = connect(redis_settings), f"{redis_settings.prefix}:members:sessions"
    now = time.time_ns() // 1_000_000
    redis.zadd(key, {"silent": now - HERE_MS - 60_000, "there": now + 1000, "of a clock set back": now + 3_600_000})
    member = FlowMembers(redis_settings, "sessions", "own", 2)
    member.join()
    assert redis.zrange(key, 0, -1) == [b"own of 2", b"there"]
    assert member.share() == [0]
    leave(redis_settings, "sessions", ["there", "nobody"])
    wait_for(lambda: member.share() == [0, 1])
    redis.close()


def test_a_key_of_another_kind_makes_way(redis_settings: RedisSettings) -> None:
    redis, key = connect(redis_settings), f"{redis_settings.prefix}:members:sessions"
    redis.set(key, "damage")
    member = FlowMembers(redis_settings, "sessions", "own", 2)
    member.join()
    assert member.share() == [0, 1]
    assert redis.zrange(key, 0, -1) == [b"own of 2"]
    redis.close()


def test_a_process_that_counts_other_partitions_leaves_none_to_nobody(
    redis_settings: RedisSettings, caplog: pytest.LogCaptureFixture
) -> None:
    eight, four = (FlowMembers(redis_settings, "sessions", f"m{count}", count) for count in (8, 4))
    eight.join()
    four.join()
    eight.look()
    assert eight.share() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert four.share() == [0, 1, 2, 3]
    assert "expected log.partitions = 8 of all of them, got 4 of some" in caplog.text
    second = FlowMembers(redis_settings, "sessions", "n8", 8)
    second.join()
    assert second.share() == [1, 3, 5, 7]


def test_a_process_of_the_release_before_shares_as_it_did(redis_settings: RedisSettings) -> None:
    redis, key = connect(redis_settings), f"{redis_settings.prefix}:members:sessions"
    redis.zadd(key, {"host:1:ab": time.time_ns() // 1_000_000})
    member = FlowMembers(redis_settings, "sessions", "host:2:cd", 4)
    member.join()
    assert member.share() == [1, 3]
    leave(redis_settings, "sessions", ["host:1:ab"])
    assert redis.zrange(key, 0, -1) == [b"host:2:cd of 4"]
    redis.close()

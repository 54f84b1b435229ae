"""Processes say that they are there, and take their line away when they end by themselves."""

from __future__ import annotations

import json
import os
import time

import pytest

from contracts.settings import RedisSettings
from state.client import connect
from state.presence import KEPT_MS, SILENT_MS, announce, processes_of, this_process
from tests.processes import wait_for


def test_a_process_is_there_until_it_ends(redis_settings: RedisSettings) -> None:
    redis, key = connect(redis_settings), f"{redis_settings.prefix}:processes"
    stopped = announce(redis_settings, "judge")
    wait_for(lambda: redis.hlen(key) == 1)
    [process], old = processes_of(redis.hgetall(key), time.time_ns() // 1_000_000)
    assert (process.kind, process.pid, old) == ("judge", os.getpid(), [])
    assert 0 < redis.pttl(key) <= KEPT_MS
    stopped.set()
    wait_for(lambda: redis.hlen(key) == 0)
    redis.close()


def test_a_silent_process_is_told_until_another_takes_its_place() -> None:
    now = 10_000_000
    killed = this_process("items", now - 90_000).model_copy(update={"pid": 7, "at_ms": now - SILENT_MS - 1})
    own = this_process("items", now - 95_000).model_copy(update={"at_ms": now})  # beside it, not after it
    other = this_process("trends", now)
    lines = {one.name.encode(): one.encoded() for one in (killed, own, other)}
    assert processes_of(lines, now) == ([own, killed, other], [])
    next_one = this_process("items", now - 1000).model_copy(update={"pid": 8})
    lines[next_one.name.encode()] = next_one.encoded()
    assert processes_of(lines, now) == ([own, next_one, other], [killed.name.encode()])


def test_lines_that_are_old_or_damaged_are_to_be_taken_away() -> None:
    own = this_process("items", 1_000_000)
    lines = {b"a": own.encoded(), b"b": own.model_copy(update={"at_ms": 1}).encoded(), b"c": b"{"}
    found, old = processes_of(lines, 1_000_000 + KEPT_MS)
    assert (found, old) == ([own], [b"b", b"c"])


@pytest.mark.parametrize("name", ["pid", "started_ms", "at_ms"])
@pytest.mark.parametrize("number", [10**400, 2**64, -1, 1 << 53 | 1])
def test_a_line_with_a_number_that_is_none_of_a_process_is_to_be_taken_away(name: str, number: int) -> None:
    line = json.dumps({**json.loads(this_process("items", 1_000_000).encoded()), name: number})
    assert processes_of({b"a": line.encode()}, 1_000_000) == ([], [b"a"])


def test_a_line_from_the_future_does_not_stay_for_ever() -> None:
    line = this_process("items", 1_000_000).encoded()
    assert processes_of({b"a": line}, 1_000_000 - KEPT_MS - 1) == ([], [b"a"])


def test_a_key_of_another_kind_keeps_nobody_from_being_there(redis_settings: RedisSettings) -> None:
    redis, key = connect(redis_settings), f"{redis_settings.prefix}:processes"
    redis.set(key, "x")
    stopped = announce(redis_settings, "judge")
    wait_for(lambda: redis.type(key) == b"hash")
    stopped.set()
    redis.close()

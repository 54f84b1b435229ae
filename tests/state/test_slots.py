"""Which slot a command is for, and that keys which go together lie in one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from contracts.keys import Keys
from state.slots import Redirect, Why, key_of, owners_in, redirect_of, slot_of

PREFIXES = st.text(st.characters(exclude_characters="{}", codec="utf-8"), min_size=1, max_size=8)
NAMES = st.text(min_size=1, max_size=20)


def test_a_slot_is_of_what_stands_in_the_first_braces() -> None:
    """Slots as `CLUSTER KEYSLOT` of Redis 7.0 tells them."""
    told = {
        b"123456789": 12739,
        b"foo": 12182,
        b"{foo}bar": 12182,
        b"bar{foo}": 12182,
        b"foo{}{bar}": 8363,
        b"foo{{bar}}zap": 4015,
        b"foo{bar}{zap}": 5061,
        b"{foo": 13308,
    }
    assert {key: slot_of(key) for key in told} == told


def test_the_key_of_a_command_is_found_whatever_stands_before_it() -> None:
    told: list[tuple[tuple[Any, ...], bytes | None]] = [
        (("GET", "a"), b"a"),
        ((b"hmget", b"a", b"field"), b"a"),
        (("EVALSHA", "0a", 2, "a", "b", "word"), b"a"),
        (("EVAL", "return 1", "0"), None),
        (("XREAD", "COUNT", 10, "BLOCK", 5, "STREAMS", "a", "0-0"), b"a"),
        (("MEMORY USAGE", "a"), b"a"),
        (("MEMORY", "USAGE", "a"), b"a"),
        (("XINFO", "STREAM", "a"), b"a"),
        (("PING",), None),
        (("SCRIPT LOAD", "return 1"), None),
        (("SCAN", "0", "MATCH", "a*"), None),
    ]
    for command, key in told:
        assert key_of(command) == key, command


def test_an_error_says_where_to_ask_as_it_came_and_as_the_client_reads_it() -> None:
    told = [
        (redis.ResponseError("MOVED 3999 10.0.0.7:6381"), Redirect(Why.MOVED, ("10.0.0.7", 6381))),
        (redis.exceptions.MovedError("3999 10.0.0.7:6381"), Redirect(Why.MOVED, ("10.0.0.7", 6381))),
        (redis.ResponseError("ASK 3999 :6381"), Redirect(Why.ASK, ("", 6381))),
        (redis.exceptions.AskError("3999 ::1:6381"), Redirect(Why.ASK, ("::1", 6381))),
        (redis.ResponseError("TRYAGAIN Multiple keys request during rehashing of slot"), Redirect(Why.LATER)),
        (redis.exceptions.ClusterDownError("The cluster is down"), Redirect(Why.LATER)),
        (redis.ResponseError("MASTERDOWN Link with MASTER is down"), Redirect(Why.LATER)),
        (redis.ResponseError("MOVED 3999 ?:6381"), Redirect(Why.MOVED, ("", 6381))),  # a host whose name is not known
        (redis.ResponseError("WRONGTYPE Operation against a key"), None),
        *((redis.ResponseError(odd), None) for odd in ("MOVED", "MOVED 1 ", "ASK 1 host", "MOVED 1 h:x", "MOVED 1 h:")),
        (b"MOVED 3999 10.0.0.7:6381", None),
    ]
    for answer, redirect in told:
        assert redirect_of(answer) == redirect, answer


def test_a_table_of_slots_says_who_has_which_and_which_nobody_has() -> None:
    owners = owners_in([[0, 5460, [b"10.0.0.1", 1, b"id"], [b"10.0.0.2", 2, b"id"]], [5461, 5461, [b"", 3]]], ("me", 9))
    assert owners[0] == owners[5460] == ("10.0.0.1", 1)
    assert owners[5461:5463] == [("me", 3), None]
    assert len(owners) == 16384


@given(prefix=PREFIXES, partition=st.integers(0, 4095), name=NAMES)
def test_every_key_of_a_partition_lies_in_its_one_slot(prefix: str, partition: int, name: str) -> None:
    """Whatever takes a partition: its session state, users, log, and what is written of them in one script."""
    made = keys_of(Keys(prefix), {"partition": partition}, name)
    assert len(made) >= 17
    assert {slot_of(key.encode()) for key in made} == {slot_of(f"{{p{partition}}}".encode())}


@given(prefix=PREFIXES, table=st.sampled_from(("items", "trends", "keys")), name=NAMES)
def test_every_key_of_a_table_lies_in_one_slot(prefix: str, table: str, name: str) -> None:
    made = keys_of(Keys(prefix), {"table": table}, name)
    assert len(made) >= 9
    assert len({slot_of(key.encode()) for key in made}) == 1


@given(prefix=PREFIXES, name=NAMES, hour=st.integers(0, 10**6))
@pytest.mark.parametrize("family", ["attribution_", "experiment_units experiment_sums", "quality_", "eras", "queue"])
def test_keys_that_one_script_writes_lie_in_one_slot(family: str, prefix: str, name: str, hour: int) -> None:
    keys = Keys(prefix)
    made = {
        "attribution_": [
            keys.attribution_unit("session", name),
            keys.attribution_cells(hour),
            keys.attribution_progress(),
            keys.attribution_hours(),
            keys.attribution_experiments(),
            keys.attribution_facts(),
            keys.experiment_units(name, "user"),
            keys.experiment_sums(name, hour),
        ],
        "experiment_units experiment_sums": [keys.experiment_units(name, "user"), keys.experiment_sums(name, hour)],
        "quality_": [keys.quality_cells(hour), keys.quality_progress(), keys.quality_bots()],
        "eras": [keys.erasures(), keys.erasing(name), keys.erasure_secret()],
        "queue": [
            name("webhooks")
            for name in (keys.due_calls, keys.calls, keys.call_counts, keys.calls_since, keys.call_failures)
        ],
    }[family]
    assert len({slot_of(key.encode()) for key in made}) == 1


@given(prefix=PREFIXES, name=st.text(st.characters(exclude_characters="{}", codec="utf-8"), min_size=1, max_size=8))
def test_a_stream_that_is_written_again_stays_in_its_slot(prefix: str, name: str) -> None:
    keys = Keys(prefix)
    for stream in (keys.audit(name), keys.log("clicks", 3), keys.dead_letters(3)):
        assert slot_of(stream.encode()) == slot_of(keys.rewriting(stream).encode())


def keys_of(keys: Keys, by: dict[str, Any], name: str) -> list[str]:
    """Return every key that takes what `by` names, with `name` for other words and 7 for other numbers."""
    return [
        method(keys, **{one: by.get(one, 7 if is_number else name) for one, is_number in wanted.items()})
        for method, wanted in methods()
        if by.keys() <= wanted.keys()
    ]


@functools.cache
def methods() -> list[tuple[Callable[..., str], dict[str, bool]]]:
    """Return what makes keys, with the names of what it takes, and whether each is a number."""
    found = []
    for attribute, method in inspect.getmembers(Keys, inspect.isfunction):
        if not attribute.startswith("_"):
            _, *wanted = inspect.signature(method).parameters.values()
            found.append((method, {one.name: "int" in str(one.annotation) for one in wanted}))
    return found

"""Identities hash alike everywhere."""

from __future__ import annotations

from contracts.ids import item_key, murmur2, partition_of
from contracts.keys import Keys


def test_murmur2_gives_the_values_of_kafkas_own_tests() -> None:
    expected = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"abc": 479470107}
    assert {key: (murmur2(key) ^ 2**31) - 2**31 for key in expected} == expected


def test_a_name_always_has_the_same_partition() -> None:
    assert [partition_of(name, 8) for name in ("a", "b", "session-1", "é")] == [4, 4, 4, 7]
    assert {partition_of(f"s{n}", 8) for n in range(200)} == set(range(8))


def test_an_item_key_is_the_same_in_every_process() -> None:
    assert item_key("a") == 16629034431890738719


def test_everything_of_a_partition_carries_its_hash_tag() -> None:
    keys = Keys("nc")
    made = [keys.session(3, "s"), keys.progress(3), keys.log("clicks", 3), keys.log_end("clicks", 3)]
    made += [keys.log_groups("clicks", 3), keys.dead_letters(3)]
    assert all(key.startswith("nc:{p3}:") for key in made)
    assert len(set(made)) == 6

"""Erasures as values: who is meant, what is covered, what a restore has to do again."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.hashed_names import hashed
from rights.erasure import (
    Erasure,
    Names,
    Status,
    Subject,
    as_json,
    decode_erasure,
    encode_erasure,
    erased_names,
    merged,
    remains,
    told_in,
)
from rights.erasure_list import ErasureList, decode_list, encode_list

SECRET = b"s" * 32
names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
erasures = st.builds(
    Erasure,
    id=st.sampled_from("abcdef"),
    subject=st.sampled_from(Subject),
    hash=st.sampled_from(("1", "2")),
    at_ms=st.integers(0, 9),
    status=st.sampled_from(Status),
)
lists = st.lists(erasures, max_size=6, unique_by=lambda one: one.id)


def test_a_record_of_a_session_that_names_somebody_else_is_not_the_visitors() -> None:
    anna = Names("anna", frozenset({"s1"}))
    assert [anna.owns("s1", "anna"), anna.owns("s1", None), anna.owns("s2", "anna")] == [True, True, True]
    assert [anna.owns("s1", "ben"), anna.owns("s2", None), anna.owns(None, None)] == [False, False, False]
    session = Names(None, frozenset({"s1"}))
    assert [session.owns("s1", "ben"), session.owns("s1", None), session.owns("s2", "ben")] == [True, True, False]


@given(name=names, other=names)
def test_a_hash_says_nothing_of_its_name_and_is_of_this_name_alone(name: str, other: str) -> None:
    sign = hashed(SECRET, "user", name)
    assert len(sign) == 32
    assert (hashed(SECRET, "user", other) == sign) == (name == other)
    assert hashed(SECRET, "session", name) != sign
    assert hashed(b"t" * 32, "user", name) != sign


@given(name=names, ts_ms=st.integers(0, 10), at_ms=st.integers(0, 10))
def test_what_was_done_until_the_erasure_is_covered_and_nothing_later(name: str, ts_ms: int, at_ms: int) -> None:
    one = Erasure("a", Subject.USER, hashed(SECRET, "user", name), at_ms, sessions=(hashed(SECRET, "session", "s1"),))
    erased = erased_names(SECRET, [one])
    assert erased.covers("s9", name, ts_ms) is (ts_ms <= at_ms)
    assert erased.covers("s1", None, ts_ms) is (ts_ms <= at_ms)
    assert not erased.covers("s9", None, ts_ms)
    assert not erased_names(SECRET, [one], since_ms=at_ms + 1)


@given(here=lists, kept=lists)
def test_a_restore_carries_out_again_what_redis_lost_and_nothing_else(here: list[Erasure], kept: list[Erasure]) -> None:
    known, found = {one.id: one for one in here}, {one.id: one for one in merged(here, kept)}
    assert found.keys() == known.keys() | {one.id for one in kept}
    for one in kept:
        before = known.get(one.id)
        lost = before is None or (one.status is Status.DONE and before.status is Status.RUNNING)
        assert found[one.id].again is lost
        assert found[one.id].status is (Status.RUNNING if lost or before is None else before.status)
    listed = ErasureList("nc", SECRET.hex(), kept)
    assert {one.id for one in listed.missing_in(here)} == {one.id for one in found.values() if one.again}
    assert listed.missing_in(found.values()) == []


@given(kept=lists, here=lists, oldest_ms=st.integers(0, 10))
def test_the_list_reads_as_it_was_written_and_holds_what_is_young_enough(
    kept: list[Erasure], here: list[Erasure], oldest_ms: int
) -> None:
    listed = ErasureList("nc", SECRET.hex(), kept).of(here, SECRET, oldest_ms)
    assert decode_list(encode_list(listed)) == listed
    expected = {one.id: one for one in kept} | {one.id: one for one in here}
    assert [one.id for one in listed.erasures] == sorted(
        (name for name, one in expected.items() if one.at_ms >= oldest_ms),
        key=lambda name: (expected[name].at_ms, name),
    )


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"prefix":"nc","secret":"","format":"other"}', b"[1]"])
def test_what_is_no_list_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="expected"):
        decode_list(raw)


def test_an_erasure_reads_as_it_was_written_and_counts_add_up() -> None:
    one = Erasure("a", Subject.USER, "1", 5).plus({"log:clicks": 2, "redis:user": 0}).plus({"log:clicks": 1})
    assert one.removed == {"log:clicks": 3}
    assert decode_erasure(encode_erasure(one)) == one
    with pytest.raises(ValueError, match="expected an erasure"):
        decode_erasure(b"{}")


@given(name=names)
def test_a_name_is_found_in_a_record_however_it_is_written(name: str) -> None:
    raw = msgspec.json.encode({"user_id": name, "session_id": "s", "ts": 3})
    assert as_json(name) in raw or b"\\" in raw
    told = told_in(raw)
    assert told is not None
    assert (told.user_id, told.session_id, told.ts_ms) == (name, "s", 3)


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"user_id": 3, "ts": true}', b"\xff", b"[" * 2000])
def test_what_names_nobody_is_told_as_nobody(raw: bytes) -> None:
    told = told_in(raw)
    assert told is None or (told.user_id, told.session_id, told.ts_ms) == (None, None, 0)


def test_a_receipt_says_what_remains_and_of_kafka_that_its_records_do() -> None:
    wheres = [one["where"] for one in remains(False, {})]
    assert {"aggregate:trends", "aggregate:models", "file:backups", "redis:erasures"} <= {*wheres}
    assert "log:clicks" not in wheres
    kafka = {one["where"]: one["why"] for one in remains(True, {"file:x": "why not"})}
    assert "retention.ms" in kafka["log:clicks"]
    assert kafka["file:x"] == "why not"

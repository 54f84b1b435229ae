"""Names of keys on their way into a cluster, and snapshots that are joined: pure parts of a cluster's backup."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.errors import StateUnavailable
from state.key_copies import staged, staged_in_slot, unstaged
from state.rdb_join import join_snapshots
from state.slots import slot_of

NAMES = st.text(st.characters(blacklist_characters="{}"), max_size=8)


@given(NAMES, NAMES.filter(bool), st.text(max_size=8))
@example("nc:", "p3", ":session:}odd{")
def test_a_key_on_its_way_has_the_slot_that_it_will_have(before: str, tag: str, after: str) -> None:
    for key in (f"nc:{before}{{{tag}}}{after}".encode(), f"nc:{before}{tag}".encode()):
        assert slot_of(staged_in_slot(key)) == slot_of(key)
        assert unstaged(staged(key)) == key


def test_names_on_the_way() -> None:
    assert staged(b"nc:{p3}:progress") == b"restoring.nc:{p3}:progress"
    assert staged(b"nc:waits:01") == b"restoring.{nc:waits:01}"
    assert unstaged(b"restoring.nc:waits:01") == b"nc:waits:01"  # as an older release named it
    with pytest.raises(StateUnavailable, match="expected keys with braces in pairs"):
        staged_in_slot(b"nc:a}b")


def test_snapshots_of_two_formats_are_not_joined(tmp_path: Path) -> None:
    parts = [tmp_path / "a", tmp_path / "b"]
    for part, form in zip(parts, (b"0009", b"0010"), strict=True):
        part.write_bytes(b"REDIS" + form + b"\xfa\x09redis-ver\x036.2\xff" + bytes(8))
    with pytest.raises(StateUnavailable, match="expected primaries of one version"):
        join_snapshots(parts, tmp_path / "joined")


def test_the_databases_of_one_follow_those_of_the_other(tmp_path: Path) -> None:
    parts = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    held = [b"\xfe\x00\xfb\x02\x01one", b"\xfe\x00\xfb\x05\x00two", b""]
    for part, databases in zip(parts, held, strict=True):
        part.write_bytes(b"REDIS0009\xfa\x09redis-ver\x036.2" + databases + b"\xff" + b"checksum")
    facts = join_snapshots(parts, tmp_path / "joined")
    assert facts == ("6.2", 0, 7, 1)
    joined = b"REDIS0009\xfa\x09redis-ver\x036.2" + held[0] + held[1] + b"\xff" + bytes(8)
    assert (tmp_path / "joined").read_bytes() == joined
    assert [part.exists() for part in parts] == [False, False, False]

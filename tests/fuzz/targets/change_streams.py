"""Entries of a table's change stream: changes in order, or the rows are loaded again."""

from __future__ import annotations

from state.table_changes import ChangesTrimmed, parse_changes
from tests.fuzz.target import Target


def check(raw: bytes) -> None:
    """An input is entries, one a line: an id and fields, with tabs between them."""
    entries = [(parts[0], parts[1:]) for line in raw.split(b"\n") if len(parts := line.split(b"\t")) > 1]
    found, _ = parse_changes([(b"stream", entries)] if entries else None, 5, 100)
    assert all(change.number >= 5 and isinstance(change.key, bytes) for change in found)
    assert len(found) <= 100


TARGET = Target(
    check,
    {"two": b"5-1\tput\t1\tkey\trow\n7-1\tdelete\t2\tkey\tother", "none": b""},
    code=("state.table_changes",),
    refusals=(ChangesTrimmed,),
    words=(b"put\t", b"delete\t", b"\n6-1\t", b"-1\t", b"16\t", b"99999999999999999999"),
)

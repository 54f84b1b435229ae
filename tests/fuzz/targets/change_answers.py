"""What Redis answers about a table's changes, as arrays: the same as one by one, or none."""

from __future__ import annotations

import redis

from state.change_arrays import read_arrays
from state.raw_answers import RawAnswers, plain
from state.table_changes import ChangesTrimmed, parse_changes
from tests.fuzz.target import Target

KEY = b"$8\r\nan item!\r\n"
PUT = b"*2\r\n$3\r\n5-1\r\n*4\r\n$3\r\nput\r\n$1\r\n1\r\n" + KEY + b"$3\r\nrow\r\n"
DELETE = b"*2\r\n$3\r\n6-1\r\n*4\r\n$6\r\ndelete\r\n$1\r\n1\r\n" + KEY + b"$0\r\n\r\n"
ANSWER = b"*1\r\n*2\r\n$1\r\nt\r\n*2\r\n" + PUT + DELETE


def check(raw: bytes) -> None:
    reader = RawAnswers()
    for cut in (raw[: len(raw) // 2], raw[len(raw) // 2 :]):
        reader.feed(cut)
    answer = reader.gets()
    if answer is False or not hasattr(answer, "tobytes"):
        return
    found = read_arrays(answer, 5, 4)
    if found is not None:
        assert found.changes() == parse_changes(plain(answer), 5, 100)[0]


TARGET = Target(
    check,
    {"two": ANSWER, "none": b"*-1\r\n", "deleted": b"*1\r\n*2\r\n$1\r\nt\r\n*1\r\n" + DELETE.replace(b"6-1", b"5-1")},
    code=("state.change_arrays", "state.raw_answers"),
    refusals=(ChangesTrimmed, redis.InvalidResponse),
    words=(PUT, DELETE, KEY, b"*1\r\n", b"*2\r\n", b"$-1\r\n", b"*-1\r\n", b"$0\r\n\r\n", b"99999999999999999999"),
)

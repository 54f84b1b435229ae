"""Files of a replay's answers."""

from __future__ import annotations

import zstandard

from contracts.errors import ImportFormatError
from replay.measure.answer_log import read_answers
from tests.fuzz.files import written
from tests.fuzz.target import Target

ONE = b'{"question":3,"session_id":"s","items":["a"],"reasons":["r"],"hit":false,"dropped":{"b":"x"},"counts":null}\n'


def check(raw: bytes) -> None:
    """An input is the content, or (from a first byte of 255 on) the packed file itself."""
    content = raw[1:] if raw[:1] == b"\xff" else zstandard.compress(raw)
    for question, answer in read_answers(written("a.jsonl.zst", content)):
        assert isinstance(question, int)
        hash(answer.items)


TARGET = Target(
    check,
    {"one": ONE, "two": ONE * 2, "packed": b"\xff" + zstandard.compress(ONE)},
    code=("replay.measure.answer_log", "eventlog.packed"),
    refusals=(ImportFormatError,),
)

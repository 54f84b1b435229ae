"""Dead letters as Redis keeps them: damaged ones are shown as such, and keep no other from being shown."""

from __future__ import annotations

import orjson

from eventlog.contract import KeptLetter, Position
from eventlog.letter_choice import Choice
from eventlog.redis_dead_letters import letter_of
from gateway.dead_letters import shown
from gateway.letter_replay import topic_of
from tests.fuzz.target import Target

VALID = b"\n".join((b"source", b"clicks:3:88", b"reason", b"late", b"detail", b"too late", b"at", b"17", b"raw", b"{}"))


def check(raw: bytes) -> None:
    """An input is the fields of a letter, one a line."""
    letter = letter_of(3, (b"17-1", raw.split(b"\n")))
    kept = KeptLetter(Position(3, 17), letter)
    assert letter.reason
    orjson.dumps(shown(kept).model_dump())
    topic_of(letter)
    assert Choice().takes(kept)


TARGET = Target(
    check,
    {"whole": VALID, "gateway": VALID.replace(b"clicks:3:88", b"gateway")},
    code=("eventlog.redis_dead_letters", "gateway.dead_letters", "gateway.letter_replay"),
    words=(b"source\n", b"reason\n", b"detail\n", b"at\n", b"raw\n", b"99999999999999999"),
)

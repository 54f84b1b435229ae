"""Lines of a recording as they are played, anonymised, and made a recording of by a gateway that was killed."""

from __future__ import annotations

from contracts.errors import ImportFormatError
from gateway.record_files import FINISHED, finish
from replay.engine.anonymise import Anonymiser
from replay.engine.pacer import TimesFaster
from replay.engine.schedule import Rewriting, schedule
from tests.fuzz.files import folder, written
from tests.fuzz.target import Target, dumped, read_by_one
from tests.fuzz.targets import events

PART = ".recorded-20260101T000000-1-1.part.jsonl"
LINES = dumped(events.CLICK) + b"\n" + dumped({**events.SHOWN, "ts": events.NOW + 5}) + b"\n"


def check(raw: bytes) -> None:
    lines = raw.split(b"\n")
    (folder() / f"recorded-20260101T000000-1-1{FINISHED}").unlink(missing_ok=True)
    finish(written(PART, raw))
    read_by_one((lambda: _play(lines), lambda: _anonymise(lines)), (ImportFormatError,))


def _play(lines: list[bytes]) -> None:
    for planned in schedule(lines, TimesFaster(2.0), Rewriting("r"), start_ms=events.NOW):
        dumped(planned.fields)


def _anonymise(lines: list[bytes]) -> None:
    for fields in Anonymiser(bytes(16)).lines(lines):
        dumped(fields)


TARGET = Target(
    check,
    {"two": LINES[:-1]},
    code=("gateway.record_files", "replay.engine.schedule", "replay.engine.anonymise", "eventlog.files"),
    refusals=(ImportFormatError,),
    words=(b'"ts":', b'"session_id":', b'"items":', b'"context":', b"\n"),
)

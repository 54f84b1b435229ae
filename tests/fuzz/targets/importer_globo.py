"""Globo's hour files, in their zip."""

from __future__ import annotations

import io
import zipfile

from contracts.errors import ImportFormatError
from replay.importers.globo import COLUMNS, Globo
from tests.fuzz.files import importing
from tests.fuzz.target import Target

HEAD = ",".join(COLUMNS).encode() + b"\n"
ROWS = (
    HEAD
    + b"1,2,1506826800000,2,30,1506826801000,4,3,20,1,20,2\n"
    + b"1,2,1506826800000,2,31,1506826801500,4,3,20,1,20,2\n"
)


def zipped(raw: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(zipfile.ZipInfo("clicks/clicks_hour_000.csv"), raw)
    return made.getvalue()


_IMPORTING = importing(Globo(), {}, ".zip")


def check(raw: bytes) -> None:
    """An input is an hour's file, or a whole zip."""
    _IMPORTING.check(raw if raw[:2] == b"PK" else zipped(raw))


TARGET = Target(
    check,
    {"rows": ROWS, "zip": zipped(ROWS)},
    code=("replay.importers.globo", "eventlog.packed", "replay.importers.sources"),
    refusals=(ImportFormatError,),
    words=(b",", b"\n", b"\xef\xbb\xbf", b"1506826801000", b"0506826801000", b'"'),
)

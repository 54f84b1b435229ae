"""YooChoose's clicks."""

from __future__ import annotations

from replay.importers.yoochoose import YooChoose
from tests.fuzz.files import importing

ROWS = b"1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,S\n"

TARGET = importing(
    YooChoose(), {"rows": ROWS}, ".dat", (b",", b"\n", b"2014-04-07T10:51:09.277Z", b"+24:00", b"9999-12-31T23:59:59")
)

"""Diginetica's views."""

from __future__ import annotations

from replay.importers.diginetica import Diginetica
from tests.fuzz.files import importing

ROWS = b"sessionId;userId;itemId;timeframe;eventdate\n1;NA;81766;526309;2016-05-09\n1;7;31331;1031018;2016-05-09\n"

TARGET = importing(
    Diginetica(), {"rows": ROWS}, ".csv", (b";", b"\n", b"NA", b"2016-05-09", b"9999-12-31", b"0001-01-01", b"1e308")
)

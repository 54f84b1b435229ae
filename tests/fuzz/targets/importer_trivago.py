"""trivago's actions."""

from __future__ import annotations

from replay.importers.trivago import COLUMNS, Trivago
from tests.fuzz.files import importing

ROWS = (
    ",".join(COLUMNS).encode()
    + b"\ns1,u1,1541037460,1,search for item,2227,,\ns1,u1,1541037522,2,clickout item,2227,2227|2228,30|40.5\n"
)

TARGET = importing(
    Trivago(), {"rows": ROWS}, ".csv", (b",", b"\n", b"|", b"clickout item", b"1e308", b"1541037460.5", b'"')
)

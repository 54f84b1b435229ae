"""RetailRocket's events."""

from __future__ import annotations

from replay.importers.retailrocket import RetailRocket
from tests.fuzz.files import importing

ROWS = b"timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
ROWS += b"1433224214164,992329,transaction,248676,5\n"

TARGET = importing(
    RetailRocket(), {"rows": ROWS}, ".csv", (b",", b"\n", b"addtocart", b"transaction", b"1433221332117")
)

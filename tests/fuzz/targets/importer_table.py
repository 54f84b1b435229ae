"""Any table of clicks, its columns named by a map; and the maps themselves."""

from __future__ import annotations

from contracts.errors import ImportFormatError, SettingsError
from replay.importers.layout import Hours
from replay.importers.table import ColumnMap, MappedTable
from tests.fuzz.files import importing
from tests.fuzz.target import Target

MAP = "user_id=u,item_id=i,ts=t:iso,event_id=e,type=k,value=v,context.device=d"
ROWS = b"u,i,t,e,k,v,d\nann,a,2020-01-01 00:00:00 UTC,e1,view,3.5,m\nann,b,2020-01-01T00:00:01+01:00,e2,cart,,\n"
SECONDS = b"u;i;t;e;k;v;d\nann;a;1577836800.5;e1;view;1e308;m\n"


def check(raw: bytes) -> None:
    """An input is a map, how times are written among it, a line break, and the table."""
    head, _, rows = raw.partition(b"\n")
    text = head.decode(errors="replace")
    Hours.of_days(text.partition(";")[2] or "0:")
    table = MappedTable(ColumnMap.parse(text.partition(";")[0]))
    importing(table, {}, ".csv").check(rows)


TARGET = Target(
    check,
    {
        "iso": MAP.encode() + b";0:1\n" + ROWS,
        **{
            unit: MAP.replace("iso", unit).encode() + b"\n" + SECONDS
            for unit in ("seconds", "milliseconds", "microseconds")
        },
    },
    code=("replay.importers.table", "replay.importers.rows", "replay.importers.layout", "replay.importers.sessions"),
    refusals=(ImportFormatError, SettingsError),
    words=(
        b"session_id=",
        b"ts=t:seconds",
        b"1e308",
        b"NA",
        b"null",
        b"\t",
        b"9999-12-31T23:59:59.999999-23:59",
        b"0:1",
    ),
)

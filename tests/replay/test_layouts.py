"""Small files of the published shapes, imported."""

from __future__ import annotations

import gzip
import re
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from contracts.errors import ImportFormatError, SettingsError
from eventlog.files import read_events, read_header, read_items
from nextclick.cli import groups
from replay.importers import (
    ColumnMap,
    Diginetica,
    Hours,
    Imported,
    Importer,
    MappedTable,
    Otto,
    RetailRocket,
    YooChoose,
    import_items,
    import_log,
)
from replay.importers.sessions import cut_sessions
from replay.importers.sources import Source

DAY_MS = 86_400_000
TYPED = CliRunner()


def files(folder: Path, **texts: str) -> Path:
    """Write files named `name__ext`, and return their folder."""
    source = folder / "source"
    source.mkdir(exist_ok=True)
    for name, text in texts.items():
        (source / name.replace("__", ".").replace("_", "-")).write_text(text)
    return source


def run(importer: Importer, source: Path, **options: Any) -> tuple[Imported, list[dict[str, Any]]]:
    out = source.parent / "out.jsonl.zst"
    imported = import_log(importer, source, out, **options)
    assert read_header(out) == imported.header
    return imported, [event.model_dump(exclude_none=True) for event in read_events(out)]


def seen(events: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(event["type"], event["session_id"], event.get("item_id", "")) for event in events]


RETAILROCKET = """timestamp,visitorid,event,itemid,transactionid
1433221332117,257597,view,355908,
1433224214164,992329,view,248676,
1433221392117,257597,addtocart,355908,
1433221999827,257597,transaction,355908,4000
1433229999827,257597,view,1,
"""


def test_retailrocket_visits_are_cut_into_sessions_at_the_idle_gap(tmp_path: Path) -> None:
    source = files(tmp_path)
    (source / "events.csv").write_text(RETAILROCKET)
    imported, events = run(RetailRocket(), source)
    assert seen(events) == [
        ("view", "257597-1433221332117", "355908"),
        ("cart", "257597-1433221332117", "355908"),
        ("purchase", "257597-1433221332117", "355908"),
        ("view", "992329-1433224214164", "248676"),
        ("view", "257597-1433229999827", "1"),
    ]
    assert (events[0]["event_id"], events[0]["user_id"], events[0]["ts"]) == (
        "rr-aa6c3b5473-2",
        "257597",
        1433221332117,
    )
    assert (imported.header.sessions, imported.broken) == (3, 0)


def test_retailrocket_items_are_as_their_newest_properties_say(tmp_path: Path) -> None:
    source = tmp_path / "rr.zip"
    head = "timestamp,itemid,property,value\n"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("rr/events.csv", RETAILROCKET)
        archive.writestr(
            "rr/item_properties_part1.csv",
            head + "1435460400000,7,categoryid,213\n1435460400000,7,790,n12000.000\n1435460400001,7,available,1\n",
        )
        archive.writestr(
            "rr/item_properties_part2.csv",
            head + "1435460400005,7,available,0\n1435460300000,7,categoryid,9\n1435460400000,8,888,1 n2.0\nx,8,888,1\n",
        )
        archive.writestr("rr/category_tree.csv", "categoryid,parentid\n213,169\n169,\n")
    out = tmp_path / "items.jsonl.zst"
    imported = import_items(RetailRocket(), source, out)
    items = dict(read_items(out))
    assert (items["7"].category, items["7"].price, items["7"].stock) == ("169/213", 12000.0, 0)
    assert (items["8"].category, items["8"].price, items["8"].stock) == ("", None, None)
    assert (imported.items, imported.broken) == (2, 1)
    assert str(imported.problems[0]).endswith("item_properties_part2.csv:5: column timestamp: expected epoch "
                                              "milliseconds (13 digits), got 'x'")  # fmt: skip


def test_days_of_a_layout_without_hour_files_go_by_the_first_events_midnight(tmp_path: Path) -> None:
    source = files(tmp_path)
    day = 1433203200000
    rows = [f"{day + 3_600_000},1,view,a,", f"{day + DAY_MS - 1},1,view,b,", f"{day + DAY_MS},1,view,c,"]
    (source / "events.csv").write_text("timestamp,visitorid,event,itemid,transactionid\n" + "\n".join(rows))
    assert [event["item_id"] for event in run(RetailRocket(), source, hours=Hours.of_days("0:1"))[1]] == ["a", "b"]
    assert [event["item_id"] for event in run(RetailRocket(), source, hours=Hours.of_days("1:"))[1]] == ["c"]


DIGINETICA = {
    "train_item_views__csv": "sessionId;userId;itemId;timeframe;eventdate\n1;NA;81766;526309;2016-05-09\n"
    "1;NA;31331;1031018;2016-05-09\n2;77;81766;5;2016-05-08\n",
    "train_purchases__csv": "sessionId;userId;timeframe;eventdate;ordernumber;itemId\n"
    "2;77;9000;2016-05-08;16421;81766\n",
    "train_queries__csv": "queryId;sessionId;userId;timeframe;duration;eventdate;searchstring.tokens;categoryId;items;"
    "is.test\n1;2;77;1;18;2016-05-08;;600;81766,31331;False\n",
    "products__csv": "itemId;pricelog2;product.name.tokens\n81766;10;4875,776\n31331;nan;1\n",
    "product_categories__csv": "itemId;categoryId\n81766;1096\n",
}


def test_diginetica_views_purchases_and_result_lists_become_one_log(tmp_path: Path) -> None:
    imported, events = run(Diginetica(), files(tmp_path, **DIGINETICA))
    day = 1462665600000  # 2016-05-08
    assert [(event["ts"] - day, event["type"], event["session_id"]) for event in events] == [
        (1, "impression", "2"),
        (5, "view", "2"),
        (9000, "purchase", "2"),
        (DAY_MS + 526309, "view", "1"),
        (DAY_MS + 1031018, "view", "1"),
    ]
    assert events[0]["items"] == ["81766", "31331"]
    assert events[1]["user_id"] == "77"
    assert "user_id" not in events[3]
    assert imported.header.items == 2


def test_diginetica_starts_can_be_spread_over_the_day(tmp_path: Path) -> None:
    _, events = run(Diginetica(spread=True), files(tmp_path, **DIGINETICA))
    first = [event["ts"] for event in events if event["session_id"] == "1"]
    assert first[1] - first[0] == 1031018 - 526309
    assert first[0] - 526309 != 1462752000000


def test_diginetica_products_have_price_and_category(tmp_path: Path) -> None:
    imported = import_items(Diginetica(), files(tmp_path, **DIGINETICA), tmp_path / "items.jsonl")
    items = dict(read_items(tmp_path / "items.jsonl"))
    assert (items["81766"].title, items["81766"].price, items["81766"].category) == ("4875 776", 1024.0, "1096")
    assert (imported.items, imported.broken, imported.problems[0].column) == (1, 1, "pricelog2")


YOOCHOOSE = {
    "yoochoose_clicks__dat": "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,S\n"
    "2,yesterday,214662742,0\n2,2014-04-07T13:56:37.614Z,214662742\n",
    "yoochoose_buys__dat": "1,2014-04-07T10:58:00.306Z,214537888,12462,2\n1,2014-04-07T10:58:00.307Z,214537850,0,1\n",
}


def test_yoochoose_clicks_and_buys_become_one_log(tmp_path: Path) -> None:
    imported, events = run(YooChoose(), files(tmp_path, **YOOCHOOSE))
    assert seen(events) == [
        ("view", "1", "214536502"),
        ("view", "1", "214536500"),
        ("purchase", "1", "214537888"),
        ("purchase", "1", "214537850"),
    ]
    assert events[0]["ts"] == 1396867869277
    assert [event.get("context") for event in events[:2]] == [None, {"category": "S"}]
    assert [event.get("value") for event in events[2:]] == [24924.0, None]
    assert [str(problem).rpartition("/")[2] for problem in imported.problems] == [
        "yoochoose-clicks.dat:3: column timestamp: expected a time such as 2014-04-07T10:51:09.277Z, got 'yesterday'",
        "yoochoose-clicks.dat:4: column category: expected 4 columns, got 3",
    ]


def test_strict_stops_at_the_first_broken_line(tmp_path: Path) -> None:
    with pytest.raises(ImportFormatError, match=r"yoochoose-clicks\.dat:3: column timestamp"):
        run(YooChoose(), files(tmp_path, **YOOCHOOSE), strict=True)


RR_HEAD = "timestamp,visitorid,event,itemid,transactionid\n"
VIEWS_HEAD = "sessionId;userId;itemId;timeframe;eventdate\n"


@pytest.mark.parametrize(
    ("importer", "name", "text", "place"),
    [
        (RetailRocket(), "events.csv", RR_HEAD + "1433221332117,1,view,2,\nnoon,1,view,2,\n", "3: column timestamp"),
        (RetailRocket(), "events.csv", RR_HEAD + "1433221332117,1,glance,2,\n", "2: column event"),
        (Diginetica(), "train-item-views.csv", VIEWS_HEAD + "1;NA;7;5;2016-13-09\n", "2: column eventdate"),
        (Diginetica(), "train-item-views.csv", VIEWS_HEAD + "1;NA;7;soon;2016-05-09\n", "2: column timeframe"),
        (YooChoose(), "yoochoose-clicks.dat", "1,2014-04-07T10:51:09.277Z,,0\n", "1: column item"),
        (Otto(), "otto-recsys-train.jsonl", '{"session":1,"events":[{"aid":1,"ts":"x","type":"clicks"}]}\n',
         "1: column events[0].ts"),
        (MappedTable(ColumnMap.parse("session_id=S,item_id=I,ts=T")), "t.csv", "S,I,T\n1,2,yesterday\n", "2: column T"),
    ],
)  # fmt: skip
def test_a_broken_line_is_named_by_file_line_and_column_and_strict_stops_at_it(
    importer: Importer, name: str, text: str, place: str, tmp_path: Path
) -> None:
    source = files(tmp_path) / name
    source.write_text(text)
    given = source if isinstance(importer, Otto | MappedTable) else source.parent
    imported, _ = run(importer, given)
    assert imported.broken == 1
    assert f"{name}:{place}: expected" in str(imported.problems[0])
    out = given.parent / "out.jsonl.zst"
    out.unlink()
    with pytest.raises(ImportFormatError, match=re.escape(f"{name}:{place}")):
        run(importer, given, strict=True)
    assert not out.exists()


OTTO = (
    b'{"session":12,"events":[{"aid":59625,"ts":1661724000278,"type":"clicks"},'
    b'{"aid":1,"ts":1661724058352,"type":"carts"},{"aid":2,"ts":"x","type":"clicks"}]}\n'
    b'{"session":13,"events":[{"aid":7,"ts":1661724000000,"type":"orders"},{"aid":7,"ts":1661724000001,"type":"z"}]}\n'
    b'{"session":14,\n{"session":15}\n'
)


def test_otto_sessions_become_events_and_a_broken_event_spoils_only_itself(tmp_path: Path) -> None:
    source = tmp_path / "otto-recsys-train.jsonl.gz"
    source.write_bytes(gzip.compress(OTTO, mtime=0))
    mark = f"otto-{Source(source).mark()}"
    imported, events = run(Otto(), source)
    assert seen(events) == [("purchase", "13", "7"), ("view", "12", "59625"), ("cart", "12", "1")]
    assert [event["event_id"] for event in events] == [f"{mark}-2-1", f"{mark}-1-1", f"{mark}-1-2"]
    assert [(problem.line, problem.column) for problem in imported.problems] == [
        (1, "events[2].ts"),
        (2, "events[1].type"),
        (3, "15"),
        (4, "events"),
    ]


def test_a_table_is_read_by_its_column_map(tmp_path: Path) -> None:
    source = tmp_path / "clicks.tsv"
    source.write_text(
        "SessionId\tItemId\tTime\tWhat\n9\ta b\t1396437466.94\tclick\n9\tc\t1396437467\tbuy\n9\t\t1\tbuy\n"
    )
    columns = ColumnMap.parse("session_id=SessionId, item_id=ItemId, ts=Time:seconds, type=What, context.page=What")
    imported, events = run(MappedTable(columns, types={"click": "view", "buy": "purchase"}), source)
    assert seen(events) == [("view", "9", "a b"), ("purchase", "9", "c")]
    assert (events[0]["ts"], events[0]["context"], events[0]["event_id"]) == (
        1396437466940,
        {"page": "click"},
        "csv-02f48cae2c-2",
    )
    assert str(imported.problems[0]).endswith(
        "clicks.tsv:4: column ItemId: expected an id of 1 to 256 characters, got ''"
    )


def test_a_table_without_sessions_is_cut_by_user(tmp_path: Path) -> None:
    source = tmp_path / "clicks.csv"
    source.write_text(
        'who,what,at\nu1,"a,b",2024-01-01T00:00:00Z\nu1,c,2024-01-01T00:10:00Z\nu1,d,2024-01-01T00:20:01Z\n'
    )
    columns = ColumnMap.parse("user_id=who,item_id=what,ts=at:iso")
    _, events = run(MappedTable(columns, gap_ms=600_000), source)
    assert seen(events) == [
        ("view", "u1-1704067200000", "a,b"),
        ("view", "u1-1704067200000", "c"),
        ("view", "u1-1704068401000", "d"),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("item_id=a,ts=b", "lacks session_id"),
        ("session_id=a,ts=b", "lacks item_id"),
        ("session_id=a,item_id", "got 'item_id'"),
        ("sesion_id=a,item_id=b,ts=c", "got 'sesion_id'"),
    ],
)
def test_a_map_that_cannot_be_used_says_why(text: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        ColumnMap.parse(text)


def test_a_unit_that_is_none_says_which_are_unless_it_is_a_columns_own_name(tmp_path: Path) -> None:
    source = tmp_path / "x.csv"
    source.write_text("s,i,at:utc\n1,a,1704067200000\n")
    with pytest.raises(SettingsError, match="with milliseconds, seconds, microseconds, iso, got ts=at:sec"):
        run(MappedTable(ColumnMap.parse("session_id=s,item_id=i,ts=at:sec")), source)
    _, events = run(MappedTable(ColumnMap.parse("session_id=s,item_id=i,ts=at:utc")), source)
    assert [event["ts"] for event in events] == [1704067200000]


def test_a_map_that_names_a_missing_column_says_which_are_there(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ImportFormatError, match=r"x\.csv:1: expected a column 'Item', got 'a, b'"):
        run(MappedTable(ColumnMap.parse("session_id=a,item_id=Item,ts=b")), tmp_path / "x.csv")


@pytest.mark.parametrize("importer", [RetailRocket(), Diginetica(), YooChoose(), Otto()], ids=lambda one: one.name)
def test_a_source_that_does_not_hold_the_layout_says_what_is_expected(importer: Importer, tmp_path: Path) -> None:
    with pytest.raises(ImportFormatError, match="no such file or folder"):
        run(importer, tmp_path / "nowhere")
    with pytest.raises(ImportFormatError, match="found none"):
        run(importer, files(tmp_path))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(min_value=0, max_value=40)), max_size=40),
    st.integers(min_value=1, max_value=60),
)
def test_cutting_keeps_each_visitors_clicks_together_exactly_while_they_are_close(
    steps: list[tuple[str, int]], gap_ms: int
) -> None:
    now, events = 0, []
    for user, pause in steps:
        now += pause
        events.append({"user_id": user, "ts": now})
    cut = [orjson.loads(raw) for raw in cut_sessions(map(orjson.dumps, events), gap_ms)]
    for user in "abc":
        mine = [event for event in cut if event["user_id"] == user]
        for before, after in pairwise(mine):
            together = before["session_id"] == after["session_id"]
            assert together == (after["ts"] - before["ts"] <= gap_ms)


def test_the_commands_import_with_items_and_anonymised(tmp_path: Path) -> None:
    app = groups()["import"]
    source, out, items = files(tmp_path, **DIGINETICA), tmp_path / "d.jsonl.zst", tmp_path / "items.jsonl"
    typed = ["diginetica", str(source), "-o", str(out), "--items", str(items), "--anonymise", "--key", "k" * 16]
    outcome = TYPED.invoke(app, typed)
    assert outcome.exit_code == 0, outcome.output
    assert read_header(out).anonymised
    viewed = {event.item_id for event in read_events(out) if event.item_id}
    assert {item_id for item_id, _ in read_items(items)} <= viewed
    assert "81766" not in viewed
    csv = tmp_path / "t.csv"
    csv.write_text("S,I,T\n1,2,1396437466940\n")
    outcome = TYPED.invoke(app, ["csv", str(csv), "-o", str(out), "--map", "session_id=S,item_id=I,ts=T"])
    assert outcome.exit_code == 0, outcome.output
    assert "1 events, 1 sessions, 1 items; 0 broken lines skipped" in " ".join(outcome.output.split())

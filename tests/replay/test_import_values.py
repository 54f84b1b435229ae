"""What publishers' files hold is taken as it is meant, or left out and counted: ids, words for none, times, marks."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from contracts.errors import ImportFormatError
from eventlog.files import read_events, read_header, read_items, write_events
from learning.settings_file import training_settings
from replay.engine.scenario import read_scenario
from replay.engine.template import read_template
from replay.importers import (
    IMPORTERS,
    ColumnMap,
    Importer,
    MappedTable,
    Otto,
    RetailRocket,
    Trivago,
    import_log,
)
from replay.importers.rows import BadField, identifier, iso_time, optional
from tests.replay.test_importer_trivago import HEADER as TRIVAGO
from tests.replay.test_importers import START, hour_file, row
from tests.replay.test_layouts import DIGINETICA, OTTO, RETAILROCKET, YOOCHOOSE, run

BOM = b"\xef\xbb\xbf"
TABLE = MappedTable(ColumnMap.parse("session_id=S,item_id=I,ts=T"))


def otto(folder: Path, *sessions: object) -> Path:
    path = folder / "train.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps(one) for one in sessions))
    return path


def an_event(**fields: object) -> dict[str, object]:
    return {"aid": 7, "ts": 1661724000278, "type": "clicks", **fields}


def test_an_otto_session_of_number_0_is_a_session(tmp_path: Path) -> None:
    imported, events = run(Otto(), otto(tmp_path, {"session": 0, "events": [an_event(aid=0)]}))
    assert [(event["session_id"], event["item_id"]) for event in events] == [("0", "0")]
    assert (imported.header.sessions, imported.broken) == (1, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"aid": None},
        {"aid": [1]},
        {"aid": {"id": 1}},
        {"aid": True},
        {"aid": 1.5},
        {"aid": ""},
        {"aid": "None"},
        {"type": None},
        {"type": ["clicks"]},
        {"type": 1},
        {"ts": None},
        {"ts": True},
        {"ts": [1661724000278]},
        {"ts": 1661724000278.0},
    ],
    ids=str,
)
def test_an_otto_value_that_is_none_of_its_kind_is_a_broken_line(wrong: dict[str, object], tmp_path: Path) -> None:
    imported, events = run(Otto(), otto(tmp_path, {"session": 1, "events": [an_event(**wrong), an_event()]}))
    assert [event["item_id"] for event in events] == ["7"]
    assert [problem.column for problem in imported.problems] == [f"events[0].{next(iter(wrong))}"]


@pytest.mark.parametrize("session", [None, "", [0], {}, False, 0.5, "null"], ids=str)
def test_an_otto_session_without_an_id_is_a_broken_line(session: object, tmp_path: Path) -> None:
    events = [an_event()]
    given = [{"session": session, "events": events}, {"events": events}, {"session": 2, "events": events}]
    imported, taken = run(Otto(), otto(tmp_path, *given))
    assert [event["session_id"] for event in taken] == ["2"]
    assert [problem.column for problem in imported.problems] == ["session", "session"]


def test_numbers_with_gaps_in_parquet_are_whole_ids_and_their_gaps_are_none(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs the train extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    given: dict[str, Any] = {"session_id": "S", "timestamp": 1541599523, "step": 1, "reference": "30"}
    given |= {"action_type": "search for item", "impressions": None, "prices": None}
    rows = [{**given, "user_id": 12.0}, {**given, "user_id": float("nan")}, {**given, "user_id": 13.0}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet")
    _, events = run(Trivago(), tmp_path / "x.parquet")
    assert [event.get("user_id") for event in events] == ["12", None, "13"]


WORDS_FOR_NONE = ["", " ", "NA", "null", "None", "NULL", "NaN", "nan", "N/A", "<NA>", "\\N", "undefined"]


@pytest.mark.parametrize("word", WORDS_FOR_NONE)
def test_words_for_none_are_no_ids(word: str) -> None:
    assert optional(word) is None
    with pytest.raises(BadField, match="expected an id"):
        identifier("user", word)


@pytest.mark.parametrize("name", ["0", "NAN", "nadia", "Nonesuch", "n", "-"])
def test_other_words_are_ids(name: str) -> None:
    assert (optional(name), identifier("user", name)) == (name, name)


@pytest.mark.parametrize("columns", ["user_id=U,item_id=I,ts=T", "session_id=U,item_id=I,ts=T"])
def test_clicks_of_nobody_are_skipped_and_counted_not_one_endless_session(columns: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    nobody = [f"{word},i{n},{1396437466940 + n}" for n, word in enumerate(["NA", "null", "None", ""])]
    path.write_text("\n".join(["U,I,T", "ann,i1,1396437466940", *nobody]))
    imported, events = run(MappedTable(ColumnMap.parse(columns)), path)
    assert [event["item_id"] for event in events] == ["i1"]
    assert (imported.header.sessions, imported.broken) == (1, 4)


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        ("1396437466", "seconds"),
        ("1396437466.5", "seconds"),
        ("1396437466940123", "microseconds"),
        ("2014-04-02 11:17", "iso"),
    ],
)
def test_a_time_in_another_unit_is_told_with_what_to_write(written: str, unit: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"S,I,T\ns,i,{written}\n")
    [problem] = run(TABLE, path)[0].problems
    assert problem.problem.endswith(f"; this is a time in {unit}: write ts=T:{unit} in --map")
    imported, _ = run(MappedTable(ColumnMap.parse(f"session_id=S,item_id=I,ts=T:{unit}")), path)
    assert (imported.header.events, imported.broken) == (1, 0)


def test_visitors_and_items_of_retailrocket_that_are_none_are_skipped_and_counted(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(RETAILROCKET + "1433221332117,NA,view,1,\n1433221332117,1,view,null,\n")
    imported, events = run(RetailRocket(), tmp_path / "events.csv")
    assert (len(events), imported.broken) == (5, 2)


@pytest.mark.parametrize(
    "written",
    [
        "2020-01-01 00:00:00 UTC",
        "2020-01-01 00:00:00UTC",
        "2020-01-01 00:00:00.000 utc",
        "2020-01-01 00:00:00 GMT",
        "2020-01-01T00:00:00 Z",
        "2020-01-01T00:00:00z",
        " 2020-01-01 00:00:00 ",
        "2020-01-01 01:00:00 +01:00",
        "2020-01-01 01:00:00 +0100",
        "2019-12-31 23:00:00 -01",
        "2020-01-01 00:00:00 +0000 UTC",
        "2020-01-01 00:00:00",
        "2020-01-01",
    ],
)
def test_times_are_read_as_databases_write_them(written: str) -> None:
    assert iso_time("T", written) == 1577836800000


@pytest.mark.parametrize("written", ["2020-01-01 00:00:00 CET", "UTC", "", "2020-13-01 00:00:00 UTC", "1577836800"])
def test_what_is_no_time_is_refused(written: str) -> None:
    with pytest.raises(BadField, match="expected a time such as"):
        iso_time("T", written)


def test_a_byte_order_mark_before_the_first_line_is_stepped_over(tmp_path: Path) -> None:
    table, hours, sessions = tmp_path / "t.csv", tmp_path / "clicks_hour_000.csv", tmp_path / "train.jsonl"
    table.write_bytes(BOM + b"S,I,T\n1,2,1396437466940\n")
    hours.write_bytes(BOM + hour_file(row(1, 100, 7, START)).encode())
    sessions.write_bytes(BOM + OTTO)
    assert len(run(TABLE, table)[1]) == 1
    assert len(run(IMPORTERS["globo"], tmp_path)[1]) == 1
    assert len(run(Otto(), sessions)[1]) == 3


def test_a_byte_order_mark_before_our_own_files_is_stepped_over(tmp_path: Path) -> None:
    log, items = tmp_path / "day.jsonl", tmp_path / "items.jsonl"
    write_events(log, [{"v": 1, "event_id": "e", "type": "view", "session_id": "s", "item_id": "i", "ts": 5}])
    log.write_bytes(BOM + log.read_bytes())
    items.write_bytes(BOM + b'{"item_id":"a","title":"t"}\n')
    assert read_header(log).events == 1
    assert [event.event_id for event in read_events(log)] == ["e"]
    assert [item_id for item_id, _ in read_items(items)] == ["a"]


def test_a_byte_order_mark_before_toml_is_stepped_over(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(BOM + b'name = "calm"\n')
    assert read_scenario(path).name == "calm"
    path.write_bytes(BOM + b"[session_model]\ndim = 16\n")
    assert training_settings(path).dim == 16
    path.write_bytes(BOM + b'[events]\npath = "/track"\n')
    assert read_template(path).takes_batches is False


Layout = tuple[Importer, str, Callable[[int], str]]
VIEWS, CLICKS = DIGINETICA["train_item_views__csv"], YOOCHOOSE["yoochoose_clicks__dat"]
LAYOUTS: list[Layout] = [
    (IMPORTERS["globo"], "clicks_hour_000.csv", lambda n: hour_file(row(1, 100, n, START), row(1, 100, 8, START + 1))),
    (IMPORTERS["retailrocket"], "events.csv", lambda n: RETAILROCKET.replace("355908", f"{n}")),
    (IMPORTERS["diginetica"], "train-item-views.csv", lambda n: VIEWS.replace("81766", f"{n}")),
    (IMPORTERS["yoochoose"], "yoochoose-clicks.dat", lambda n: CLICKS.replace("214536502", f"{n}")),
    (IMPORTERS["otto"], "train.jsonl", lambda n: OTTO.decode().replace("59625", f"{n}")),
    (IMPORTERS["trivago"], "train.csv", lambda n: f"{TRIVAGO}\nU,S,1541599553,4,clickout item,{n},,,,,10|{n},71|107\n"),
    (TABLE, "clicks.csv", lambda n: f"S,I,T\n1,{n},1396437466940\n1,2,1396437466941\n"),
]  # fmt: skip


@pytest.mark.parametrize(("importer", "name", "text"), LAYOUTS, ids=[one[0].name for one in LAYOUTS])
def test_two_files_of_one_layout_share_no_event_id_and_one_file_keeps_its_own(
    importer: Importer, name: str, text: Callable[[int], str], tmp_path: Path
) -> None:
    def ids(number: int, folder: str) -> set[tuple[str, str | None]]:
        source = tmp_path / folder
        source.mkdir()
        (source / name).write_text(text(number))
        header = import_log(importer, source, tmp_path / f"{folder}.jsonl").header
        events = list(read_events(tmp_path / f"{folder}.jsonl"))
        assert len({event.event_id for event in events}) == header.events > 0
        return {(event.event_id, event.request_id) for event in events}

    first, second, again = ids(11, "a"), ids(12, "b"), ids(11, "c")
    assert first == again
    assert not {one for one, _ in first} & {one for one, _ in second}
    assert not {one for _, one in first} & {one for _, one in second} - {None}


def test_a_file_has_the_same_event_ids_inside_a_zip_as_beside_it(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("S,I,T\n1,2,1396437466940\n")
    with zipfile.ZipFile(tmp_path / "clicks.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "clicks.csv", "deep/clicks.csv")
    beside, inside = (run(TABLE, tmp_path / f"clicks.{kind}")[1] for kind in ("csv", "zip"))
    assert [event["event_id"] for event in beside] == [event["event_id"] for event in inside]


def test_a_table_whose_first_line_is_no_header_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"x" * 200_000)
    with pytest.raises(ImportFormatError, match=r"t\.csv:1: expected a header line"):
        run(TABLE, path)

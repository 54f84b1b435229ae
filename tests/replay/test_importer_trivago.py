"""trivago's layout: what a clickout chose from becomes an impression that it names."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from contracts.errors import ImportFormatError
from contracts.events import Event
from eventlog.files import read_events
from replay.importers import IMPORTERS, Imported, import_log

HEADER = (
    "user_id,session_id,timestamp,step,action_type,reference,platform,city,device,current_filters,impressions,prices"
)
ROWS = [
    'U,S,1541599523,1,interaction item image,30,FR,"Marseille, France",tablet,,,',
    'U,S,1541599530,2,filter selection,Hotel,FR,"Marseille, France",tablet,,,',
    'U,S,1541599531,3,search for item,unknown,FR,"Marseille, France",tablet,,,',
    'U,S,1541599553,4,clickout item,30,FR,"Marseille, France",tablet,,10|20|30,71|107|119',
]


def run(source: Path, folder: Path) -> tuple[Imported, list[Event]]:
    imported = import_log(IMPORTERS["trivago"], source, folder / "out.jsonl.zst")
    return imported, list(read_events(folder / "out.jsonl.zst"))


def check(imported: Imported, events: list[Event]) -> None:
    assert imported.broken == 0
    assert [event.type for event in events] == ["view", "impression", "purchase"]
    view, shown, clicked = events
    assert (view.item_id, view.session_id, view.user_id, view.ts) == ("30", "S", "U", 1541599523000)
    assert shown.items == ["10", "20", "30"]
    assert (shown.model_extra or {})["prices"] == [71.0, 107.0, 119.0]
    assert clicked.item_id == "30"
    assert clicked.request_id == shown.request_id is not None
    assert clicked.ts == shown.ts == 1541599553000


def test_a_clickout_and_the_list_that_it_chose_from(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("\n".join([HEADER, *ROWS]))
    check(*run(tmp_path, tmp_path))


def test_the_same_columns_as_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs the train extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [dict(zip(HEADER.split(","), row, strict=True)) for row in csv.reader(ROWS)]
    typed = [{**row, "timestamp": int(row["timestamp"]), "prices": row["prices"] or None} for row in rows]
    parquet.write_table(pyarrow.Table.from_pylist(typed), tmp_path / "slice.parquet")
    check(*run(tmp_path / "slice.parquet", tmp_path))


def test_a_list_with_other_prices_than_items_is_a_broken_row(tmp_path: Path) -> None:
    broken = ROWS[3].replace("71|107|119", "71|107")
    (tmp_path / "train.csv").write_text("\n".join([HEADER, ROWS[0], broken]))
    imported, events = run(tmp_path, tmp_path)
    assert [event.type for event in events] == ["view"]
    assert [str(problem).rpartition(": ")[2] for problem in imported.problems] == [
        "expected 3 prices, one an item shown, got 2"
    ]


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs the train extra")
    (tmp_path / "x.parquet").write_text("hello")
    with pytest.raises(ImportFormatError, match="expected a Parquet file"):
        run(tmp_path / "x.parquet", tmp_path)

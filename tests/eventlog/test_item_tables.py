"""Catalogue tables, CSV and Parquet, as shops export them."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import ImportFormatError, SettingsError
from contracts.items import item_document
from eventlog.files import BrokenLine
from eventlog.item_tables import column_map, read_any_items


def read(path: Path, columns: Mapping[str, str] | None = None) -> tuple[list[dict[str, Any]], list[BrokenLine]]:
    broken: list[BrokenLine] = []
    items = [item_document(one, item) for one, item in read_any_items(path, columns or {}, on_error=broken.append)]
    return items, broken


def test_cells_are_typed_by_the_item_and_empty_ones_are_absent(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "item_id,Title,price,stock,regions,attributes.size,attributes.promo,attributes.tags,own\n"
        'b1,"Boot, brown",59.9,4,DE|AT,42,true,warm|dry,007\n'
        "b2,Bare,,,,,,,\n",
        "utf-8-sig",
    )
    items, broken = read(tmp_path / "a.csv")
    assert broken == []
    assert items[0] == {
        "item_id": "b1",
        "title": "Boot, brown",
        "category": "",
        "price": 59.9,
        "stock": 4,
        "regions": ["DE", "AT"],
        "attributes": {"size": 42, "promo": True, "tags": ["warm", "dry"]},
        "own": "007",
    }
    assert items[1] == {"item_id": "b2", "title": "Bare", "category": ""}


def test_columns_are_mapped_and_semicolons_go_with_decimal_commas(tmp_path: Path) -> None:
    table = "SKU;Name;Preis;Breite;title\n1;Stiefel;59,90;2,5;x\n2;Zelt;1.299,00;3;y\n"
    columns = column_map(["item_id=SKU", "title=Name", "price = Preis", "attributes.width=Breite"])
    for name, packed in (
        ("a.csv", table.encode()),
        ("a.csv.gz", gzip.compress(table.encode())),
        ("a.tsv.zst", zstandard.compress(table.encode())),
    ):
        (tmp_path / name).write_bytes(packed)
        items, broken = read(tmp_path / name, columns)
        assert [(one["item_id"], one["title"], one["price"], one["attributes"]) for one in items] == [
            ("1", "Stiefel", 59.9, {"width": 2.5}),
            ("2", "Zelt", 1299.0, {"width": 3}),
        ]
        assert broken == []


def test_broken_rows_are_left_out_and_named_by_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        'item_id,title,price\na,"two\nlines",1\nb,B,cheap\n,No id,1\nc,,1\n\nd,D,1,2\ne,E,-1\nf,F,inf\ng,G,2\n'
    )
    items, broken = read(path)
    assert [one["item_id"] for one in items] == ["a", "g"]
    assert [(one.line, one.detail.split(":")[0]) for one in broken] == [
        (4, "price"),
        (5, "item_id"),
        (6, "title"),
        (8, "expected 3 cells, got 4"),
        (9, "price"),
        (10, "price"),
    ]
    assert "got 'cheap'" in broken[0].detail


@pytest.mark.parametrize(
    ("table", "columns", "said"),
    [
        ("sku,title\n", [], "expected a column 'item_id', got sku, title: name it by --map item_id=COLUMN"),
        ("item_id,title\n", ["price=Preis"], "there is no column 'Preis'"),
        ("item_id,title,title\n", [], "'title' again"),
        ("", [], "expected a column 'item_id'"),
    ],
)
def test_a_table_that_is_no_catalogue_is_refused(tmp_path: Path, table: str, columns: list[str], said: str) -> None:
    (tmp_path / "a.csv").write_text(table)
    with pytest.raises(ImportFormatError, match=said):
        read(tmp_path / "a.csv", column_map(columns))


@pytest.mark.parametrize("pair", ["price", "price=", "cost=Preis", "attributes.=a"])
def test_a_map_names_fields_of_items(pair: str) -> None:
    with pytest.raises(SettingsError, match="expected"):
        column_map([pair])


def test_another_encoding_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("item_id,title\na,Stra\u00dfe\n".encode("latin-1"))
    with pytest.raises(ImportFormatError, match="expected UTF-8"):
        read(tmp_path / "a.csv")


LIKE_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp"), exclude_characters="|")
)
TEXT = LIKE_TEXT.map(lambda text: f"t{text}")
VALUE = TEXT | st.booleans() | st.integers(-(10**15), 10**15) | st.lists(TEXT, min_size=2, max_size=4)
ITEM = st.fixed_dictionaries(
    {"item_id": TEXT.filter(lambda text: len(text) <= 256), "title": TEXT},
    optional={
        "category": TEXT,
        "brand": TEXT,
        "description": TEXT.map(lambda text: f'{text}, "quoted"\nnext line'),
        "price": st.floats(0, 1e6),
        "margin": st.floats(-1, 1),
        "stock": st.integers(0, 2**31 - 1),
        "regions": st.lists(TEXT, min_size=1, max_size=3),
        "min_age": st.integers(0, 150),
        "attributes": st.dictionaries(st.sampled_from(["size", "colour", "a.b"]), VALUE, min_size=1),
    },
)


def cells_of(item: Mapping[str, Any]) -> dict[str, str]:
    flat = {name: value for name, value in item.items() if name != "attributes"}
    flat |= {f"attributes.{name}": value for name, value in item.get("attributes", {}).items()}
    return {name: _cell(value) for name, value in flat.items()}


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "|".join(value) if isinstance(value, list) else str(value)


@given(items=st.lists(ITEM, max_size=5), separator=st.sampled_from(",;\t|"), mark=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_as_csv_is_read_again(
    tmp_path: Path, items: Sequence[dict[str, Any]], separator: str, mark: bool
) -> None:
    rows = [cells_of(item) for item in items]
    names = list(dict.fromkeys(["item_id", "title", "brand", *(name for row in rows for name in row)]))
    with open(tmp_path / "a.csv", "w", encoding="utf-8-sig" if mark else "utf-8", newline="") as file:
        table = csv.DictWriter(file, names, delimiter=separator)
        table.writeheader()
        table.writerows(rows)
    found, broken = read(tmp_path / "a.csv")
    assert (found, broken) == ([{"category": "", **item} for item in items], [])


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [
        {
            "item_id": "a",
            "title": "Boot",
            "category": 12,
            "price": 5.5,
            "attributes": {"size": 42, "tags": ["x"]},
            "attributes.made": datetime(2026, 1, 2, tzinfo=UTC),
        },
        {
            "item_id": "b",
            "title": "Bare",
            "category": None,
            "price": float("nan"),
            "attributes": None,
            "attributes.made": None,
        },
        {
            "item_id": None,
            "title": "No id",
            "category": None,
            "price": 1.0,
            "attributes": None,
            "attributes.made": None,
        },
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    items, broken = read(tmp_path / "a.parquet")
    assert items == [
        {
            "item_id": "a",
            "title": "Boot",
            "category": "12",
            "price": 5.5,
            "attributes": {"size": 42, "tags": ["x"], "made": "2026-01-02T00:00:00+00:00"},
        },
        {"item_id": "b", "title": "Bare", "category": ""},
    ]
    assert [(one.line, one.detail) for one in broken] == [(3, "item_id: expected 1 to 256 characters, got None")]
    (tmp_path / "b.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ImportFormatError, match="expected a Parquet file"):
        read(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("rows", "line", "said"),
    [
        ('1,Boot\n2,"Tent\n3,Lamp\n4,Mug\n', 3, "is not closed before the end of the file"),
        ('1,"a\nb","c\n2,d\n', 3, "is not closed before the end of the file"),
        ('1,Boot\n2,"Tent\n3,Lamp\n4,"Mug, big"\n5,Pan\n', 3, "closes in line 5 where no cell ends"),
        ('1,Boot\n2,"Tent\n' + "3,Lamp\n" * 1000 + '4,"\n', 3, "is not closed within 1,000 lines"),
        ('1,Boot\n2,"Tent\n' + f"3,{'x' * 70_000}\n" * 3, 3, "has no end"),
    ],
    ids=["end", "second", "inside", "lines", "characters"],
)
def test_a_quote_that_does_not_close_is_an_error_with_its_line(tmp_path: Path, rows: str, line: int, said: str) -> None:
    (tmp_path / "a.csv").write_text(f"item_id,title,own\n{rows}")
    with pytest.raises(ImportFormatError, match=rf"a\.csv: line {line}: the quote that opens here {said}"):
        read(tmp_path / "a.csv")


def test_a_quoted_cell_may_hold_lines_and_quotes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('item_id,title,own\n1,"A ""big""\n\ntent",x\n2,Mug 3",y\n')
    items, broken = read(tmp_path / "a.csv")
    assert [(one["title"], one["own"]) for one in items] == [('A "big"\n\ntent', "x"), ('Mug 3"', "y")]
    assert broken == []


def test_a_column_of_lists_holds_lists_of_one_part_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "item_id,title,attributes.tags[],attributes.uses,mood\n1,A,warm,trail,7\n2,B,a|b,,\n"
    )
    found = list(read_any_items(tmp_path / "a.csv", {}, lists=["attributes.uses", "mood"], on_error=None))
    first, second = (item_document(*one) for one in found)
    assert (first["attributes"], first["mood"]) == ({"tags": ["warm"], "uses": ["trail"]}, ["7"])
    assert second["attributes"] == {"tags": ["a", "b"]}
    for name, said in (("attributes.tag", "no column is that field"), ("title", "title is no list")):
        with pytest.raises(ImportFormatError, match=said):
            list(read_any_items(tmp_path / "a.csv", {}, lists=[name], on_error=None))

"""Tables of units as people have them: CSV, packed, in a zip, Parquet; what is wrong with one is said."""

from __future__ import annotations

import gzip
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from contracts.errors import ImportFormatError
from experiments.tables import names_in, read_table

pyarrow = pytest.importorskip("pyarrow", reason="needs the experiments extra")
from pyarrow import parquet  # noqa: E402

TEXT = "variant,clicks,before\nA,1,0.5\nB,2,\nA,3,1\n"


def written(folder: Path, name: str, text: str = TEXT) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def packed(folder: Path) -> Path:
    path = folder / "units.csv.gz"
    path.write_bytes(gzip.compress(TEXT.encode()))
    return path


def zipped(folder: Path) -> Path:
    with ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("day/units.csv", TEXT)
    return folder / "all.zip" / "day" / "units.csv"


def as_parquet(folder: Path) -> Path:
    columns = {"variant": ["A", "B", "A"], "clicks": [1, 2, 3], "before": [0.5, None, 1.0]}
    parquet.write_table(pyarrow.table(columns), folder / "units.parquet")
    return folder / "units.parquet"


@pytest.mark.parametrize(
    "made",
    [
        lambda folder: written(folder, "units.csv"),
        lambda folder: written(folder, "units.tsv", TEXT.replace(",", "\t")),
        lambda folder: written(folder, "units.csv", "﻿" + TEXT.replace(",", ";")),
        packed,
        zipped,
        as_parquet,
    ],
    ids=["csv", "tabs", "semicolons", "gz", "zip", "parquet"],
)
def test_columns_are_read_from_every_form(tmp_path: Path, made) -> None:  # type: ignore[no-untyped-def]
    path = made(tmp_path)
    assert names_in(path) == ("variant", "clicks", "before")
    found = read_table(path, numbers=["clicks", "before", "clicks"], texts=["variant"])
    assert found.rows == 3
    assert found.numbers["clicks"].tolist() == [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(found.numbers["before"], [0.5, np.nan, 1.0])
    assert found.texts["variant"].names == ("A", "B")
    assert found.texts["variant"].codes.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            TEXT.replace("clicks", "click"),
            "expected a column 'clicks', got variant, click, before: did you mean click?",
        ),
        (TEXT.replace("2", "two"), "column 'clicks': Row #3: CSV conversion error to double: invalid value 'two'"),
        (TEXT.replace("B", ""), "column 'variant', row 2: expected a word, got an empty cell"),
        (TEXT.replace("2", "inf"), "column 'clicks', row 2: expected a finite number up to 1e+15, got inf"),
        (TEXT.replace("before", "be\rfore"), "new-line character seen in unquoted field"),
        (TEXT + "A,1,2,3\n", "Expected 3 columns, got 4: A,1,2,3"),
        ("variant,clicks,before\n", "expected rows, got a header alone"),
        ("variant,clicks,clicks\n", "expected each column once, got 'clicks' again"),
        ("", "expected a column 'clicks', got "),
    ],
    ids=["column", "number", "word", "infinite", "newline", "cells", "rows", "twice", "empty"],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ImportFormatError) as caught:
        read_table(written(tmp_path, "units.csv", text), numbers=["clicks"], texts=["variant"])
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "units.csv"))


def test_what_is_no_table_is_said(tmp_path: Path) -> None:
    with pytest.raises(ImportFormatError, match=r"its name ending in .csv, .tsv, .txt, .parquet"):
        names_in(written(tmp_path, "units.json"))
    with pytest.raises(ImportFormatError, match="expected a whole table"):
        names_in(written(tmp_path, "units.parquet"))
    with pytest.raises(ImportFormatError, match="there is no such file in the archive"):
        names_in(zipped(tmp_path).with_name("other.csv"))
    with pytest.raises(FileNotFoundError):
        names_in(tmp_path / "none.csv")

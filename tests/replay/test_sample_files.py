"""The sample as files: every form holds the same events and items, can be read back, and replaces only its own kind."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import orjson
import pytest

from contracts.errors import OutputRefused, SettingsError
from eventlog.files import read_events, read_header
from eventlog.item_tables import read_any_items
from replay.sample.days import Wanted, sample_of
from replay.sample.rows import COLUMNS
from replay.sample.sinks import FORMATS, Places, write_sample

parquet = pytest.importorskip("pyarrow.parquet")
SMALL = Wanted(users=100, items=150, events=3000, days=12, seed=5, bots=0.2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("sample")
    write_sample(sample_of(SMALL), Places(found, FORMATS))
    return found


def test_every_form_holds_the_same_events(folder: Path) -> None:
    table = parquet.read_table(folder / "events.parquet").to_pylist()
    with (folder / "events.csv").open(newline="") as file:
        flat = list(csv.DictReader(file))
    log = list(read_events(folder / "events.jsonl.zst"))
    assert len(log) == len(table) == len(flat) == read_header(folder / "events.jsonl.zst").events
    for event, row, cells in zip(log, table, flat, strict=True):
        context = event.context or {}
        known = {name: getattr(event, name, None) for name in COLUMNS}
        expected: dict[str, Any] = {**known, **{name: context.get(name) for name in COLUMNS if name in context}}
        expected["size"] = context.get("size")
        assert row == expected
        assert cells == {name: "" if value is None else str(value) for name, value in expected.items()}


def test_every_form_holds_the_same_items_and_items_load_reads_them(folder: Path) -> None:
    def read(name: str) -> dict[str, dict[str, Any]]:
        found = read_any_items(folder / name, {}, on_error=lambda broken: pytest.fail(str(broken)))
        return {item_id: item.model_dump(exclude_none=True) for item_id, item in found}

    log = read("items.jsonl.zst")
    assert len(log) == 150
    assert read("items.parquet") == log
    assert read("items.csv") == log


def test_the_truth_names_the_bots_spells_and_new_items(folder: Path) -> None:
    truth = orjson.loads((folder / "truth.json").read_bytes())
    assert truth["sample"]["seed"] == 5
    sessions = {event.session_id for event in read_events(folder / "events.jsonl.zst")}
    assert truth["bots"]
    assert {bot["session"] for bot in truth["bots"]} <= sessions
    assert {bot["kind"] for bot in truth["bots"]} <= set(truth["bot_kinds"])
    assert {spell["kind"] for spell in truth["spells"]} == {"trend", "promotion", "supplier out"}
    assert all("2025-01-01" <= day <= "2025-01-12" for day in truth["new_items"].values())


def test_the_same_sample_is_written_over_itself_byte_for_byte(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_sample(sample_of(SMALL), Places(folder, FORMATS))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["events.parquet", "items.csv", "truth.json", "events.jsonl.zst"])
def test_what_is_no_sample_is_left(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputRefused, match="it was left as it is"):
        write_sample(sample_of(SMALL), Places(tmp_path, FORMATS))
    assert (tmp_path / name).read_text() == "mine"
    assert not list(tmp_path.glob(".*part"))


def test_a_form_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--format: expected some of log, parquet, csv, got xml"):
        Places(tmp_path, ("log", "xml"))

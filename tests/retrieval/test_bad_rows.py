"""Rows that cannot be taken, on their way into columns, index and snapshot: left out alone, whatever they raise."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from contracts.ids import item_key
from contracts.items import Item
from contracts.settings import IndexSettings, RedisSettings, ServiceSettings
from gateway.replicas import into_sessions
from nextclick.stack.shop_models import ARTIFACTS
from retrieval import builder
from retrieval.ann_index import AnnIndex
from retrieval.build import build
from retrieval.builder import WANTED
from retrieval.catalogue import CatalogueColumns
from retrieval.intake import Intake, take_rows
from retrieval.live import open_current
from retrieval.session_columns import SessionColumns
from retrieval.trend_columns import TrendColumns
from session_model.item_tower import ItemTower
from session_model.serving import load_tower
from tests.damage import NOW, TABLES, flipped
from tests.retrieval.tables import DIM, Shop, name, row, tower

CATALOGUE = TABLES["catalogue"]
TOWER = tower()


def of_dim(wanted: int) -> tuple[CatalogueColumns, AnnIndex, Intake]:
    columns = CatalogueColumns(model_version=TOWER.version, dim=wanted)
    index = AnnIndex(columns)
    return columns, index, Intake(columns, index, lambda: TOWER)


@pytest.mark.parametrize("kind", CATALOGUE.kinds())
def test_good_rows_around_a_bad_one_are_found_by_search(kind: str) -> None:
    columns, index, intake = of_dim(DIM)
    good = [(item_key(f"i{n}"), row(f"i{n}", TOWER)) for n in range(40)]
    assert intake.take_each([*good[:20], (item_key("bad"), CATALOGUE.kinds()[kind]), *good[20:]]) == 1
    assert (columns.count, len(index)) == (40, 40)
    found, _ = index.search(columns.vectors[:40], 1)
    assert found[:, 0].tolist() == list(range(40))


class Picky(ItemTower):
    """A tower that meets an item it cannot embed."""

    def embed(self, item_ids: Sequence[str], items: Sequence[Item]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        if "i7" in item_ids:
            raise TypeError("a list where a number was expected")
        return super().embed(item_ids, items)


def test_a_row_that_cannot_be_embedded_is_left_out_alone() -> None:
    columns = CatalogueColumns(model_version=8, dim=DIM)
    picky = tower(8)
    picky.__class__ = Picky
    intake = Intake(columns, AnnIndex(columns), lambda: picky)
    assert intake.take_each([(item_key(f"i{n}"), row(f"i{n}", TOWER)) for n in range(10)]) == 1
    assert sorted(columns.item_ids) == [f"i{n}" for n in range(10) if n != 7]


@given(raw=flipped(CATALOGUE.row("bad")), place=st.integers(0, 4))
def test_any_bytes_of_one_catalogue_row_leave_the_others_taken(raw: bytes, place: int) -> None:
    columns, index, intake = of_dim(DIM)
    rows = [(item_key(f"i{n}"), row(f"i{n}", TOWER)) for n in range(4)]
    rows.insert(place, (item_key("bad"), raw))
    left = intake.take_each(rows)
    assert left in (0, 1)
    assert set(columns.item_ids) - {"bad"} == {"i0", "i1", "i2", "i3"}
    assert len(index) == 4
    assert columns.compacted().count == 5 - left  # what a snapshot is written from
    assert all(len(columns.documents.raw(at)) for at in range(columns.count))


@given(raw=flipped(TABLES["trends"].row("bad")), place=st.integers(0, 3))
def test_any_bytes_of_one_trend_leave_the_others_taken_and_all_numbers_numbers(raw: bytes, place: int) -> None:
    columns = TrendColumns()
    rows: list[tuple[int, bytes | None]] = [(n + 1, TABLES["trends"].row("good")) for n in range(3)]
    rows.insert(place, (99, raw))
    assert take_rows(rows, columns.apply_rows, lambda *_: None) in (0, 1)
    keys = np.array([1, 2, 3, 99], np.uint64)
    assert columns.popularity_of(keys[:3], NOW).tolist() == [8.0, 8.0, 8.0]
    numbers = (
        columns.ctr_of(keys),
        columns.views_of(keys, NOW),
        columns.neighbours_of(keys)[1],
        columns.transitions_per_item,
    )
    assert all(np.isfinite(each).all() for each in numbers)
    assert {1, 2, 3} <= set(columns.trending(NOW, 10).tolist())


@given(raw=flipped(TABLES["ended"].row("bad")), place=st.integers(0, 3))
def test_any_bytes_of_one_ended_session_leave_the_others_voting(raw: bytes, place: int) -> None:
    columns = SessionColumns()
    rows: list[tuple[int, bytes | None]] = [(n, TABLES["ended"].row("good")) for n in range(3)]
    rows.insert(place, (99, raw))
    left = take_rows(rows, into_sessions(columns, 100), lambda *_: None)
    assert len(columns) == 4 - left
    x, y = (np.array([item_key(one)], np.uint64) for one in "xy")
    votes = columns.votes(x[None], y, np.array([0, 1]), clicks=1, newest=10)
    assert votes.cosine_last[0] > 0.85


@pytest.mark.parametrize("kind", CATALOGUE.kinds())
def test_a_snapshot_is_built_of_all_but_the_row_that_cannot_be_taken(
    redis_settings: RedisSettings, tmp_path: Path, kind: str
) -> None:
    model = load_tower(str(ARTIFACTS))
    assert model is not None
    index = IndexSettings.model_validate({"folder": str(tmp_path), "min_items": 1, "exact_up_to": 0})
    settings = ServiceSettings(redis=redis_settings, artifacts=str(ARTIFACTS), index=index)
    shop = Shop(redis_settings, model)
    shop.put([f"shoe {n}" for n in range(60)])
    shop.writer.commit({name("bad"): CATALOGUE.kinds()[kind]})
    watching = builder.Builder(settings)
    reader = watching._reader
    built = build(settings, reader, model)
    assert (built.left_out, built.manifest.alive) == (1, 60)
    opened = open_current(index, model=(model.version, model.dim))
    assert opened is not None
    assert len(opened.index) == 60

    assert watching.look() is None
    shop.writer.commit({name("bad"): CATALOGUE.kinds()[kind], name("shoe 0"): CATALOGUE.kinds()[kind]})
    shop.put([f"lamp {n}" for n in range(9)])
    assert str(watching.look()).endswith("of the snapshot's items changed")
    watching.close()


def test_the_builder_goes_on_after_an_error_that_nobody_expected_and_says_it_once_in_full(
    redis_settings: RedisSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = IndexSettings.model_validate({"folder": str(tmp_path), "min_items": 1})
    (tmp_path / WANTED).write_bytes(b"\xff\xff no text")
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        builder.run(ServiceSettings(redis=redis_settings, artifacts=str(ARTIFACTS), index=index))
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.exc_info is not None for record in errors] == [True]
    assert pauses == [10.0, 20.0, 40.0]
    assert errors[0].getMessage().startswith("no new snapshot now: 'utf-8' codec can't decode")

"""Snapshots: built from a table, opened by map, changed by nobody, refused when they are not whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import ArtifactError
from contracts.ids import item_key
from contracts.keys import CATALOGUE
from contracts.settings import RedisSettings
from retrieval import snapshot
from retrieval.build import Built, build
from retrieval.canary import check
from retrieval.follow import Follower
from retrieval.live import Opened, open_current, open_snapshot
from state.tables import TableReader
from tests.retrieval.tables import DIM, Shop, name, row, service, tower

TOWER = tower()
MODEL = (TOWER.version, TOWER.dim)
IDS = [f"i{n}" for n in range(600)]


@pytest.fixture
def reader(redis_settings: RedisSettings) -> Iterator[TableReader]:
    made = TableReader(redis_settings, CATALOGUE)
    yield made
    made.close()


@pytest.fixture
def shop(redis_settings: RedisSettings) -> Iterator[Shop]:
    made = Shop(redis_settings, TOWER)
    made.put(IDS, category="shoes/trail", brand="Fox", price=9.5, regions=["DE"])
    yield made
    made.writer.close()


def keys(*item_ids: str) -> np.ndarray:
    return np.array([item_key(one) for one in item_ids], np.uint64)


def found_by(opened: Opened, item_id: str, k: int = 5) -> list[str]:
    rows, _ = opened.index.search(TOWER.embed([item_id], [opened.columns.documents[0]])[0], k)
    return [opened.columns.item_ids[at] for at in rows[0].tolist() if at >= 0]


class House:
    """One folder of snapshots over one table."""

    def __init__(self, redis: RedisSettings, folder: Path, reader: TableReader) -> None:
        self.settings, self.folder, self.reader = service(redis, folder), folder, reader

    def build(self) -> Built:
        return build(self.settings, self.reader, TOWER)

    def open(self) -> Opened:
        opened = open_current(self.settings.index, model=MODEL)
        assert opened is not None
        return opened

    def follow(self, opened: Opened | None) -> Follower:
        follower = Follower(self.reader, TOWER, self.settings.index)
        follower.start(opened)
        return follower


@pytest.fixture
def house(redis_settings: RedisSettings, tmp_path: Path, reader: TableReader) -> House:
    return House(redis_settings, tmp_path / "index", reader)


def test_a_snapshot_holds_what_the_table_held(house: House, shop: Shop) -> None:
    shop.put(["i1"], stock=3, price=2.0, title="One", image_vector=[0.5, 0.25])
    built = house.build()
    opened = house.open()
    assert (built.manifest.rows, built.manifest.alive, built.manifest.searchable) == (600, 600, 600)
    assert built.manifest.change == 601
    assert (built.manifest.tower, built.manifest.dim) == MODEL
    columns = opened.columns
    at = int(columns.rows_of(keys("i1"))[0])
    other = int(columns.rows_of(keys("i2"))[0])
    assert columns.item_ids[at] == "i1"
    assert columns.documents[at].title == "One"
    assert columns.documents[at].image_vector is None
    assert (columns.stock[at], columns.price[at]) == (3, 2.0)
    assert (columns.stock[other], columns.documents[other].brand) == (5, "Fox")
    assert columns.category_code("shoes/trail") == columns.category[other]
    rows = np.array([other], np.int32)
    assert (columns.sold_in(rows, "DE").tolist(), columns.sold_in(rows, "FR").tolist()) == ([True], [False])
    vectors, known = columns.vectors_of(keys("i1", "nobody"))
    assert known.tolist() == [True, False]
    assert vectors[0].tolist() == TOWER.embed(["i1"], [columns.documents[at]])[0][0].tolist()
    assert found_by(opened, "i1")[0] == "i1"
    assert not opened.index.is_exact


def test_what_changes_after_a_snapshot_is_found_and_the_files_stay_as_they_were(house: House, shop: Shop) -> None:
    house.build()
    opened = house.open()
    shop.delete(["i3"])
    shop.put(["i1000"], title="new")
    shop.writer.commit({name("i5"): row("i5", tower(7, seed=2), title="moved")})
    shop.put(["i6"], stock=0)
    follower = house.follow(opened)
    columns, index = follower.columns, follower.index
    assert found_by(opened, "i1000")[0] == "i1000"
    assert "i3" not in found_by(opened, "i3", 600)
    everything = found_by(opened, "i5", 600)
    assert len(everything) == len(set(everything)) == 600
    assert everything.index("i5") > 5
    assert columns.stock[columns.rows_of(keys("i6"))].tolist() == [0]
    assert index.size == (600, 600, 2, 2)
    snapshot.verify(house.folder / opened.name)
    again = house.open()
    assert found_by(again, "i3")[0] == "i3"
    assert again.columns.count == 600


def test_a_search_over_base_and_delta_agrees_with_an_exact_one(house: House, shop: Shop) -> None:
    house.build()
    follower = house.follow(house.open())
    shop.put([f"i{n}" for n in range(600, 800)])
    shop.delete([f"i{n}" for n in range(0, 300)])
    shop.writer.commit({name(f"i{n}"): row(f"i{n}", tower(7, seed=2)) for n in range(300, 500)})
    follower.catch_up()
    found = check(follower.index, follower.columns, np.random.default_rng(1), sample=50, k=50)
    assert (found.recall > 0.99, found.orphaned) == (True, 0.0)
    rows, similarity = follower.index.search(follower.columns.vectors[:3], 1000)
    assert (rows >= 0).sum(axis=1).tolist() == [500, 500, 500]
    assert (np.diff(similarity[:, :500], axis=1) <= 0).all()


def test_an_item_deleted_and_put_again_as_it_was_is_found_once(house: House, shop: Shop) -> None:
    house.build()
    follower = house.follow(house.open())
    for _ in range(3):
        shop.delete(["i9"])
        shop.put(["i9"], category="shoes/trail", brand="Fox", price=9.5, regions=["DE"])
    follower.catch_up()
    query = follower.columns.vectors_of(keys("i9"))[0]
    rows, _ = follower.index.search(query, 600)
    ids = [follower.columns.item_ids[at] for at in rows[0].tolist()]
    assert ids[0] == "i9"
    assert sorted(ids) == sorted(IDS)


def test_one_item_changed_ten_thousand_times_is_found_where_it_is_now(house: House, shop: Shop) -> None:
    house.build()
    opened = house.open()
    random = np.random.default_rng(1)
    index, columns = opened.index, opened.columns
    at = columns.rows_of(keys("i7"))
    for _ in range(10_000):
        vector = random.standard_normal(DIM).astype(np.float32)
        columns.vectors[at[0]] = vector / np.linalg.norm(vector)
        index.apply(at)
    assert index.size == (600, 600, 1, 1)
    rows, _ = index.search(columns.vectors[at], 600)
    assert rows[0, 0] == at[0]
    assert sorted(rows[0].tolist()) == list(range(600))
    assert check(index, columns, random, sample=50, k=20).recall > 0.99


def test_a_new_snapshot_lets_tombstones_go(house: House, shop: Shop) -> None:
    first = house.build()
    shop.delete(IDS[:200])
    second = house.build()
    assert (first.manifest.rows, second.manifest.rows) == (600, 400)
    assert found_by(house.open(), "i300")[0] == "i300"
    assert house.open().columns.rows_of(keys("i0", "i599")).tolist()[0] == -1


def test_a_table_without_items_makes_a_snapshot_that_finds_nothing(house: House) -> None:
    built = house.build()
    assert (built.manifest.rows, built.manifest.searchable) == (0, 0)
    rows, _ = house.open().index.search(np.ones((1, DIM), np.float32), 3)
    assert rows.tolist() == [[-1, -1, -1]]


def test_a_damaged_snapshot_is_refused_and_the_one_before_can_serve(house: House, shop: Shop) -> None:
    first = house.build()
    shop.put(["i900"])
    second = house.build()
    vectors = house.folder / second.name / "vectors.npy"
    content = bytearray(vectors.read_bytes())
    content[200] ^= 1
    vectors.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"vectors.npy: expected SHA-256 .* it is damaged"):
        snapshot.verify(house.folder / second.name)
    vectors.write_bytes(content[:-8])
    with pytest.raises(ArtifactError, match=r"vectors.npy: expected [0-9,]+ bytes, got"):
        house.open()
    assert snapshot.rollback(house.folder) == first.name
    assert house.open().name == first.name


@pytest.mark.parametrize("damage", ["missing", "cut", "edited", "format"])
def test_a_manifest_that_is_not_whole_is_refused(house: House, shop: Shop, damage: str) -> None:
    built = house.build()
    path = house.folder / built.name / snapshot.MANIFEST
    content = path.read_bytes()
    changed = {
        "cut": content[: len(content) // 2],
        "edited": content.replace(b'"rows": 600', b'"rows": 601'),
        "format": content.replace(b'"format": 1', b'"format": 9'),
    }
    path.unlink() if damage == "missing" else path.write_bytes(changed[damage])
    said = {
        "missing": "no whole snapshot",
        "cut": "no whole snapshot",
        "edited": "seal",
        "format": "expected snapshot format 1",
    }
    with pytest.raises(ArtifactError, match=said[damage]):
        house.open()
    assert house.build().manifest.rows == 600


def test_a_snapshot_of_another_tower_or_size_is_refused(house: House, shop: Shop) -> None:
    built = house.build()
    for model in ((8, DIM), (7, DIM + 1)):
        with pytest.raises(ArtifactError, match="holds 16 dimensions of tower 0000000000000007"):
            open_snapshot(house.folder, built.name, house.settings.index, model=model)


def test_a_new_tower_embeds_the_whole_catalogue_again(house: House, shop: Shop) -> None:
    house.build()
    newer = tower(8, seed=5)
    built = build(house.settings, house.reader, newer)
    assert (built.manifest.tower, built.manifest.searchable) == (8, 600)
    opened = open_current(house.settings.index, model=(8, DIM))
    assert opened is not None
    vectors, _ = opened.columns.vectors_of(keys("i4"))
    assert vectors.tolist() == newer.embed(["i4"], [opened.columns.documents[0]])[0].tolist()


def test_a_snapshot_below_the_recall_floor_is_not_published(house: House, shop: Shop) -> None:
    first = house.build()
    blind = service(
        house.settings.redis, house.folder, recall_floor=1.0, expansion=16, connectivity=4, expansion_add=16
    )
    shop.put([f"i{n}" for n in range(5000)])
    with pytest.raises(ArtifactError, match="recall@100 is 0"):
        build(blind, house.reader, TOWER)
    assert house.open().name == first.name


def test_a_table_that_lost_its_last_writes_is_read_again_not_followed(
    house: House, shop: Shop, redis_settings: RedisSettings
) -> None:
    house.build()
    other = RedisSettings(url=redis_settings.url, prefix=redis_settings.prefix + "-other")
    lost = Shop(other, TOWER)
    lost.put([*IDS[:599], "i700"], category="shoes/trail", brand="Fox", price=9.5, regions=["DE"])
    lost.put(["i701"])
    reader = TableReader(other, CATALOGUE)
    follower = Follower(reader, TOWER, house.settings.index)
    follower.start(house.open())
    assert follower.columns.alive[follower.columns.rows_of(keys("i700", "i701", "i599"))].tolist() == [
        True,
        True,
        False,
    ]
    assert follower.number == 601
    reader.close()
    lost.writer.close()


def test_two_builders_never_write_at_once(house: House, shop: Shop) -> None:
    with (
        snapshot.building(house.folder),
        pytest.raises(ArtifactError, match="another process builds"),
    ):
        house.build()
    assert house.build().manifest.rows == 600

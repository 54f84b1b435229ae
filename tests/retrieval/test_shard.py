"""A shard over a real table: its snapshots, what it takes up while it answers, and what it refuses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import SettingsError, StartupError
from contracts.ids import item_key
from contracts.items import Item
from contracts.settings import IndexSettings, RedisSettings, ServiceSettings
from nextclick.stack.shop_models import ARTIFACTS
from retrieval.builder import Builder
from retrieval.live import open_current
from retrieval.shard import Shard
from retrieval.shard_frames import Answer, Search
from retrieval.share import Share, expect_one_table, expect_share, settings_of
from session_model.serving import load_tower
from tests.retrieval.tables import Shop

OF = 2
ITEMS = [f"shoe {n}" for n in range(60)]
TOWER = load_tower(str(ARTIFACTS))


@pytest.fixture
def settings(redis_settings: RedisSettings, tmp_path: Path) -> ServiceSettings:
    index = IndexSettings.model_validate(
        {"folder": str(tmp_path / "index"), "min_items": 10, "exact_up_to": 0, "shards": OF, "check": 0.05}
    )
    return ServiceSettings(redis=redis_settings, artifacts=str(ARTIFACTS), index=index)


@pytest.fixture
def shop(redis_settings: RedisSettings) -> Shop:
    made = Shop(redis_settings, TOWER)
    made.put(ITEMS)
    return made


@contextmanager
def running(settings: ServiceSettings, share: Share) -> Iterator[Shard]:
    made = Shard(settings, share)
    thread = threading.Thread(target=made.serve)
    thread.start()
    try:
        yield made
    finally:
        made.stop()
        thread.join()


def until(look: Callable[[], bool]) -> None:
    for _ in range(3000):
        if look():
            return
        time.sleep(0.02)
    raise AssertionError("it never came")


def asked(shard: Shard, search: Search) -> Answer | str:
    """Ask in the thread that answers."""
    found: list[Answer | str] = []
    shard.door.post(lambda: found.append(shard.respond(search)))
    until(lambda: bool(found))
    return found[0]


def question(share: Share, k: int = 50) -> Search:
    vectors, _ = TOWER.embed(["shoe 1"], [Item.model_validate({"title": "SHOE 1"})])
    return Search(TOWER.version, share.shard, share.of, k, vectors.astype(np.float32))


def keys_in(answer: Answer | str) -> set[int]:
    assert isinstance(answer, Answer), answer
    return set(answer.keys[0][answer.similarity[0] > -np.inf].tolist())


def test_each_share_has_a_snapshot_of_its_own_and_the_whole_has_columns_without_a_graph(
    settings: ServiceSettings, shop: Shop, tmp_path: Path
) -> None:
    shares = [Share(shard, OF) for shard in range(OF)]
    held: list[set[int]] = []
    for share in (*shares, None):
        builder = Builder(settings, share)
        assert str(builder.look()).startswith("the first one, of ")
        builder.build("the first one")
        assert builder.look() is None
        builder.close()
    for share in shares:
        opened = open_current(settings_of(share, settings.index), model=(TOWER.version, TOWER.dim))
        assert opened is not None
        assert opened.index.has_base
        assert share.takes(opened.columns.keys[: opened.columns.count]).all()
        held.append(set(opened.columns.keys[: opened.columns.count].tolist()))
    assert held[0] | held[1] == {item_key(one) for one in ITEMS}
    assert not held[0] & held[1]
    whole = open_current(settings.index, model=(TOWER.version, TOWER.dim))
    assert whole is not None
    assert (whole.manifest.searchable, whole.manifest.recall, whole.columns.count) == (0, None, 60)
    shop.put([f"lamp {n}" for n in range(7)])
    builder = Builder(settings)
    builder.look()
    shop.put([f"lamp {n}" for n in range(7, 15)])
    assert builder.look() == "25.0% of the snapshot's items changed"
    builder.close()


def test_a_shard_answers_for_its_share_follows_changes_and_takes_up_a_new_snapshot_meanwhile(
    settings: ServiceSettings, shop: Shop
) -> None:
    share = Share(1, OF)
    mine = {item_key(one) for one in ITEMS if share.holds(item_key(one))}
    with running(settings, share) as shard:
        until(lambda: isinstance(asked(shard, question(share)), Answer))
        assert keys_in(asked(shard, question(share))) == mine
        gone = next(one for one in ITEMS if share.holds(item_key(one)))
        number = shop.delete([gone])
        until(lambda: isinstance(found := asked(shard, question(share)), Answer) and found.number == number)
        assert keys_in(asked(shard, question(share))) == mine - {item_key(gone)}
        builder = Builder(settings, share)
        builder.build("asked")
        builder.close()
        until(lambda: shard._serving is not None and shard._serving.index.has_base)
        assert keys_in(asked(shard, question(share))) == mine - {item_key(gone)}
        number = shop.put([gone])
        until(lambda: isinstance(found := asked(shard, question(share)), Answer) and found.number == number)
        assert keys_in(asked(shard, question(share))) == mine


def test_a_question_for_another_layout_or_model_is_refused_with_what_is_there(
    settings: ServiceSettings, shop: Shop
) -> None:
    share = Share(0, OF)
    with running(settings, share) as shard:
        until(lambda: isinstance(asked(shard, question(share)), Answer))
        other = question(share)._replace(of=3)
        assert asked(shard, other) == "this is shard 0 of 2, not 0 of 3"
        foreign = question(share)._replace(model=5)
        assert str(asked(shard, foreign)).startswith(f"its vectors are of item tower {TOWER.version:016x} with ")
        with pytest.raises(StartupError, match="somebody listens there"):
            Shard(settings, share)


def test_a_shard_that_there_is_not_is_refused() -> None:
    with pytest.raises(SettingsError, match="expected --shard from 0 to 1 of 2 shards, got 2"):
        expect_share(2, 2)
    with pytest.raises(SettingsError, match="expected NEXTCLICK_INDEX__SHARDS of 1 or more, got 0"):
        expect_share(0, 0)


def test_a_shards_builder_has_a_folder_and_a_store_of_its_own() -> None:
    index = IndexSettings(folder="/srv/index", store="s3://shop/index/", shards=4, min_items=30_000)
    own = settings_of(Share(2, 4), index)
    assert (own.folder, own.store) == ("/srv/index-shard-2-of-4", "s3://shop/index-shard-2-of-4")
    assert (own.shards, own.min_items) == (0, 7_500)
    assert settings_of(Share(0, 2), IndexSettings(shards=2)).store == ""


def test_shards_of_the_index_and_of_the_table_are_refused_together() -> None:
    settings = ServiceSettings(index=IndexSettings(shards=2), redis=RedisSettings(item_shards=3))
    with pytest.raises(SettingsError, match="shards of the index follow a catalogue of one table"):
        expect_one_table(settings)
    for alone in (IndexSettings(shards=2), IndexSettings()):
        expect_one_table(ServiceSettings(index=alone))

"""A shard over a real table: its snapshots, what it takes up while it answers, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import SettingsError, StartupError
from contracts.ids import item_key
from contracts.items import Item
from contracts.keys import CATALOGUE, Keys
from contracts.settings import IndexSettings, RedisSettings, ServiceSettings
from nextclick.stack.shop_models import ARTIFACTS
from retrieval import shard_figures
from retrieval.builder import Builder
from retrieval.live import open_current
from retrieval.shard import Shard
from retrieval.shard_frames import Answer, Search
from retrieval.shard_probe import why_not
from retrieval.share import Share, addresses_of, expect_share, settings_of
from session_model.serving import load_tower
from state.client import connect
from state.shards import shard_of
from tests.retrieval.sharded import served
from tests.retrieval.tables import Shop

OF = 2
ITEMS = [f"shoe {n}" for n in range(60)]
TOWER = load_tower(str(ARTIFACTS))


@pytest.fixture(params=[1, 3], ids=["one-table", "three-tables"])
def redis(request: pytest.FixtureRequest, redis_settings: RedisSettings) -> RedisSettings:
    return redis_settings.model_copy(update={"item_shards": request.param})


@pytest.fixture
def settings(redis: RedisSettings, tmp_path: Path) -> ServiceSettings:
    index = IndexSettings.model_validate(
        {"folder": str(tmp_path / "index"), "min_items": 10, "exact_up_to": 0, "shards": OF, "check": 0.05}
    )
    return ServiceSettings(redis=redis, artifacts=str(ARTIFACTS), index=index)


@pytest.fixture
def shop(redis: RedisSettings) -> Shop:
    made = Shop(redis, TOWER)
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


def figures() -> dict[str, float]:
    """Return what the shard that was made last shows of itself."""
    found = {}
    for family in shard_figures.FIGURES.collect():
        [sample] = family.samples
        assert sample.labels == {"shard": "1"}
        found[sample.name.removeprefix("nextclick_index_shard_")] = sample.value
    return found


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
        found = asked(shard, question(share))
        assert isinstance(found, Answer)
        spread = np.bincount(
            [shard_of(item_key(one), settings.redis.item_shards) for one in ITEMS], minlength=settings.redis.item_shards
        )
        assert found.numbers == tuple(spread.tolist())  # of each table, whichever of its rows are of this share
        gone = next(one for one in ITEMS if share.holds(item_key(one)))
        number = shop.delete([gone])
        until(lambda: isinstance(found := asked(shard, question(share)), Answer) and sum(found.numbers) == number)
        assert keys_in(asked(shard, question(share))) == mine - {item_key(gone)}
        builder = Builder(settings, share)
        builder.build("asked")
        builder.close()
        until(lambda: shard._serving is not None and shard._serving.index.has_base)
        assert keys_in(asked(shard, question(share))) == mine - {item_key(gone)}
        number = shop.put([gone])
        until(lambda: isinstance(found := asked(shard, question(share)), Answer) and sum(found.numbers) == number)
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


def test_a_shard_shows_whether_it_serves_what_it_did_and_since_when_it_may_lack_a_change(
    settings: ServiceSettings, shop: Shop
) -> None:
    share = Share(1, OF)
    made = Shard(settings, share)
    until(lambda: made.behind_s() > 0.1)
    before = figures()
    assert (before["serving"], before["items"], before["change"], before["searches_total"]) == (0, 0, 0, 0)
    assert before["seconds_behind"] > 0.1
    made.door.close()
    with running(settings, share) as shard:
        until(lambda: shard.behind_s() > 0.1)
        least = shard.behind_s()
        until(lambda: shard.behind_s() < least)  # it only grows, but where the shard found nothing more to take
        until(lambda: figures()["serving"] == 1)
        mine = sum(share.holds(item_key(one)) for one in ITEMS)
        assert (figures()["items"], figures()["change"]) == (mine, len(ITEMS))


def test_a_probe_tells_a_shard_that_answers_from_one_that_loads_and_from_none(
    settings: ServiceSettings, shop: Shop, tmp_path: Path
) -> None:
    share = Share(1, OF)
    address = addresses_of(settings.index)[1]
    assert str(why_not(address)).startswith(f"no answer at {address}: ")
    loads = Shard(settings, share)
    with served(loads.door):  # and nobody reads the table
        assert why_not(address) == "it is still loading its items"
    with running(settings, share):
        until(lambda: why_not(address) is None)
    command = [sys.executable, "-m", "retrieval.shard_probe"]
    for given, said in ((address, "no answer at unix:"), ("a shard", "expected unix:PATH or HOST:PORT")):
        done = subprocess.run([*command, given], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith(said)


def test_a_shard_that_is_refused_its_table_says_so_and_serves_once_it_may(
    settings: ServiceSettings, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    key = Keys(settings.redis.prefix).table_shards(CATALOGUE)
    with closing(connect(settings.redis)) as redis:
        stored = redis.get(key)
        redis.set(key, 5)
        with running(settings, Share(1, OF)) as shard:
            until(lambda: "items is stored as 5 shards in Redis" in caplog.text)
            assert asked(shard, question(Share(1, OF))) == "it is still loading its items"
            redis.set(key, stored or 1)
            until(lambda: isinstance(asked(shard, question(Share(1, OF))), Answer))


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

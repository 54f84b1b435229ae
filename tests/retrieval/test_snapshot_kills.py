"""kill -9 while a snapshot is built, published, and exchanged: always a whole one, and no item lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from contracts.keys import CATALOGUE
from contracts.settings import RedisSettings, ServiceSettings
from retrieval import snapshot
from retrieval.build import build
from retrieval.follow import Follower
from retrieval.live import open_current
from state.tables import TableReader
from tests.retrieval.tables import DIM, Shop, name, service, tower

KILLS = 20
TOWER = tower()
CONTEXT = multiprocessing.get_context("forkserver")


def build_again_and_again(settings: ServiceSettings) -> None:
    """Read, build, verify, publish: until killed."""
    reader = TableReader(settings.redis, CATALOGUE)
    while True:
        build(settings, reader, TOWER)


def publish_again_and_again(settings: ServiceSettings) -> None:
    """Publish the files of the current snapshot under new names: until killed."""
    folder = Path(settings.index.folder)
    number = 0
    while True:
        with snapshot.building(folder) as aside:
            current = folder / str(snapshot.read_pointer(folder).current)
            manifest = snapshot.read_manifest(current)
            for file in manifest.files:
                os.link(current / file, aside / file)
            number += 1
            snapshot.publish(folder, aside, manifest.model_copy(update={"built_ms": time.time_ns() + number}))


def exchange_again_and_again(settings: ServiceSettings) -> None:
    """Point to the snapshot before and open it: until killed."""
    folder = Path(settings.index.folder)
    while True:
        snapshot.rollback(folder)
        opened = open_current(settings.index, model=(TOWER.version, DIM))
        assert opened is not None
        opened.index.search(np.ones((1, DIM), np.float32), 5)


@pytest.fixture
def shop(redis_settings: RedisSettings) -> Shop:
    made = Shop(redis_settings, TOWER)
    made.put([f"i{n}" for n in range(300)])
    return made


@pytest.mark.parametrize(
    "victim",
    [build_again_and_again, publish_again_and_again, exchange_again_and_again],
    ids=["build", "publish", "swap"],
)
def test_whatever_is_killed_a_whole_snapshot_serves_and_no_item_is_lost(
    victim: Callable[[ServiceSettings], None], shop: Shop, redis_settings: RedisSettings, tmp_path: Path
) -> None:
    settings = service(redis_settings, tmp_path / "index")
    folder = Path(settings.index.folder)
    reader = TableReader(redis_settings, CATALOGUE)
    build(settings, reader, TOWER)
    shop.put(["i300"])
    build(settings, reader, TOWER)
    random = np.random.default_rng(len(victim.__name__))
    CONTEXT.set_forkserver_preload(["tests.retrieval.test_snapshot_kills"])
    for kill in range(KILLS):
        shop.put([f"i{301 + kill}"])
        process = CONTEXT.Process(target=victim, args=(settings,), daemon=True)
        process.start()
        time.sleep(0.03 + float(random.uniform(0, 0.2)))
        assert process.pid is not None
        assert process.exitcode is None, "it was to be killed, and ended by itself"
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        opened = open_current(settings.index, model=(TOWER.version, DIM))
        assert opened is not None
        snapshot.verify(folder / opened.name)
        follower = Follower(reader, TOWER, settings.index)
        follower.start(opened)
        assert len(follower.index) == 302 + kill
    built = build(settings, reader, TOWER)
    assert built.manifest.searchable == 301 + KILLS
    left = [path.name for path in folder.iterdir() if path.name.startswith(snapshot.ASIDE)]
    assert left == []
    assert len([path for path in folder.iterdir() if path.is_dir()]) == 2
    assert name("i300") in {key for rows in reader.rows() for key, _ in rows}
    reader.close()

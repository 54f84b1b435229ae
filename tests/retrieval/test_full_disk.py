"""A snapshot that the disk has no room for: an error that is said and tried again, and nothing half-made serves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import ArtifactError
from contracts.settings import IndexSettings, RedisSettings, ServiceSettings
from nextclick.stack.shop_models import ARTIFACTS
from retrieval.builder import WANTED, Builder, ask_for_build
from retrieval.graph import GraphOptions, empty_graph, save_graph
from retrieval.snapshot import read_manifest, read_pointer
from session_model.serving import load_tower
from tests.retrieval.tables import Shop
from tests.small_disk import MakeDisk, SmallDisk

ITEMS = 300


@pytest.fixture
def disk(make_disk: MakeDisk) -> SmallDisk:
    return make_disk(24)


@pytest.fixture
def folder(disk: SmallDisk) -> Path:
    made = disk.folder / "index"
    made.mkdir()
    return made


@pytest.fixture
def settings(redis_settings: RedisSettings, folder: Path) -> ServiceSettings:
    options = {"folder": str(folder), "min_items": 50, "exact_up_to": 0, "recall_floor": 0, "check": "PT0.1S"}
    index = IndexSettings.model_validate(options)
    return ServiceSettings(redis=redis_settings, artifacts=str(ARTIFACTS), index=index)


@pytest.fixture
def builder(settings: ServiceSettings, redis_settings: RedisSettings) -> Iterator[Builder]:
    Shop(redis_settings, load_tower(str(ARTIFACTS))).put([f"shoe {n}" for n in range(ITEMS)])
    made = Builder(settings)
    yield made
    made.close()


@pytest.mark.parametrize("left", [0, 1 << 16, 1 << 18, 1 << 19, 1 << 20])
def test_a_build_that_finds_no_room_is_an_error_and_leaves_nothing(
    builder: Builder, disk: SmallDisk, folder: Path, left: int
) -> None:
    disk.fill(leave=left)
    try:
        builder.build("the first one")
    except (OSError, ArtifactError):
        assert [path.name for path in folder.iterdir() if path.name != "lock"] == []
    disk.clear()
    builder.build("again")
    assert read_manifest(folder / str(read_pointer(folder).current)).alive == ITEMS


def test_what_was_asked_for_stays_asked_for_until_it_is_built(builder: Builder, disk: SmallDisk, folder: Path) -> None:
    ask_for_build(folder, "somebody")
    disk.fill()
    with pytest.raises((OSError, ArtifactError)):
        builder.build("asked for")
    assert builder.look() == "asked for: somebody"
    disk.clear()
    builder.build("asked for")
    assert not (folder / WANTED).exists()
    assert builder.look() is None


def test_a_graph_that_the_disk_does_not_take_is_an_artifact_error(disk: SmallDisk) -> None:
    graph = empty_graph(8, GraphOptions())
    graph.add(np.arange(1000), np.ones((1000, 8), np.float32))
    disk.fill()
    with pytest.raises(ArtifactError, match=r"cannot write the graph .* room on the disk"):
        save_graph(graph, disk.folder / "graph")


@pytest.mark.usefixtures("builder")
def test_the_builder_lives_through_a_full_disk_and_builds_when_there_is_room(
    disk: SmallDisk, folder: Path, settings: ServiceSettings, tmp_path: Path
) -> None:
    disk.fill()
    environment = {
        **os.environ,
        "NEXTCLICK_REDIS__URL": settings.redis.url,
        "NEXTCLICK_REDIS__PREFIX": settings.redis.prefix,
        "NEXTCLICK_ARTIFACTS": settings.artifacts,
        **{f"NEXTCLICK_INDEX__{name.upper()}": str(v) for name, v in settings.index.model_dump(mode="json").items()},
    }
    log = tmp_path / "builder.log"
    with log.open("wb") as out:
        start = "import retrieval.builder as b; b.RETRY_S = b.LONGEST_RETRY_S = 0.2; b.main()"
        process = subprocess.Popen([sys.executable, "-c", start], env=environment, stdout=out, stderr=out)
    try:
        wait_for(log, "no new snapshot: waiting")
        time.sleep(1.0)
        disk.clear()
        wait_for(log, "no new snapshot: going on")
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert read_manifest(folder / str(read_pointer(folder).current)).alive == ITEMS
    assert log.read_text().count("no new snapshot: waiting") == 1


def wait_for(log: Path, words: str) -> None:
    until = time.monotonic() + 60
    while words not in log.read_text():
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.05)

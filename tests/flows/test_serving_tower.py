"""Which tower the items flow embeds with, before and after a snapshot of a newer one is published."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from contracts.keys import CATALOGUE
from contracts.settings import IndexSettings, RedisSettings, ServiceSettings
from flows.serving_tower import ServingTower
from nextclick.stack.shop_models import ARTIFACTS
from retrieval.build import build
from session_model import artifact
from session_model.encoder import GATE_ARRAYS
from session_model.item_tower import TOWER_ARRAYS
from session_model.serving import load_tower
from state.tables import TableReader


class Clock:
    now_ms = 1_000

    def __call__(self) -> int:
        return self.now_ms


def train_another(artifacts: Path) -> int:
    """Replace the session model by another; returns its version."""
    folder = artifacts / artifact.SESSION_MODEL
    manifest = artifact.read_manifest(folder, artifact.SESSION_MODEL)
    arrays = artifact.read_arrays(folder, manifest, (*TOWER_ARRAYS, *GATE_ARRAYS))
    arrays["id_table"] = np.ascontiguousarray(-arrays["id_table"])
    return artifact.save(folder, kind=artifact.SESSION_MODEL, dim=manifest.dim, arrays=arrays, created_from={}).number


@pytest.fixture
def settings(redis_settings: RedisSettings, tmp_path: Path) -> ServiceSettings:
    shutil.copytree(ARTIFACTS, tmp_path / "artifacts")
    index = IndexSettings(folder=str(tmp_path / "index"))
    return ServiceSettings(redis=redis_settings, artifacts=str(tmp_path / "artifacts"), index=index)


def publish(settings: ServiceSettings) -> None:
    tower, reader = load_tower(settings.artifacts), TableReader(settings.redis, CATALOGUE)
    assert tower is not None
    build(settings, reader, tower)
    reader.close()


def version(serving: ServingTower) -> int:
    tower = serving()
    assert tower is not None
    return tower.version


def test_items_are_embedded_with_the_new_tower_once_its_snapshot_serves(settings: ServiceSettings) -> None:
    clock = Clock()
    serving = ServingTower(settings, clock)
    old = version(serving)
    publish(settings)
    new = train_another(Path(settings.artifacts))
    clock.now_ms += 1_000
    assert version(serving) == old
    publish(settings)
    clock.now_ms += 999
    assert version(serving) == old
    clock.now_ms += 1
    assert version(serving) == new != old


def test_without_snapshots_or_with_a_broken_one_the_tower_stays(settings: ServiceSettings) -> None:
    clock = Clock()
    serving = ServingTower(settings, clock)
    old = version(serving)
    train_another(Path(settings.artifacts))
    clock.now_ms += 1_000
    assert version(serving) == old
    publish(settings)
    for manifest in Path(settings.index.folder).glob("*/manifest.json"):
        manifest.write_text("{")
    clock.now_ms += 1_000
    assert version(serving) == old

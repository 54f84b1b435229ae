"""Which models the flows work with, before and after a snapshot of a newer one is published."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.codec import encode_row
from contracts.ids import item_key
from contracts.items import CatalogueRow
from contracts.keys import CATALOGUE
from contracts.profiles import Profile
from contracts.settings import IndexSettings, RedisSettings, ServiceSettings
from flows.catalogue_follower import CatalogueFollower
from flows.profile_steps import ProfilePath, decode_users
from flows.serving_model import ServingModel, serving_encoder, serving_sessions, serving_tower
from nextclick.stack.shop_models import ARTIFACTS
from replay.synthetic.shoppers import default_shop
from retrieval.build import build
from session_model import artifact
from session_model.encoder import GATE_ARRAYS
from session_model.item_tower import TOWER_ARRAYS, ItemTower
from session_model.profiles import ProfileRules
from session_model.serving import load_tower
from state.profiles import ProfileStore
from state.tables import TableReader, TableWriter
from tests.flows.test_session_steps import NOW, apply, batch_of, click, path_on


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


def version(serving: ServingModel[ItemTower]) -> int:
    tower = serving()
    assert tower is not None
    return tower.version


def test_items_are_embedded_with_the_new_tower_once_its_snapshot_serves(settings: ServiceSettings) -> None:
    clock = Clock()
    serving = serving_tower(settings, clock)
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
    serving = serving_tower(settings, clock)
    old = version(serving)
    train_another(Path(settings.artifacts))
    clock.now_ms += 1_000
    assert version(serving) == old
    publish(settings)
    for manifest in Path(settings.index.folder).glob("*/manifest.json"):
        manifest.write_text("{")
    clock.now_ms += 1_000
    assert version(serving) == old


ITEMS = default_shop().items[:40]


def put(settings: ServiceSettings, *names: str) -> None:
    """Put items into the table as the items flow does, with the tower of the artifacts."""
    tower, writer = load_tower(settings.artifacts), TableWriter(settings.redis, CATALOGUE)
    chosen = [(item_id, item) for item_id, item in ITEMS if item_id in names]
    vectors, _ = tower.embed([item_id for item_id, _ in chosen], [item for _, item in chosen])
    for (item_id, item), vector in zip(chosen, vectors, strict=True):
        row = CatalogueRow(item_id, item, 1, 1, tower.version, vector.astype("<f4").tobytes())
        writer.commit({item_key(item_id).to_bytes(8, "little"): encode_row(row)})
    writer.close()


def test_sessions_are_encoded_again_with_the_new_model_and_the_vectors_of_its_snapshot(
    settings: ServiceSettings,
) -> None:
    """The table holds rows of the old tower, and one that was put after the new snapshot."""
    clock, names = Clock(), [item_id for item_id, _ in ITEMS]
    put(settings, *names[:-1])
    serving = serving_sessions(settings, clock)
    first = serving()
    follower = CatalogueFollower(TableReader(settings.redis, CATALOGUE), first.columns, refresh_ms=0)
    follower.load()
    path, store, _ = path_on(settings.redis)
    path.switch(first.encoder, first.columns)
    apply(path, batch_of(click("e1", item_id=names[0]), click("e2", item_id=names[1])))
    assert store.load(3, ["s"]).sessions["s"].model_version == first.version

    train_another(Path(settings.artifacts))
    publish(settings)
    put(settings, names[-1])
    clock.now_ms += 1_000
    second = serving()
    assert second.version != first.version
    assert serving() is second
    follower.move_to(second.columns, second.start)
    follower.take_slice()
    follower.take_slice()
    path.switch(second.encoder, second.columns)
    apply(path, batch_of(click("e3", item_id=names[-1]), start=2))

    session = store.load(3, ["s"]).sessions["s"]
    assert (session.model_version, session.incomplete, len(session.window)) == (second.version, False, 3)
    tower = load_tower(settings.artifacts)
    vectors, _ = tower.embed(names, [item for _, item in ITEMS])
    by_key = {item_key(name): vector for name, vector in zip(names, vectors, strict=True)}

    class Vectors:
        def vectors_of(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
            return np.stack([by_key[int(key)] for key in keys]), np.ones(len(keys), np.bool_)

    [wanted], _ = second.encoder.encode([session.window], Vectors())
    np.testing.assert_allclose(session.embedding, wanted, atol=2e-3)


def test_sessions_without_a_snapshot_of_their_model_read_the_table(settings: ServiceSettings) -> None:
    put(settings, ITEMS[0][0])
    publish(settings)
    train_another(Path(settings.artifacts))
    found = serving_sessions(settings, Clock())()
    assert (found.start, found.columns.count) == (None, 0)


def test_profiles_let_go_of_vectors_of_the_model_before_and_take_those_of_the_new_one(
    settings: ServiceSettings,
) -> None:
    clock, names = Clock(), [item_id for item_id, _ in ITEMS]
    put(settings, *names)
    serving = serving_sessions(settings, clock)
    sessions, store, letters = path_on(settings.redis)
    follower = CatalogueFollower(TableReader(settings.redis, CATALOGUE), serving().columns, refresh_ms=0)
    follower.load()
    profiles = ProfileStore(settings.redis, keep_ms=86_400_000)
    path = ProfilePath(
        store=profiles,
        sessions=store,
        writer=letters,
        encoder=serving_encoder(settings, clock),
        rules=ProfileRules(),
        partitions=1,
        clock_ms=clock,
    )

    def learnt(*clicks: bytes, start: int) -> Profile:
        model, batch = serving(), batch_of(*clicks, start=start)
        sessions.switch(model.encoder, model.columns)
        apply(sessions, batch)
        path.apply(decode_users(batch, now_ms=NOW, max_future_ms=300_000))
        [users] = profiles.load(3, {0: ["anna"]})
        found = users.stored["anna"][1]
        assert found is not None
        return found

    first = learnt(*(click(f"e{n}", item_id=names[n], user_id="anna") for n in range(2)), start=0)
    old = serving().version
    assert (first.model_version, len(first.vectors), first.events) == (old, 1, 2)

    train_another(Path(settings.artifacts))
    publish(settings)
    clock.now_ms += 1_000
    second = learnt(click("e3", "later", item_id=names[3], user_id="anna"), start=2)
    new = serving().version
    assert (new != old, second.model_version, len(second.vectors), second.events) == (True, new, 1, 3)
    [state] = store.load(3, ["later"]).sessions.values()
    wanted = serving().encoder.query(np.array([state.embedding], np.float32))
    np.testing.assert_allclose(second.vectors, wanted, atol=2e-3)
    profiles.close()
    store.close()

"""Snapshots in an object store, here a folder that obstore serves: one machine builds, others start from its copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from contracts.errors import ArtifactError, SettingsError
from contracts.settings import IndexSettings, RedisSettings, ServiceSettings
from nextclick.cli import build_app
from nextclick.stack.shop_models import ARTIFACTS
from retrieval.builder import Builder
from retrieval.live import open_current
from retrieval.snapshot import read_manifest, read_pointer, rollback, verify
from retrieval.snapshot_store import SnapshotStore
from session_model.serving import load_tower
from tests.retrieval.tables import Shop

TOWER = load_tower(str(ARTIFACTS))


@pytest.fixture
def shop(redis_settings: RedisSettings) -> Shop:
    made = Shop(redis_settings, TOWER)
    made.put([f"shoe {n}" for n in range(50)])
    return made


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/bucket"


def options(tmp_path: Path, machine: str, url: str = "", **more: Any) -> IndexSettings:
    bounds = {"min_items": 50, "exact_up_to": 0, "store_check": 0.001}
    return IndexSettings.model_validate({"folder": str(tmp_path / machine), "store": url, **bounds, **more})


def builder(redis: RedisSettings, index: IndexSettings) -> Builder:
    return Builder(ServiceSettings(redis=redis, artifacts=str(ARTIFACTS), index=index))


def built(redis: RedisSettings, index: IndexSettings) -> tuple[Builder, str]:
    made = builder(redis, index)
    made.build(str(made.look()))
    return made, str(read_pointer(Path(index.folder)).current)


def test_a_machine_that_has_no_snapshot_starts_from_the_copy_of_another_and_builds_none(
    redis_settings: RedisSettings, shop: Shop, url: str, tmp_path: Path
) -> None:
    first, name = built(redis_settings, options(tmp_path, "a", url))
    assert first.look() is None  # and pushes
    second = builder(redis_settings, options(tmp_path, "b", url))
    assert second.look() is None
    assert read_pointer(tmp_path / "b").current == name
    opened = open_current(options(tmp_path, "b"), model=(TOWER.version, TOWER.dim))
    assert opened is not None
    assert len(opened.index) == 50
    assert verify(tmp_path / "b" / name) == read_manifest(tmp_path / "a" / name)
    shop.put([f"lamp {n}" for n in range(6)])
    assert second.look() == "12.0% of the snapshot's items changed"  # it is followed from where the copy ends
    first.close()
    second.close()


def test_a_builder_that_only_follows_takes_each_snapshot_up_and_the_store_keeps_two(
    redis_settings: RedisSettings, shop: Shop, url: str, tmp_path: Path
) -> None:
    first, _ = built(redis_settings, options(tmp_path, "a", url))
    first.look()
    follows = builder(redis_settings, options(tmp_path, "b", url, from_store=True))
    follows.look()
    names = [read_pointer(tmp_path / "b").current]
    for round_ in range(2):
        shop.put([f"lamp {round_} {n}" for n in range(20)])
        assert follows.look() is None
        first.build(str(first.look()))
        first.look()
        follows.look()
        names.append(read_pointer(tmp_path / "b").current)
    assert names[-1] == read_pointer(tmp_path / "a").current
    assert len(set(names)) == 3
    kept = {
        path.name for path in (tmp_path / "bucket" / "snapshots").iterdir() if path.is_dir() and any(path.iterdir())
    }
    assert kept == set(names[1:])
    back = rollback(tmp_path / "a")
    first.look()
    follows.look()
    assert (back, read_pointer(tmp_path / "b").current) == (names[1], names[1])
    first.close()
    follows.close()


def test_a_copy_of_another_item_tower_is_passed_by(
    redis_settings: RedisSettings, shop: Shop, url: str, tmp_path: Path
) -> None:
    made, _ = built(redis_settings, options(tmp_path, "a", url))
    made.look()
    assert SnapshotStore(url).pull(tmp_path / "b", tower=TOWER.version + 1) is None
    assert not (tmp_path / "b").exists()
    made.close()


@pytest.mark.parametrize("damage", ["flipped", "gone", "manifest", "elsewhere", "pointer"])
def test_what_was_damaged_there_is_refused_and_nothing_serves(
    redis_settings: RedisSettings, shop: Shop, url: str, tmp_path: Path, damage: str
) -> None:
    made, name = built(redis_settings, options(tmp_path, "a"))
    SnapshotStore(url).push(tmp_path / "a")
    there = tmp_path / "bucket" / "snapshots" / name
    spoil(there, damage)
    with pytest.raises(ArtifactError, match="push"):
        SnapshotStore(url).pull(tmp_path / "b")
    assert read_pointer(tmp_path / "b").current is None
    assert not [path for path in (tmp_path / "b").glob("*") if path.is_dir()]
    made.close()


def spoil(there: Path, damage: str) -> None:
    vectors, manifest = there / "vectors.npy", there / "manifest.json"
    match damage:
        case "flipped":
            raw = bytearray(vectors.read_bytes())
            raw[-1] ^= 1
            vectors.write_bytes(bytes(raw))
        case "gone":
            manifest.unlink()
        case "manifest":
            manifest.write_bytes(manifest.read_bytes().replace(b'"rows": 50', b'"rows": 51'))
        case "elsewhere":
            document = orjson.loads(manifest.read_bytes())
            document["files"]["../x"] = document["files"]["vectors.npy"]
            manifest.write_bytes(orjson.dumps(document))
        case "pointer":
            (there.parent / "current.json").write_bytes(b'{"current":"../x"}')


def test_a_store_that_is_away_keeps_no_builder_from_building(
    redis_settings: RedisSettings, shop: Shop, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = builder(redis_settings, options(tmp_path, "a", url))
    (tmp_path / "bucket").rmdir()
    (tmp_path / "bucket").write_text("a file")
    assert made.look() == "the first one, of 50 items"
    made.build("the first one")
    assert made.look() is None
    said = [one.getMessage() for one in caplog.records if "the store of snapshots" in one.getMessage()]
    assert len(said) == 1
    made.close()


def test_following_without_a_store_is_refused(redis_settings: RedisSettings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"index\.from_store: expected index\.store beside it"):
        builder(redis_settings, options(tmp_path, "a", from_store=True))


def test_the_commands_push_and_pull_and_say_what_they_did(
    redis_settings: RedisSettings, shop: Shop, url: str, tmp_path: Path
) -> None:
    made, name = built(redis_settings, options(tmp_path, "a"))
    made.close()
    assert said("push", tmp_path / "a", url).startswith(f"{name}: pushed to file://")
    assert said("push", tmp_path / "a", url).startswith(f"{name}: was already at file://")
    assert said("pull", tmp_path / "b", url).startswith(f"{name}: from file://")
    assert said("pull", tmp_path / "b", url) == f"{name}: served here already\n"
    assert said("verify", tmp_path / "b").startswith(f"{name}: whole, ")
    with pytest.raises(ArtifactError, match="holds no snapshot: run `nextclick index push` where one serves"):
        said("pull", tmp_path / "c", f"{url}/empty")


def said(verb: str, folder: Path, url: str = "") -> str:
    store = ["--store", url] if url else []
    result = CliRunner().invoke(build_app("index"), ["index", verb, "--folder", str(folder), *store])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output

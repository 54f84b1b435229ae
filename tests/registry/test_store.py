"""Versions in an object store, here a folder that obstore serves: pushed and pulled whole, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from contracts.errors import ArtifactError, SettingsError
from nextclick.stack.shop_models import ARTIFACTS
from registry.folder import Registry
from registry.store import Store

NOW = 1_795_000_000_000


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    made = Registry(tmp_path / "models")
    made.add(ARTIFACTS, now_ms=NOW, note="the shop's")
    return made


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/bucket"


def test_a_version_comes_back_as_it_was_and_is_copied_once(registry: Registry, url: str, tmp_path: Path) -> None:
    [name] = registry.names()
    store = Store(url)
    assert (store.names(), store.push(registry, name), store.push(registry, name)) == ([], True, False)
    assert store.names() == [name]
    other = Registry(tmp_path / "other")
    assert (store.pull(other, name), store.pull(other, name)) == (True, False)
    assert other.verify(name) == registry.read(name)
    other.publish(name, now_ms=NOW)
    assert other.serving() == name


@pytest.mark.parametrize("damage", ["one byte", "longer", "gone"])
def test_a_file_that_was_damaged_there_is_refused_and_nothing_is_kept(
    registry: Registry, url: str, tmp_path: Path, damage: str
) -> None:
    [name] = registry.names()
    Store(url).push(registry, name)
    file = tmp_path / "bucket" / "versions" / name / "reranker" / "ranker.ubj"
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content + b"x" if damage == "longer" else bytes([content[0] ^ 1]) + content[1:])
    other = Registry(tmp_path / "other")
    with pytest.raises(ArtifactError, match="bucket: "):
        Store(url).pull(other, name)
    assert other.names() == []
    assert [one.name for one in other.folder.iterdir()] == ["lock"]


def test_a_manifest_that_was_changed_or_half_pushed_is_no_version(registry: Registry, url: str, tmp_path: Path) -> None:
    [name] = registry.names()
    Store(url).push(registry, name)
    manifest = tmp_path / "bucket" / "versions" / name / "version.json"
    said = manifest.read_text()
    manifest.write_text(said.replace("the shop's", "a thief's"))
    with pytest.raises(ArtifactError, match="was changed since it was written"):
        Store(url).pull(Registry(tmp_path / "other"), name)
    manifest.write_text("{")
    with pytest.raises(ArtifactError, match="is none: push the version again"):
        Store(url).read(name)
    manifest.unlink()
    assert Store(url).names() == []
    assert Store(url).push(registry, name)


def test_a_version_that_is_damaged_here_is_not_pushed(registry: Registry, url: str) -> None:
    [name] = registry.names()
    (registry.path_of(name) / "reranker" / "ranker.ubj").write_bytes(b"none")
    with pytest.raises(ArtifactError, match="expected SHA-256"):
        Store(url).push(registry, name)
    assert Store(url).names() == []


def test_an_address_that_is_none_and_a_store_that_is_away_are_said_in_one_line(
    registry: Registry, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="expected an address such as s3://bucket/models, got 'nowhere'"):
        Store("nowhere")
    shutil.rmtree(tmp_path / "bucket", ignore_errors=True)
    with pytest.raises(ArtifactError, match="bucket: "):
        Store(f"file://{tmp_path}/bucket").read(registry.names()[0])

"""What a snapshot may name: its own files, all of those that are opened, and nothing that lies elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from contracts.errors import ArtifactError
from retrieval import snapshot
from retrieval.snapshot import Manifest, read_pointer
from retrieval.snapshot_folder import MANIFEST, POINTER, clean

# the same house, of which the settings are
from tests.retrieval.test_snapshot import House, Shop, house, reader, shop  # noqa: F401

ELSEWHERE = ("../secret.npy", "/etc/passwd", "..", ".", "", "sub/file.npy", "sub\\..\\x/../../y", "a\0b")


def sealed_with(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest as somebody would who knows how it is sealed."""
    document = orjson.loads(path.read_bytes())
    change(document)
    path.write_bytes(orjson.dumps(Manifest.model_validate(document).sealed().model_dump()))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_manifest_that_names_what_lies_elsewhere_is_refused(house: House, shop: Shop, name: str) -> None:  # noqa: F811
    built = house.build()
    secret = house.folder / "secret.npy"
    secret.write_bytes(b"secret")
    entry = {"bytes": 6, "sha256": snapshot.hash_of(secret)}
    sealed_with(house.folder / built.name / MANIFEST, lambda document: document["files"].update({name: entry}))
    for refusing in (lambda: snapshot.read_manifest(house.folder / built.name), house.open):
        with pytest.raises(ArtifactError, match="expected names of files beside it") as refused:
            refusing()
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["price.npy", "item_ids.bin", "words.json", "slot_keys.npy", "vectors.npy"])
def test_a_manifest_that_leaves_out_what_is_opened_is_refused(house: House, shop: Shop, name: str) -> None:  # noqa: F811
    built = house.build()
    sealed_with(house.folder / built.name / MANIFEST, lambda document: document["files"].pop(name))
    with pytest.raises(ArtifactError, match=f"names no {name}: nobody could tell if it is whole"):
        house.open()


def test_a_link_in_place_of_a_file_or_of_a_snapshot_is_refused(
    house: House,  # noqa: F811
    shop: Shop,  # noqa: F811
    tmp_path: Path,
) -> None:
    built = house.build()
    prices = house.folder / built.name / "price.npy"
    shutil.move(prices, tmp_path / "price.npy")
    prices.symlink_to(tmp_path / "price.npy")
    with pytest.raises(ArtifactError, match=r"price\.npy: expected a snapshot's own file, got a link"):
        house.open()
    prices.unlink()
    shutil.move(tmp_path / "price.npy", prices)
    shutil.move(house.folder / built.name, tmp_path / "moved")
    (house.folder / built.name).symlink_to(tmp_path / "moved")
    with pytest.raises(ArtifactError, match="got a link to another place"):
        house.open()


@pytest.mark.parametrize("name", ["../elsewhere", "/tmp", "..", "", "a/b"])
@pytest.mark.parametrize("which", ["current", "previous"])
def test_a_pointer_to_elsewhere_is_refused_and_nothing_is_removed_by_it(
    house: House,  # noqa: F811
    shop: Shop,  # noqa: F811
    name: str,
    which: str,
) -> None:
    built = house.build()
    document = orjson.loads((house.folder / POINTER).read_bytes())
    (house.folder / POINTER).write_bytes(orjson.dumps({**document, which: name}))
    with pytest.raises(ArtifactError, match=r"cannot read .*current\.json"):
        read_pointer(house.folder)
    with pytest.raises(ArtifactError):
        house.open()
    clean(house.folder)
    assert (house.folder / built.name / "price.npy").exists()


def test_a_damaged_graph_is_refused_before_it_is_mapped(house: House, shop: Shop) -> None:  # noqa: F811
    built = house.build()
    graph = house.folder / built.name / "graph.usearch"
    content = bytearray(graph.read_bytes())
    for at in range(1000, len(content), 97):
        content[at] ^= 0xFF
    graph.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"graph\.usearch: expected SHA-256 .* it is damaged"):
        house.open()

"""Files of a snapshot of the index, one of them replaced: opened, or refused in one line."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import orjson

from contracts.errors import ArtifactError
from contracts.ids import item_key
from contracts.items import CatalogueRow, Item
from contracts.settings import IndexSettings
from retrieval.catalogue import CatalogueColumns
from retrieval.live import open_current
from retrieval.snapshot import Manifest, building, entries_of, publish, verify
from retrieval.snapshot_catalogue import capacity_for, open_catalogue, write_catalogue
from retrieval.snapshot_folder import MANIFEST, POINTER
from tests.fuzz.files import folder
from tests.fuzz.target import Target

REPLACED = (POINTER, MANIFEST, "words.json", "price.npy", "item_ids_ends.npy", "documents.bin", "slot_keys.npy")


@cache
def made() -> tuple[Path, str, dict[str, bytes]]:
    """Return a folder with a snapshot of two items, its name, and what is in the files to be replaced."""
    columns = CatalogueColumns(model_version=9, dim=2)
    rows = [CatalogueRow(name, Item(title=name, brand="B", regions=["eu"]), 3, 7, 9, bytes(8)) for name in "ab"]
    columns.apply([(item_key(row.item_id), row) for row in rows])
    home = folder() / "index"
    with building(home) as aside:
        write_catalogue(aside, columns)
        manifest = Manifest(
            tower_version=f"{9:016x}", dim=2, precision="bf16", connectivity=24, expansion_add=160, rows=2, alive=2,
            searchable=0, capacity=capacity_for(2), change=5, fingerprint="f", progress={"0": 5}, newest_ms=7,
            built_ms=8, build_s=0.1, recall=1.0, files=entries_of(aside),
        )  # fmt: skip
        name = publish(home, aside, manifest)
    held = {one: (home / one if one == POINTER else home / name / one).read_bytes() for one in REPLACED}
    return home, name, held


def check(raw: bytes) -> None:
    """The first byte of an input says which file it replaces."""
    home, name, held = made()
    which = REPLACED[(raw[0] if raw else 0) % len(REPLACED)]
    path = home / which if which == POINTER else home / name / which
    try:
        path.write_bytes(_sealed(raw[1:]) if which == MANIFEST else raw[1:])
        if which in (POINTER, MANIFEST):
            opened = open_current(IndexSettings(folder=str(home)), model=(9, 2))
            columns = opened.columns if opened is not None else None
        else:
            columns = open_catalogue(home / name, Manifest.model_validate_json(held[MANIFEST]))
        if columns is not None and raw[1:] == held[which]:
            assert list(columns.item_ids) == ["a", "b"]
            assert columns.rows_of(np.array([item_key("b")], np.uint64)).tolist() == [1]
            verify(home / name)
    finally:
        path.write_bytes(held[which])


def _sealed(raw: bytes) -> bytes:
    """Give a manifest that reads as one the seal that it should have."""
    try:
        return orjson.dumps(Manifest.model_validate_json(raw).sealed().model_dump())
    except (ValueError, TypeError, RecursionError):
        return raw


TARGET = Target(
    check,
    {
        one: bytes([number]) + made()[2][one]
        for number, one in enumerate(REPLACED)
        if not one.startswith(("documents", "slot"))
    },
    code=("retrieval.snapshot", "retrieval.snapshot_catalogue", "retrieval.live", "retrieval.snapshot_folder"),
    refusals=(ArtifactError,),
    words=(
        b'"files":{}',
        b'"dim":',
        b'"rows":',
        b'"capacity":',
        b'"tower_version":',
        b"../",
        b"(2,)",
        b"'<i8'",
        b"True",
    ),
)

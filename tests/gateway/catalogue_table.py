"""The catalogue table of a gateway under test, written as the items flow would, and another model for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from contracts.codec import encode_row
from contracts.ids import item_key
from contracts.items import CatalogueRow, Item
from contracts.keys import CATALOGUE
from gateway.settings import GatewaySettings
from replay.synthetic.shoppers import default_shop
from retrieval.build import Built, build
from session_model import artifact
from session_model.encoder import GATE_ARRAYS
from session_model.item_tower import TOWER_ARRAYS
from session_model.serving import load_tower
from state.tables import TableReader, TableWriter

ITEMS = [(item_id, item) for item_id, item in default_shop().items[:800] if item.stock and not item.regions]


class Table:
    """The catalogue table, written with the vectors of the artifacts as they are now."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.writer = TableWriter(settings.redis, CATALOGUE)
        self.reader = TableReader(settings.redis, CATALOGUE)
        tower = load_tower(settings.artifacts)
        assert tower is not None
        self.tower = tower

    def put(self, items: list[tuple[str, Item]]) -> int:
        vectors, _ = self.tower.embed([one for one, _ in items], [item for _, item in items])
        rows = {}
        for (item_id, item), vector in zip(items, vectors, strict=True):
            row = CatalogueRow(item_id, item, item.stock or 0, 1000, self.tower.version, vector.astype("<f4").tobytes())
            rows[item_key(item_id).to_bytes(8, "little")] = encode_row(row)
        return self.writer.commit(rows)

    def build(self) -> Built:
        tower = load_tower(self.settings.artifacts)
        assert tower is not None
        return build(self.settings, self.reader, tower)

    def close(self) -> None:
        self.writer.close()
        self.reader.close()


def other_model(artifacts: Path) -> str:
    """Replace the session model by one that sees content differently; returns its version."""
    folder = artifacts / artifact.SESSION_MODEL
    manifest = artifact.read_manifest(folder, artifact.SESSION_MODEL)
    arrays = artifact.read_arrays(folder, manifest, (*TOWER_ARRAYS, *GATE_ARRAYS))
    arrays["id_table"] = np.ascontiguousarray(-arrays["id_table"])
    saved = artifact.save(
        folder, kind=artifact.SESSION_MODEL, dim=manifest.dim, arrays=arrays, created_from=manifest.created_from
    )
    return saved.version

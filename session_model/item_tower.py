"""The item tower as it serves: item ids and content in, unit vectors out. numpy only.

    e(x) = unit( sum over fields f of w_f * mean(token vectors of f) + image projection + text projection + id vector )

Each part counts when the item has it. Id vectors were dropped at random in training, so content alone also gives a
vector in the same space: a new item has one the moment it streams in. The text vector is made by `session_model.text`,
where the model was trained with one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from contracts.errors import ArtifactError
from contracts.ids import item_key
from contracts.items import Item
from session_model import artifact, content
from session_model.text import MINILM, TEXT_IDENTITY, TextEncoder, open_trained, text_rows

TOWER_ARRAYS: Final = ("id_keys", "id_table", "token_keys", "token_table", "field_weights", "image_projection")
_CHUNK: Final = 2048
"""Items embedded at once: bounds the memory of their tokens."""


class ItemTower:
    """Embeds items. Holds arrays only; every method is pure.

    `id_keys` are the trained ItemKeys, ascending, with `id_table` (ids, d) beside them; `token_keys` and
    `token_table` (tokens, d) likewise; `field_weights` has one entry a `content.Field`; `image_projection`
    is (image length, d), of length 0 when no image vectors were trained on; `text_projection` (text length, d)
    likewise, and `text` makes the text vectors. Tables may be float16.
    """

    def __init__(
        self,
        *,
        id_keys: NDArray[np.uint64],
        id_table: NDArray[np.floating],
        token_keys: NDArray[np.uint64],
        token_table: NDArray[np.floating],
        field_weights: NDArray[np.float32],
        image_projection: NDArray[np.float32],
        version: int,
        text_projection: NDArray[np.float32] | None = None,
        text: TextEncoder | None = None,
    ) -> None:
        dim = id_table.shape[1]
        tables = ((id_keys, id_table), (token_keys, token_table))
        if any(table.shape != (len(keys), dim) for keys, table in tables) or image_projection.shape[1:] != (dim,):
            raise ArtifactError(f"the tower's tables disagree about keys or dimension {dim}: train the model again")
        if any(np.any(keys[1:] <= keys[:-1]) for keys, _ in tables):
            raise ArtifactError("expected the tower's keys in ascending order: train the model again")
        if field_weights.shape != (len(content.Field),):
            raise ArtifactError(
                f"expected {len(content.Field)} content fields, got {field_weights.shape}: "
                "train the model again with this release"
            )
        self.version: Final = version
        self.dim: Final = dim
        self.id_keys: Final = id_keys
        self._id_table = id_table
        self._token_keys = token_keys
        self._token_table = token_table.astype(np.float32)
        self._field_weights = field_weights
        self._image_projection = image_projection
        self._text_projection = text_projection if text_projection is not None else np.zeros((0, dim), np.float32)
        self._text = text
        if len(self._text_projection) != (text.dim if text is not None else 0):
            raise ArtifactError(
                f"the tower projects text vectors of {len(self._text_projection)} numbers, and the text model makes "
                f"{text.dim if text is not None else 0}: embed with the text model that was trained with"
            )

    @classmethod
    def load(cls, folder: Path, text_model: str = "") -> Self:
        """Load from the folder that holds `manifest.json`, and the text model where it was trained with one.

        That is looked for in `text_model` (`minilm`, or a folder), where training found it, and in the `text` extra.
        Raises ArtifactError.
        """
        manifest = artifact.read_manifest(folder, artifact.SESSION_MODEL)
        arrays = artifact.read_arrays(folder, manifest, TOWER_ARRAYS)
        artifact.expect_shape(folder, "id_table", arrays["id_table"], (-1, manifest.dim))
        if TEXT_IDENTITY not in manifest.arrays:
            return cls(**arrays, version=manifest.number, text_projection=None, text=None)
        [mark], projection = artifact.read_arrays(folder, manifest, (TEXT_IDENTITY, "text_projection")).values()
        trained = manifest.created_from.get("settings")
        noted = str(trained.get("text", "")) if isinstance(trained, dict) else ""
        text = open_trained(f"{int(mark):016x}", (text_model, noted, MINILM))
        return cls(**arrays, version=manifest.number, text_projection=projection, text=text)

    @property
    def image_length(self) -> int:
        """Numbers of an image vector that this tower takes; 0: it knows none."""
        return len(self._image_projection)

    def embed(self, item_ids: Sequence[str], items: Sequence[Item]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return unit vectors (n, d) and which items are known (n,).

        An item is unknown, and its vector zero, when neither its id nor any of its content was trained on.
        An image vector of another length than the trained one is left out.
        """
        if len(item_ids) != len(items):
            raise ValueError(f"expected as many ids as items, got {len(item_ids)} and {len(items)}")
        chunks = [
            self._embed(item_ids[at : at + _CHUNK], items[at : at + _CHUNK]) for at in range(0, len(items), _CHUNK)
        ]
        if not chunks:
            return np.zeros((0, self.dim), np.float32), np.zeros(0, np.bool_)
        return np.concatenate([vectors for vectors, _ in chunks]), np.concatenate([known for _, known in chunks])

    def _embed(self, item_ids: Sequence[str], items: Sequence[Item]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        vectors, known = self._content(items)  # (n, d), (n,)
        if self._text is not None:
            rows, texts = text_rows(self._text, item_ids, items)
            vectors[rows] += texts @ self._text_projection
            known[rows] = True
        keys = np.fromiter((item_key(item_id) for item_id in item_ids), np.uint64, len(item_ids))
        trained, row = _find(self.id_keys, keys)
        vectors[trained] += self._id_table[row[trained]]
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)  # (n, 1)
        known = (known | trained) & (norms[:, 0] > 0.0)
        return np.where(known[:, None], vectors / np.where(norms > 0.0, norms, 1.0), 0.0).astype(np.float32), known

    def _content(self, items: Sequence[Item]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        tokens = content.tokens_of(items)
        known_token, row = _find(self._token_keys, tokens.keys)
        row, owner, fields = row[known_token], tokens.items[known_token], tokens.fields[known_token]
        weights = content.bag_weights(owner, fields) * self._field_weights[fields]  # (tokens,)
        vectors = np.zeros((tokens.count, self.dim), np.float32)
        if len(row):
            starts = np.flatnonzero(np.diff(owner, prepend=-1))
            vectors[owner[starts]] = np.add.reduceat(self._token_table[row] * weights[:, None], starts)
        known = np.bincount(owner, minlength=tokens.count) > 0
        if len(self._image_projection):
            rows, images = content.image_rows(items, len(self._image_projection))
            vectors[rows] += images @ self._image_projection
            known[rows] = True
        return vectors, known


def _find(keys: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Return which of `wanted` stand in ascending `keys`, and where (any row for those that do not)."""
    if not len(keys):
        return np.zeros(len(wanted), np.bool_), np.zeros(len(wanted), np.intp)
    row = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return keys[row] == wanted, row

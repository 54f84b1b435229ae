"""The word vectors of the general tower, made from a text model: `python -m session_model.general_distil OUT`.

Each word and word piece of the model's vocabulary is read alone, and its vector cut to its first principal components
(Minish Lab's model2vec, 2024). Words are weighted by the logarithm of their rank in the vocabulary, which is about that
of their frequency (Zipf): a cheap stand-in for inverse document frequency. Needs the `text` extra.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from session_model import artifact
from session_model.bert import Bert, Shape
from session_model.general import KIND, WORD_DIM, word_key
from session_model.text import MINILM, folder_of, open_text

_WORD: Final = re.compile(r"[^\W\d_]{2,}|##[^\W\d_]{3,}")
_AT_ONCE: Final = 512
_RANK_SCALE: Final = 10.0


def distil(out: Path, model: str = MINILM) -> artifact.Manifest:
    """Write the artifact of word vectors. Raises ArtifactError without the text model."""
    folder = folder_of(model)
    identity = open_text(folder).identity
    words = (folder / "vocab.txt").read_text("utf-8").splitlines()
    rows = [row for row, word in enumerate(words) if _WORD.fullmatch(word)]
    vectors = _components(_read_alone(folder, np.array(rows), words))  # (words, WORD_DIM)
    ranks = np.arange(1, len(rows) + 1)
    keys = np.array([word_key(words[row]) for row in rows], np.uint64)
    order = np.argsort(keys)
    arrays: dict[str, NDArray[Any]] = {
        "word_keys": keys[order],
        "word_vectors": np.round(vectors[order] * 127.0).astype(np.int8),
        "word_weights": (np.log1p(ranks) / _RANK_SCALE).astype(np.float16)[order],
    }
    made_of = {"text_model": model, "identity": identity, "licence": "Apache-2.0", "words": len(rows)}
    return artifact.save(out, kind=KIND, dim=WORD_DIM, arrays=arrays, created_from=made_of)


def _read_alone(folder: Path, rows: NDArray[np.intp], words: list[str]) -> NDArray[np.float32]:
    """Return the vectors (n, h) of single word pieces, between the marks of a text's beginning and end."""
    model, found = Bert(folder, Shape.read(folder)), []
    first, last = words.index("[CLS]"), words.index("[SEP]")
    for at in range(0, len(rows), _AT_ONCE):
        part = rows[at : at + _AT_ONCE]
        ids = np.stack([np.full(len(part), first), part, np.full(len(part), last)], axis=1).astype(np.int64)  # (b, 3)
        found.append(model.forward(ids, np.full(len(part), 3, np.int64)))
    return np.concatenate(found)


def _components(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the first principal components (n, WORD_DIM), each row at length 1."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    cut = centred @ axes[:, ::-1][:, :WORD_DIM]
    unit: NDArray[np.float64] = cut / np.linalg.norm(cut, axis=1, keepdims=True)
    return unit


if __name__ == "__main__":
    made = distil(Path(sys.argv[1]))
    sys.stdout.write(f"{made.created_from['words']:,} words in {sys.argv[1]}, version {made.version}\n")

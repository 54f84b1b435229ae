"""The general item tower: what serves a shop that has no trained model yet. numpy only.

A vector has two parts, each at its own length:

    e(x) = unit( [ c(x) * unit(m(x)),  SPELLING * unit(s(x)) ] )

m is the weighted mean of word vectors that a text model was cut down to (`session_model.general_distil`): English
words, and pieces of words. s is the same mean of hashed words and their n-grams of letters (Bojanowski et al., TACL
2017), which know no language: words of one stem are alike in any. c is the share of an item's words that have a
meaning here, so that a German catalogue is compared by its spelling. Nothing is learnt from a shop.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from contracts.events import EventCode
from contracts.items import Item
from session_model import artifact, content
from session_model.encoder import GATE_ARRAYS, SessionEncoder
from session_model.item_tower import ItemTower
from session_model.memory import CODES

Float32s = NDArray[np.float32]

KIND: Final = "general_tower"
FOLDER: Final = Path(__file__).parent / "general_words"
WORD_DIM: Final = 64
SPELLING_DIM: Final = 128
DIM: Final = WORD_DIM + SPELLING_DIM
SPELLING: Final = 0.6
RELEASE: Final = 1
"""Goes into the version: another way to make a vector of the same words is another model."""

_TITLE: Final = 1.0
_CATEGORY: Final = 1.0
_DESCRIPTION: Final = 0.4
_ATTRIBUTE: Final = 0.3
_BRAND: Final = 0.3
_WIDEST: Final = 0.4
"""Weight of the widest part of a category path beside the narrowest."""
_PIECE: Final = 0.5
_LEAST_PIECE: Final = 4
"""Letters of a piece: `led` in `leder` means nothing."""
_WORD: Final = re.compile(r"[^\W\d_]+|\d+")
_GRAMS: Final = (3, 4, 5)
_WHOLE: Final = 0.5
_SHORT: Final = 0.3
"""Weight of the spelling of words of three letters and fewer: `the`, `und`, `dla`."""
_LONGEST: Final = 40

_MOVES: Final = {EventCode.VIEW: 0.45, EventCode.CART: 0.6, EventCode.PURCHASE: 0.6}
"""How far one click moves a session towards its item."""


def word_key(word: str) -> int:
    """Return the key of a word, or of a piece within one (`##board`)."""
    return xxhash.xxh3_64_intdigest(word.encode())


class GeneralTower(ItemTower):
    """Embeds items by what their words mean and how they are spelt. Knows every item that has words."""

    def __init__(self, *, keys: NDArray[np.uint64], vectors: Float32s, weights: Float32s, version: int) -> None:
        super().__init__(
            id_keys=np.zeros(0, np.uint64),
            id_table=np.zeros((0, DIM), np.float32),
            token_keys=np.zeros(0, np.uint64),
            token_table=np.zeros((0, DIM), np.float32),
            field_weights=np.ones(len(content.Field), np.float32),
            image_projection=np.zeros((0, DIM), np.float32),
            version=version,
        )
        self._row_of = {key: row for row, key in enumerate(keys.tolist())}
        self._vectors, self._weights = vectors, weights
        self._meaning_of = lru_cache(maxsize=50_000)(self._meaning)

    def _embed(self, item_ids: Sequence[str], items: Sequence[Item]) -> tuple[Float32s, NDArray[np.bool_]]:
        vectors = np.zeros((len(items), DIM), np.float32)
        for row, (item_id, item) in enumerate(zip(item_ids, items, strict=True)):
            meaning, spelling = np.zeros(WORD_DIM, np.float32), np.zeros(SPELLING_DIM, np.float32)
            known_words = all_words = 1e-9
            for weight, words in _fields(item_id, item):
                found = [self._meaning_of(word) for word in words]
                _add(meaning, weight, [vector for vector, _ in found if vector is not None])
                _add(spelling, weight, [_spelling_of(word) for word in words])
                known_words += weight * sum(share for _, share in found) / max(1, len(words))
                all_words += weight
            vectors[row, :WORD_DIM] = known_words / all_words * _unit(meaning)
            vectors[row, WORD_DIM:] = SPELLING * _unit(spelling)
        norms = np.linalg.norm(vectors, axis=1)
        known = norms > 0
        vectors[known] /= norms[known, None]
        return vectors, known

    def has_meaning(self, word: str) -> bool:
        """Say whether a word, in small letters, or pieces of it are among those that a text model knew."""
        return self._meaning_of(word)[0] is not None

    def spelling_of(self, word: str) -> Float32s:
        """Return the unit vector (SPELLING_DIM,) of a word's letters."""
        return _unit(_spelling_of(word))

    def _meaning(self, word: str) -> tuple[Float32s | None, float]:
        """Return the weighted vector of a word, or of the longest pieces that it is made of, and how much that says."""
        row = self._row_of.get(word_key(word))
        if row is not None:
            return self._vectors[row] * self._weights[row], 1.0
        pieces = list(self._pieces(word))
        if not pieces:
            return None, 0.0
        return _PIECE * np.mean([self._vectors[row] * self._weights[row] for row in pieces], axis=0), _PIECE

    def _pieces(self, word: str) -> Iterator[int]:
        at = 0
        while at < len(word):
            for end in range(len(word), at + _LEAST_PIECE - 1, -1):
                part = word[at:end]
                row = self._row_of.get(word_key(part if at == 0 else f"##{part}"))
                row = row if row is not None or at == 0 else self._row_of.get(word_key(part))
                if row is not None:
                    yield row
                    at = end
                    break
            else:
                at += 1


class GeneralEncoder(SessionEncoder):
    """Moves a session a fixed way towards each clicked item: there is nothing to be learnt from."""

    def __init__(self) -> None:
        weight, bias, shift = general_gate().values()
        super().__init__(weight=weight, bias=bias, shift=shift, version=general_version())


def general_gate() -> dict[str, Float32s]:
    """Return the arrays of the gate, by the names that artifacts have for them: it is the same for every item."""
    shift = np.zeros((CODES, DIM), np.float32)
    for code, part in _MOVES.items():
        shift[code] = np.log(part / (1 - part))
    return dict(zip(GATE_ARRAYS, (np.zeros((DIM, DIM), np.float32), np.zeros(DIM, np.float32), shift), strict=True))


@cache
def general_tower() -> GeneralTower:
    """Load the tower that is part of the package. Raises ArtifactError where its files are damaged."""
    manifest = artifact.read_manifest(FOLDER, KIND)
    arrays = artifact.read_arrays(FOLDER, manifest, ("word_keys", "word_vectors", "word_weights"))
    artifact.expect_shape(FOLDER, "word_vectors", arrays["word_vectors"], (-1, WORD_DIM))
    return GeneralTower(
        keys=arrays["word_keys"],
        vectors=(arrays["word_vectors"] / np.float32(127.0)).astype(np.float32),
        weights=arrays["word_weights"].astype(np.float32),
        version=general_version(),
    )


@cache
def general_version() -> int:
    """Return the version of the general model."""
    return word_key(f"{artifact.read_manifest(FOLDER, KIND).version}:{RELEASE}")


def general_encoder() -> GeneralEncoder:
    """Return the encoder that goes with the general tower."""
    return GeneralEncoder()


def _fields(item_id: str, item: Item) -> Iterator[tuple[float, list[str]]]:
    """Yield the words of each field, and how much the field counts."""
    if item.title and item.title != item_id:
        yield _TITLE, _words(item.title)
    parts = [part for part in item.category.split("/") if part]
    for depth, part in enumerate(parts):
        narrow = depth / (len(parts) - 1) if len(parts) > 1 else 1.0
        yield _CATEGORY * (_WIDEST + (1 - _WIDEST) * narrow) / len(parts) ** 0.5, _words(part)
    if item.description:
        yield _DESCRIPTION, _words(item.description)[: content.MAX_DESCRIPTION_WORDS]
    if item.brand:
        yield _BRAND, [item.brand.lower()[:_LONGEST]]
    if item.attributes:
        words = [word for text in _texts(item.attributes) for word in _words(text)]
        yield _ATTRIBUTE, words[: content.MAX_ATTRIBUTES]


def words_of(text: str) -> list[str]:
    """Return the words of a text as the tower reads them: in small letters, each once."""
    return _words(text)


def _texts(attributes: dict[str, Any]) -> Iterator[str]:
    for value in attributes.values():
        yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str))


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word[:_LONGEST] for word in _WORD.findall(text.lower()) if len(word) > 1))


def _add(total: Float32s, weight: float, vectors: Sequence[Float32s]) -> None:
    """Add the unit mean of vectors."""
    if vectors:
        total += weight * _unit(np.sum(vectors, axis=0))


def _unit(vector: Float32s) -> Float32s:
    norm = float(np.linalg.norm(vector))
    return vector / np.float32(norm) if norm > 0 else vector


@lru_cache(maxsize=50_000)
def _spelling_of(word: str) -> Float32s:
    """Return the vector of a word's letters (SPELLING_DIM,): of signs that its n-grams hash to."""
    marked = f"<{word}>"
    grams = [marked[at : at + size] for size in _GRAMS for at in range(len(marked) - size + 1)]
    signs = np.mean([_signs(gram) for gram in grams], axis=0) if grams else np.zeros(SPELLING_DIM)
    both = _unit((signs * len(grams) ** 0.5 + _WHOLE * _signs(word)).astype(np.float32))
    return both * np.float32(_SHORT if len(word) <= 3 else 1.0)


def _signs(text: str) -> NDArray[np.float32]:
    bits = np.unpackbits(np.frombuffer(xxhash.xxh3_128_digest(text.encode()), np.uint8))
    return (bits.astype(np.float32) * 2 - 1) / np.float32(SPELLING_DIM**0.5)

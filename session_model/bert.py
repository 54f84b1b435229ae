"""A sentence-transformers model in numpy: BERT and RoBERTa encoders with mean or first-token pooling.

The weights are read as they lie in the folder (`model.safetensors`, `tokenizer.json`). torch is not imported: this is
six layers of BERT for all-MiniLM-L6-v2 (Devlin et al., NAACL 2019; pooling: Reimers and Gurevych, EMNLP 2019), and
numpy runs those as fast on one core. Folders of other architectures are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from contracts.errors import ArtifactError

Float32s = NDArray[np.float32]

MAX_TOKENS: Final = 64
"""Word pieces of a text that are read, at most. Bounds the cost of an item."""
FILES: Final = ("config.json", "modules.json", "tokenizer.json", "model.safetensors")
"""What a folder needs; the configuration of its pooling lies where `modules.json` says."""
_MASKED: Final = np.float32(-1e30)
_POOLINGS: Final = {("mean",): False, ("cls",): True}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a folder's configuration says. `first_place` is the position number of the first word piece."""

    layers: int
    heads: int
    epsilon: float
    width: int
    first_place: int
    pool_first: bool

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a folder's configuration. Raises ArtifactError for a model that this module cannot run."""
        try:
            return cls._read(folder)
        except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise ArtifactError(
                f"{folder}: expected a sentence-transformers folder, got one whose configuration cannot be read "
                f"({error!r:.200}): copy or download it again"
            ) from error

    @classmethod
    def _read(cls, folder: Path) -> Self:
        config = orjson.loads((folder / "config.json").read_bytes())
        modules = orjson.loads((folder / "modules.json").read_bytes())
        kinds = [one["type"].rsplit(".", 1)[-1] for one in modules]
        kind, activation = config.get("model_type"), config.get("hidden_act")
        places = config.get("position_embedding_type", "absolute")
        if kind not in ("bert", "roberta", "xlm-roberta") or activation != "gelu" or places != "absolute":
            raise ArtifactError(
                f"{folder}: expected a BERT or RoBERTa encoder with gelu, got {kind} with {activation}: "
                "choose another text model, such as all-MiniLM-L6-v2"
            )
        if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
            raise ArtifactError(f"{folder}: expected a transformer and pooling, got {kinds}: choose another text model")
        pooling = _pooling(orjson.loads((folder / modules[1]["path"] / "config.json").read_bytes()))
        if pooling not in _POOLINGS:
            raise ArtifactError(f"{folder}: expected mean or cls pooling, got {pooling}: choose another text model")
        return cls(
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            epsilon=config["layer_norm_eps"],
            width=config["hidden_size"],
            first_place=0 if kind == "bert" else config["pad_token_id"] + 1,
            pool_first=_POOLINGS[pooling],
        )


def _pooling(config: dict[str, Any]) -> tuple[str, ...]:
    """Return the poolings that a configuration asks for, in either of the library's spellings."""
    if "pooling_mode" in config:
        mode = config["pooling_mode"]
        return (mode,) if isinstance(mode, str) else tuple(mode)
    names = [name for name, on in config.items() if name.startswith("pooling_mode_") and on is True]
    return tuple(name.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for name in names)


class Bert:
    """The encoder: a tokenizer, and the weights by the names that they have in the folder."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        self._shape = shape
        raw = load_file(folder / "model.safetensors")
        self._weights: dict[str, Float32s] = {
            name.removeprefix("bert.").removeprefix("roberta."): array.astype(np.float32, copy=False)
            for name, array in raw.items()
            if array.dtype.kind == "f"
        }
        self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def tokens_of(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the word pieces of texts, MAX_TOKENS of each at most."""
        return [one.ids for one in self._tokenizer.encode_batch(list(texts))]

    def forward(self, ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> Float32s:
        """Return the unit vectors (b, h) of word pieces (b, t), of which the first `lengths` (b,) count."""
        present = np.arange(ids.shape[1]) < lengths[:, None]  # (b, t)
        hidden = self._embedded(ids)  # (b, t, h)
        hidden[~present] = 0.0
        for layer in range(self._shape.layers):
            hidden = self._layer(hidden, present, f"encoder.layer.{layer}.")
        pooled = hidden[:, 0] if self._shape.pool_first else (hidden * present[..., None]).sum(axis=1)  # (b, h)
        unit: Float32s = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        return unit

    def _embedded(self, ids: NDArray[np.int64]) -> Float32s:
        weights = self._weights
        hidden = weights["embeddings.word_embeddings.weight"][ids]  # (b, t, h)
        first = self._shape.first_place
        hidden = hidden + weights["embeddings.position_embeddings.weight"][first : first + ids.shape[1]]
        return self._norm(hidden + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")

    def _layer(self, hidden: Float32s, present: NDArray[np.bool_], name: str) -> Float32s:
        from scipy.special import erf

        attended = self._dense(self._attend(hidden, present, f"{name}attention.self."), f"{name}attention.output.dense")
        hidden = self._norm(hidden + attended, f"{name}attention.output.LayerNorm")
        wide = self._dense(hidden, f"{name}intermediate.dense")  # (b, t, 4h)
        wide *= 0.5 * (1.0 + erf(wide * np.float32(0.5**0.5)))
        return self._norm(hidden + self._dense(wide, f"{name}output.dense"), f"{name}output.LayerNorm")

    def _attend(self, hidden: Float32s, present: NDArray[np.bool_], name: str) -> Float32s:
        batch, length, width = hidden.shape
        heads = self._shape.heads

        def split(part: str) -> Float32s:
            made = self._dense(hidden, name + part).reshape(batch, length, heads, width // heads)
            return made.transpose(0, 2, 1, 3)  # (b, heads, t, h / heads)

        scores = split("query") @ split("key").transpose(0, 1, 3, 2)  # (b, heads, t, t)
        scores *= np.float32((width // heads) ** -0.5)
        scores[np.broadcast_to(~present[:, None, None], scores.shape)] = _MASKED
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        attended = np.asarray(scores @ split("value"), np.float32)  # (b, heads, t, h / heads)
        return attended.transpose(0, 2, 1, 3).reshape(batch, length, width)

    def _dense(self, hidden: Float32s, name: str) -> Float32s:
        weight = self._weights[f"{name}.weight"]  # (out, in)
        made: Float32s = hidden.reshape(-1, hidden.shape[-1]) @ weight.T + self._weights[f"{name}.bias"]
        return made.reshape(*hidden.shape[:-1], len(weight))

    def _norm(self, hidden: Float32s, name: str) -> Float32s:
        centred = hidden - hidden.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(self._shape.epsilon))
        normed: Float32s = centred / spread * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return normed

"""A small sentence-transformers folder: random weights, a handful of words. Real files, in the library's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

pytest.importorskip("safetensors", reason="needs the text extra")
pytest.importorskip("tokenizers", reason="needs the text extra")

from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "blue", "shoe", "boot", "lamp", "chair", "kind0", "kind1", "kind2"]
WIDTH, LAYERS, HEADS = 8, 2, 2


def weights(seed: int, places: int = 80) -> dict[str, NDArray[np.float32]]:
    """Return random weights under BERT's names."""
    rng = np.random.default_rng(seed)

    def some(*shape: int) -> NDArray[np.float32]:
        return rng.normal(scale=0.5, size=shape).astype(np.float32)

    found = {
        "embeddings.word_embeddings.weight": some(len(WORDS), WIDTH),
        "embeddings.position_embeddings.weight": some(places, WIDTH),
        "embeddings.token_type_embeddings.weight": some(2, WIDTH),
    }
    normed = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        for part in ("query", "key", "value"):
            found[f"{at}attention.self.{part}.weight"] = some(WIDTH, WIDTH)
            found[f"{at}attention.self.{part}.bias"] = some(WIDTH)
        for name, out, width in (
            ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", 4 * WIDTH, WIDTH),
            ("output.dense", WIDTH, 4 * WIDTH),
        ):
            found[f"{at}{name}.weight"], found[f"{at}{name}.bias"] = some(out, width), some(out)
        normed += [f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm"]
    for name in normed:
        found[f"{name}.weight"], found[f"{name}.bias"] = some(WIDTH) + 1.0, some(WIDTH)
    return found


def write_text_folder(
    folder: Path, *, seed: int = 1, kind: str = "bert", pooling: dict[str, object] | None = None
) -> Path:
    """Write a folder as sentence-transformers does."""
    (folder / "1_Pooling").mkdir(parents=True)
    config = {
        "model_type": kind,
        "hidden_act": "gelu",
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{name}"}
        for at, (path, name) in enumerate((("", "Transformer"), ("1_Pooling", "Pooling"), ("2_N", "Normalize")))
    ]
    (folder / "config.json").write_bytes(orjson.dumps(config))
    (folder / "modules.json").write_bytes(orjson.dumps(modules))
    told = pooling or {"word_embedding_dimension": WIDTH, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_bytes(orjson.dumps(told))
    save_file(weights(seed), folder / "model.safetensors")
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder

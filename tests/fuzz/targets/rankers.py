"""A re-ranker's folder, its manifest or its trees replaced: loaded and scored by, or refused in one line."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import orjson

from contracts.errors import ArtifactError
from nextclick.stack.shop_models import ARTIFACTS
from rerank.features import FEATURES
from rerank.ranker import Ranker
from tests.fuzz.files import folder
from tests.fuzz.target import Target

ROWS = np.zeros((3, len(FEATURES)), np.float32)


def small() -> bytes:
    """Return a model of one tree with three nodes, as XGBoost writes them."""
    tree = {
        "left_children": [1, -1, -1], "right_children": [2, -1, -1], "default_left": [1, 0, 0],
        "split_conditions": [0.5, -1.0, 1.0], "split_indices": [2, 0, 0], "categories_nodes": [],
        "base_weights": [0.0] * 3,
    }  # fmt: skip
    learner = {
        "gradient_booster": {"model": {"trees": [tree], "tree_info": [0]}, "name": "gbtree"},
        "learner_model_param": {"base_score": "5E-1", "num_feature": str(len(FEATURES)), "num_target": "1"},
        "objective": {"name": "rank:ndcg"},
    }
    return _ubj({"learner": learner})


def _ubj(value: object) -> bytes:
    if isinstance(value, dict):
        return b"{" + b"".join(_text(name) + _ubj(one) for name, one in value.items()) + b"}"
    if isinstance(value, list):
        return b"[" + b"".join(map(_ubj, value)) + b"]"
    if isinstance(value, str):
        return b"S" + _text(value)
    if isinstance(value, int):
        return b"l" + value.to_bytes(4, "big", signed=True)
    return b"d" + np.array(value, ">f4").tobytes()


def _text(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode()


@cache
def made() -> tuple[Path, bytes]:
    home = folder() / "reranker"
    home.mkdir()
    return home, (ARTIFACTS / "reranker" / "manifest.json").read_bytes()


def check(raw: bytes) -> None:
    """An input is the trees, or (where it begins with a quote) the manifest behind it; checksums are made to fit."""
    home, manifest = made()
    trees, told = (small(), raw[1:]) if raw[:1] == b'"' else (raw, manifest)
    (home / "ranker.ubj").write_bytes(trees)
    (home / "manifest.json").write_bytes(_fitting(told, trees))
    ranker = Ranker.load(home)
    if ranker._trees is not None:  # XGBoost's own reader is not ours to try
        assert len(ranker.rank_scores(ROWS)) == len(ROWS)


def _fitting(manifest: bytes, trees: bytes) -> bytes:
    try:
        return orjson.dumps({**orjson.loads(manifest), "sha256": hashlib.sha256(trees).hexdigest()})
    except (ValueError, TypeError):
        return manifest


TARGET = Target(
    check,
    {"trees": small(), "manifest": b'"' + made()[1]},
    code=("rerank.ranker", "rerank.trees", "rerank.ubj"),
    refusals=(ArtifactError,),
    words=(b"left_children", b"split_indices", b"tree_info", b"[$l#U", b"[$d#L", b"l\xff\xff\xff\xff", b"\x7f\xc0\0\0"),
)

"""The re-ranker's artifact: saved, loaded, and refused when it is not what it should be."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest
import xgboost as xgb

from contracts.errors import ArtifactError
from rerank.features import FEATURES
from rerank.ranker import Ranker
from tests.rerank.shop import MODEL


def ranker(wanted: str = "query_similarity", model_version: int = MODEL) -> Ranker:
    """Trees that have learnt to like one feature."""
    random = np.random.default_rng(5)
    rows = random.uniform(-1, 1, (2000, len(FEATURES))).astype(np.float32)
    labels = rows[:, FEATURES.index(wanted)]
    booster = xgb.train({"max_depth": 4, "nthread": 1, "verbosity": 0}, xgb.DMatrix(rows, labels), 20)
    return Ranker(booster, model_version=model_version)


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(6).uniform(-1, 1, (50, len(FEATURES))).astype(np.float32)


def test_saving_and_loading_does_not_change_a_score(tmp_path: Path, rows: np.ndarray) -> None:
    before = ranker()
    before.save(tmp_path, notes={"groups": 3})
    after = Ranker.load(tmp_path)
    assert after.rank_scores(rows).tolist() == before.rank_scores(rows).tolist()
    assert after.model_version == MODEL
    assert len(after.version) == 16
    assert orjson.loads((tmp_path / "manifest.json").read_bytes())["notes"] == {"groups": 3}


def test_what_the_trees_like_scores_higher(rows: np.ndarray) -> None:
    rows[0, 0], rows[1, 0] = 0.9, -0.9
    scores = ranker().rank_scores(rows)
    assert scores[0] > scores[1] + 1.0


def test_column_major_rows_and_no_rows_are_taken(rows: np.ndarray) -> None:
    trees = ranker()
    assert trees.rank_scores(np.asfortranarray(rows)).tolist() == trees.rank_scores(rows).tolist()
    assert trees.rank_scores(rows[:0]).shape == (0,)


def test_a_ranker_of_other_features_is_refused(tmp_path: Path) -> None:
    ranker().save(tmp_path)
    manifest = orjson.loads((tmp_path / "manifest.json").read_bytes())
    (tmp_path / "manifest.json").write_bytes(orjson.dumps({**manifest, "schema_hash": "0123"}))
    with pytest.raises(ArtifactError, match=r"of feature schema .*, got 0123: train one with this release"):
        Ranker.load(tmp_path)


def test_damaged_trees_are_refused(tmp_path: Path) -> None:
    ranker().save(tmp_path)
    trees = (tmp_path / "ranker.ubj").read_bytes()
    (tmp_path / "ranker.ubj").write_bytes(trees[:-10] + b"0123456789")
    with pytest.raises(ArtifactError, match="expected SHA-256"):
        Ranker.load(tmp_path)


@pytest.mark.parametrize("missing", ["manifest.json", "ranker.ubj"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    ranker().save(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(ArtifactError, match=f"cannot read .*{missing}"):
        Ranker.load(tmp_path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(b'{"format": "something", "format_version": 1}')
    with pytest.raises(ArtifactError, match="expected nextclick-reranker version 1"):
        Ranker.load(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"not json")
    with pytest.raises(ArtifactError, match="expected JSON"):
        Ranker.load(tmp_path)


@pytest.mark.parametrize("manifest", [b"[]", b'["format"]', b"null", b'"x"', b"1"])
def test_a_manifest_that_is_no_object_is_refused_in_one_line(tmp_path: Path, manifest: bytes) -> None:
    ranker().save(tmp_path)
    (tmp_path / "manifest.json").write_bytes(manifest)
    with pytest.raises(ArtifactError, match=r"manifest\.json: expected nextclick-reranker version 1, got a \w+: "):
        Ranker.load(tmp_path)


@pytest.mark.parametrize(
    "version", [None, 17, "", "xyz", "-000000000000001", " 00000000000000a", "0" * 17, ["0"], True]
)
def test_a_manifest_without_a_model_version_is_refused_in_one_line(tmp_path: Path, version: object) -> None:
    ranker().save(tmp_path)
    manifest = orjson.loads((tmp_path / "manifest.json").read_bytes())
    (tmp_path / "manifest.json").write_bytes(orjson.dumps({**manifest, "model_version": version}))
    expected = r"manifest\.json: expected a model_version of 16 hex digits, got "
    with pytest.raises(ArtifactError, match=expected):
        Ranker.load(tmp_path)
    del manifest["model_version"]
    (tmp_path / "manifest.json").write_bytes(orjson.dumps(manifest))
    with pytest.raises(ArtifactError, match=expected + "None"):
        Ranker.load(tmp_path)


def test_trees_that_are_none_are_refused_even_with_their_checksum(tmp_path: Path) -> None:
    ranker().save(tmp_path)
    manifest = orjson.loads((tmp_path / "manifest.json").read_bytes())
    whole = (tmp_path / "ranker.ubj").read_bytes()
    for trees in (b"", b"no trees", whole[: len(whole) // 2], b"{}"):
        (tmp_path / "ranker.ubj").write_bytes(trees)
        digest = hashlib.sha256(trees).hexdigest()
        (tmp_path / "manifest.json").write_bytes(orjson.dumps({**manifest, "sha256": digest}))
        with pytest.raises(ArtifactError, match=r"ranker\.ubj: expected trees"):
            Ranker.load(tmp_path)


def test_the_search_library_loaded_first_does_not_stop_the_trees() -> None:
    program = "import retrieval.ann_index, numpy, xgboost; xgboost.DMatrix(numpy.zeros((2, 2)), numpy.zeros(2))"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=500)

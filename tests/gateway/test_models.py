"""The models that a gateway loads: what does not belong together is said, once, when it starts."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest

from gateway.models import load_models
from nextclick.stack.shop_models import ARTIFACTS
from rerank.ranker import put_beside


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ARTIFACTS, tmp_path / "models"))


def trained_with(artifacts: Path, model: str) -> None:
    manifest = artifacts / "reranker" / "manifest.json"
    manifest.write_bytes(orjson.dumps(orjson.loads(manifest.read_bytes()) | {"model_version": model}))


def test_models_that_belong_together_are_loaded_without_a_word(
    artifacts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    models = load_models(str(artifacts))
    assert models.ranker is not None
    assert f"{models.ranker.model_version:016x}" == models.version
    assert caplog.messages == []


def test_a_ranker_that_was_put_beside_the_model_of_more_days_belongs_to_it(
    artifacts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    version = int(load_models(str(artifacts)).version, 16)
    trained_with(artifacts, "00000000deadbeef")
    put_beside(artifacts / "reranker", version)
    assert load_models(str(artifacts)).ranker is not None
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("00000000deadbeef", "trained with session model 00000000deadbeef, got {}: it serves all the same"),
        ("0000000000000000", "trained with session model none, got {}: it is left out (no_ranker)"),
    ],
)
def test_a_ranker_of_another_session_model_is_told(
    artifacts: Path, model: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    trained_with(artifacts, model)
    models = load_models(str(artifacts))
    [message] = caplog.messages
    assert said.format(models.version) in message

"""`evaluate users` and `train user-tower`, as people type them, on a small shop with tastes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from contracts.errors import ArtifactError, SettingsError
from eventlog.files import write_events
from nextclick.cli import build_app
from replay.synthetic.shoppers import Tastes, make_shop, shoppers, write_shop
from tests.rerank.traffic import traffic

pytestmark = [pytest.mark.torch, pytest.mark.slow]
SETTINGS = """
[session_model]
dim = 8
train_epochs = 1

[reranker]
trees = 5

[user_models]
train_epochs = 1
hidden = [16]
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    made = make_shop(np.random.default_rng(1), 300)
    write_shop(made, shoppers(made, 900, np.random.default_rng(2), tastes=Tastes(60)), folder)
    (folder / "settings.toml").write_text(SETTINGS)
    return folder


def run(*words: str | Path) -> tuple[str, BaseException | None]:
    done = CliRunner().invoke(build_app(), [*map(str, words)], env={"COLUMNS": "200"})
    return done.output, done.exception


def test_user_models_are_judged_beside_the_pipeline(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    options = ("--items", shop / "items.jsonl.zst", "--settings", shop / "settings.toml", "--limit-cases", "60")
    asked = ("--model", "own", "--model", "profile", "--model", "tower", "--out", out)
    shown, error = run("evaluate", "users", shop / "events.jsonl.zst", *options, *asked)
    assert error is None, shown
    assert "pipeline" in shown
    found = orjson.loads(out.read_bytes())
    assert [row["name"] for row in found["rows"]["arrival"]] == ["session pipeline alone", "own", "profile", "tower"]
    for rows in found["rows"].values():
        assert all(row["cases"] == rows[0]["cases"] > 20 for row in rows)
        assert rows[0]["differences"]["ndcg"] == {"value": 0.0, "low": 0.0, "high": 0.0}
        for row in rows:
            mrr, ndcg, hit_rate = (row["gains"][name]["value"] for name in ("mrr", "ndcg", "hit_rate"))
            assert 0.0 <= mrr <= ndcg <= hit_rate
            if row["weight"] == 0.0:
                assert row["gains"] == rows[0]["gains"]
    assert found["visitors_judged"] > 10


def test_a_user_tower_is_trained_beside_its_session_model(shop: Path, tmp_path: Path) -> None:
    said, error = run("train", "user-tower", shop / "events.jsonl.zst", "--artifacts", tmp_path)
    assert isinstance(error, ArtifactError | SettingsError), said
    words = ("--items", shop / "items.jsonl.zst", "--settings", shop / "settings.toml")
    made, error = run("train", "session-model", shop / "events.jsonl.zst", *words, "--out", tmp_path)
    assert error is None, made
    versions = []
    for _ in range(2):
        said, error = run("train", "user-tower", shop / "events.jsonl.zst", *words, "--artifacts", tmp_path)
        assert error is None, said
        versions.append(orjson.loads((tmp_path / "user_tower" / "manifest.json").read_bytes())["version"])
    assert versions[0] == versions[1]


def test_a_log_without_user_ids_is_refused(tmp_path: Path) -> None:
    write_events(tmp_path / "log.jsonl.zst", traffic(400))
    _, error = run("evaluate", "users", tmp_path / "log.jsonl.zst", "--train-days", "0.1", "--tune-days", "0.05")
    assert isinstance(error, SettingsError)
    assert "visits of visitors with a history to choose weights on" in str(error)
    _, error = run("evaluate", "users", tmp_path / "log.jsonl.zst")
    assert "got a log of 0.3 days: choose fewer" in str(error)


def test_a_model_that_is_none_is_named(shop: Path) -> None:
    _, error = run("evaluate", "users", shop / "events.jsonl.zst", "--model", "magic")
    assert "expected --model to be one of own, profile, tower" in str(error)
    assert str(error).endswith("got 'magic'")

"""Features that a gateway reads, beside those that its re-ranker learnt from."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.drift import LEAST_PAGES, FeatureWatch
from gateway.models import load_models
from nextclick.stack.shop_models import ARTIFACTS
from rerank.drift import SCORE, Baseline
from rerank.features import FEATURES
from rerank.ranker import Ranker
from tests.gateway.conftest import Client, Start, event
from tests.gateway.test_scenarios import ask, stock_up
from tests.rerank.test_ranker import ranker

pytestmark = pytest.mark.usefixtures("streams")
HOUR_MS = 3_600_000


def with_baseline(rows: np.ndarray, model_version: int = 0) -> Ranker:
    plain = ranker("popularity", model_version)
    baseline = Baseline.of((*FEATURES, SCORE), np.column_stack([rows, plain.rank_scores(rows)]))
    return Ranker(plain._model, model_version=model_version, baseline=baseline)


def drawn(seed: int, n: int = 1000) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, len(FEATURES))).astype(np.float32)


def test_nothing_is_said_of_few_pages_nor_without_a_baseline() -> None:
    watch = FeatureWatch(with_baseline(drawn(1)), 1, HOUR_MS)
    for n in range(LEAST_PAGES - 1):
        watch.saw(drawn(n, 50), 0)
    assert watch.drifts() == []
    watch.saw(drawn(99, 50), 0)
    assert {one.name for one in watch.drifts()} == {*FEATURES, SCORE}
    assert max(one.psi for one in watch.drifts()) < 0.1
    without = FeatureWatch(ranker(), 1, HOUR_MS)
    without.saw(drawn(1), 0)
    assert (without.pages, without.drifts()) == (0, [])


def test_a_page_of_so_many_is_counted_and_windows_take_turns() -> None:
    watch = FeatureWatch(with_baseline(drawn(1)), 10, HOUR_MS)
    for _ in range(3000):
        watch.saw(drawn(1, 5), 0)
    assert watch.pages == 300
    for now, pages in ((HOUR_MS, 301), (HOUR_MS + 1, 302), (2 * HOUR_MS, 3), (9 * HOUR_MS, 2)):
        for _ in range(10):
            watch.saw(drawn(1, 5), now)
        assert watch.pages == pages


async def test_a_catalogue_unlike_that_of_training_is_seen_on_metrics(start: Start, tmp_path: Path) -> None:
    artifacts = Path(shutil.copytree(ARTIFACTS, tmp_path / "artifacts"))
    encoder = load_models(str(artifacts)).encoder
    assert encoder is not None
    with_baseline(drawn(1), encoder.version).save(artifacts / "reranker")
    client = await start(artifacts=str(artifacts), drift_every=1)
    await stock_up(client)
    for n in range(LEAST_PAGES):
        clicked = [event(f"e{n}", f"s{n}")]
        await ask(client, "homepage", session_id=f"s{n}", recent_events=clicked)
        await ask(client, "cart", session_id=f"s{n}", recent_events=clicked)  # other pages are not compared
        await ask(client, "homepage", session_id=f"nobody{n}")  # nor those of unknown visitors
    found = await gauges(client, "nextclick_gateway_drift_psi")
    assert {*found} == {*FEATURES, SCORE}
    assert found["popularity"] > 0.25
    assert 0 < (await gauges(client, "nextclick_gateway_drift_ks"))["popularity"] <= 1
    assert LEAST_PAGES <= (await gauges(client, "nextclick_gateway_drift_pages"))[""] < LEAST_PAGES + 10
    answer = await (await client.get("/api/quality")).json()
    psi = {one["name"]: one["psi"] for one in answer["drift"]}
    assert psi == pytest.approx(found)
    assert LEAST_PAGES <= answer["drift_pages"] < LEAST_PAGES + 10


async def gauges(client: Client, name: str) -> dict[str, float]:
    text = await (await client.get("/metrics")).text()
    families = {one.name: one for one in text_string_to_metric_families(text)}
    return {sample.labels.get("feature", ""): sample.value for sample in families[name].samples}

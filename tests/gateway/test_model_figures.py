"""Which models serve, how old they are and how retraining went, on `/metrics`."""

from __future__ import annotations

from pathlib import Path

from gateway.model_figures import ModelFigures, Serving
from nextclick.stack.shop_models import ARTIFACTS
from registry.folder import Registry
from registry.retrained import note_retrained


def shown(figures: ModelFigures) -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("nextclick_gateway_"), *sample.labels.values()): sample.value
        for family in figures.collect()
        for sample in family.samples
    }


async def test_a_version_of_a_registry_says_when_it_was_made_and_how_the_last_retrainings_went(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    version = registry.add(ARTIFACTS, now_ms=1_790_000_000_000)
    note_retrained(registry.folder, "refused", at_ms=1_790_000_100_000, took_s=60.0)
    serving = Serving(version.name, "a" * 16, "b" * 16)
    figures = ModelFigures(str(registry.folder / "serving"), lambda: serving)
    await figures.refresh()
    assert shown(figures) == {
        ("model_info", version.name, "a" * 16, "b" * 16): 1,
        ("model_made_timestamp_seconds",): 1_790_000_000,
        ("retrain_timestamp_seconds", "refused"): 1_790_000_100,
        ("retrain_seconds", "refused"): 60,
    }


async def test_artifacts_of_no_registry_have_no_age() -> None:
    figures = ModelFigures(str(ARTIFACTS), lambda: Serving(None, "a" * 16, "none"))
    await figures.refresh()
    assert shown(figures) == {("model_info", "", "a" * 16, "none"): 1}


async def test_a_version_that_was_taken_away_shows_no_age(tmp_path: Path) -> None:
    figures = ModelFigures(str(tmp_path / "serving"), lambda: Serving("20261129T045300-1f3a9c2e", "none", "none"))
    await figures.refresh()
    assert ("model_made_timestamp_seconds",) not in shown(figures)

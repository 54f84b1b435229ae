"""A re-ranker that is published is taken up by a gateway that serves; what cannot be loaded changes nothing."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.keys import LIVE_MODELS
from gateway.models import load_models
from nextclick.stack.shop_models import ARTIFACTS
from registry.folder import Registry
from tests.gateway.conftest import Client, Start
from tests.gateway.test_scenarios import ask, stock_up
from tests.rerank.test_ranker import ranker

pytestmark = pytest.mark.usefixtures("streams")
NOW = 1_795_000_000_000


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Two versions, of one session model: the first serves."""
    other = Path(shutil.copytree(ARTIFACTS, tmp_path / "other"))
    encoder = load_models(str(other)).encoder
    assert encoder is not None
    ranker("popularity", encoder.version).save(other / "reranker")
    registry = Registry(tmp_path / "models")
    for n, folder in enumerate((ARTIFACTS, other)):
        registry.add(folder, now_ms=NOW + 1000 * n)
    registry.publish(registry.names()[0], now_ms=NOW)
    return registry


async def serving(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = (await (await client.get("/readyz")).json())["models"]
    return found


def facts(registry: Registry, name: str) -> dict[str, str | None]:
    version = registry.read(name)
    return {"version": name, "session_model": version.session_model, "reranker": version.reranker}


async def test_a_reranker_is_taken_up_and_given_back_while_answers_go_on(start: Start, registry: Registry) -> None:
    first, second = registry.names()
    client = await start(artifacts=str(registry.folder / "serving"))
    await stock_up(client)
    models = client.server.app[LIVE_MODELS]  # type: ignore[attr-defined]
    assert await serving(client) == facts(registry, first)

    async def asked() -> list[list[str]]:
        answers = [await ask(client, "homepage", session_id=f"s{n}") for n in range(20)]
        return [answer["degraded"] for answer in answers]

    answers = asyncio.create_task(asked())
    registry.publish(second, now_ms=NOW)
    await models.look()
    assert await serving(client) == facts(registry, second)
    registry.rollback(now_ms=NOW)
    await models.look()
    assert await serving(client) == facts(registry, first)
    assert await answers == [[]] * 20
    assert models.swaps == 2


async def test_models_that_cannot_be_loaded_change_nothing(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(ARTIFACTS, tmp_path / "plain"))
    client = await start(artifacts=str(folder))
    models, before = client.server.app[LIVE_MODELS], await serving(client)  # type: ignore[attr-defined]
    trees = folder / "reranker" / "ranker.ubj"
    trees.write_bytes(b"none")
    (folder / "reranker" / "manifest.json").touch()
    for _ in range(2):
        await models.look()
    assert (await serving(client), models.refused) == (before, 1)
    assert before["version"] is None
    assert len([one for one in caplog.messages if "going on with the models that serve" in one]) == 1

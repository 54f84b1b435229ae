"""A re-ranker that is published is taken up by a gateway that serves; what cannot be loaded changes nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from contracts.settings import IndexSettings
from gateway.keys import CATALOGUE, LIVE_MODELS, MODELS, SETTINGS
from gateway.models import load_models
from nextclick.stack.shop_models import ARTIFACTS
from registry.folder import Registry
from retrieval.builder import Builder
from tests.gateway.catalogue_table import other_model
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


async def asked_for_ever(client: Client, seen: list[tuple[int, dict[str, Any]]]) -> None:
    """Keep what is answered, and how."""
    while True:
        async with client.post("/api/recommendations/homepage", json={"session_id": f"s{len(seen) % 50}"}) as answer:
            seen.append((answer.status, await answer.json()))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(100):
        while not condition():  # noqa: ASYNC110 (a number that another task changes)
            await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_a_session_model_of_a_small_catalogue_is_taken_up_and_rolled_back_under_load(
    start: Start, registry: Registry, tmp_path: Path
) -> None:
    """Too few items for a snapshot of its own accord: the gateway asks for one, and the builder goes back to it."""
    first, other = registry.names()[0], tmp_path / "other"
    version = other_model(other)
    second = registry.add(other, now_ms=NOW + 9000).name
    index = IndexSettings.model_validate({"folder": str(tmp_path / "index"), "check": 0.05})
    client = await start(artifacts=str(registry.folder / "serving"), index=index)
    await stock_up(client)
    app: Any = client.server.app  # type: ignore[attr-defined]
    builder, live = Builder(app[SETTINGS]), app[LIVE_MODELS].live
    seen: list[tuple[int, dict[str, Any]]] = []
    asking = asyncio.create_task(asked_for_ever(client, seen))

    def mixed() -> bool:
        encoder = app[MODELS]().encoder
        return encoder is None or encoder.version != app[CATALOGUE].model_version

    async def served(name: str) -> list[tuple[int, dict[str, Any]]]:
        """Let a version serve; returns what was answered by it."""
        before = live.swaps
        while live.swaps == before:
            why = await asyncio.to_thread(builder.look)
            if why is not None:
                await asyncio.to_thread(builder.build, why)
            assert not mixed()
            await asyncio.sleep(0.01)
        assert await serving(client) == facts(registry, name)
        count = len(seen)
        await until(lambda: len(seen) > count + 20 or asking.done())
        return seen[count + 1 :]

    await until(lambda: len(seen) > 20 or asking.done())
    registry.publish(second, now_ms=NOW)
    assert {answer["model_version"] for _, answer in await served(second)} == {version}
    registry.rollback(now_ms=NOW)
    assert {answer["model_version"] for _, answer in await served(first)} == {registry.read(first).session_model}
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    assert {status for status, _ in seen} == {200}
    assert all(answer["degraded"] in ([], ["no_ranker"]) and answer["recommendations"] for _, answer in seen)
    builder.close()


async def test_a_reranker_that_comes_while_its_session_model_waits_is_taken_up_with_it(
    start: Start, registry: Registry, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    version = other_model(other)
    with_it = registry.add(other, now_ms=NOW + 9000).name
    ranker("last_similarity", int(version, 16)).save(other / "reranker")
    newer = registry.add(other, now_ms=NOW + 10_000).name
    index = IndexSettings.model_validate({"folder": str(tmp_path / "index"), "check": 0.05})
    client = await start(artifacts=str(registry.folder / "serving"), index=index)
    await stock_up(client)
    app: Any = client.server.app  # type: ignore[attr-defined]
    registry.publish(with_it, now_ms=NOW)
    await app[LIVE_MODELS].look()
    registry.publish(newer, now_ms=NOW)
    await app[LIVE_MODELS].look()
    builder = Builder(app[SETTINGS])
    await asyncio.to_thread(lambda: builder.build(str(builder.look())))
    await until(lambda: app[MODELS]().name == newer)
    assert await serving(client) == facts(registry, newer)
    builder.close()

"""A candidate in the shadow: asked after the answers, compared, never shown; and left out where there is no time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.settings import RedisSettings
from gateway.keys import MODELS, SHADOW
from gateway.shadow import MOST_WAITING, Shadow
from gateway.shadow_figures import compared
from nextclick.stack.shop_models import ARTIFACTS
from registry.folder import Registry
from registry.shadow import ShadowChoice
from rerank.pipeline import RankedItem
from state.shadow_sums import ShadowSums
from tests.gateway.catalogue_table import other_model
from tests.gateway.conftest import Client, Start
from tests.gateway.test_live_models import registry as registry
from tests.gateway.test_scenarios import ask, stock_up

NOW = 1_795_000_000_000


def page(*items: tuple[str, float]) -> list[RankedItem]:
    return [RankedItem(item_id, score, "popular", None) for item_id, score in items]


def test_two_pages_are_compared_by_what_both_have_its_order_and_its_scores() -> None:
    shown = page(("a", 3.0), ("b", 2.0), ("c", 1.0), ("d", 0.5))
    same = compared(shown, shown)
    assert (same.overlap, same.correlation, same.difference) == (1.0, 1.0, 0.0)
    other = compared(shown, page(("x", 9.0), ("c", 2.0), ("b", 2.0), ("a", 2.0)))
    assert (other.overlap, other.correlation, other.difference) == (0.75, -1.0, pytest.approx(2 / 3))
    few = compared(shown, page(("a", 4.0), ("y", 1.0)))
    assert (few.overlap, math.isnan(few.correlation), few.difference) == (0.25, True, 1.0)
    nothing = compared([], [])
    assert (nothing.overlap, math.isnan(nothing.difference)) == (1.0, True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(100):
        while not condition():  # noqa: ASYNC110 (a number that another task changes)
            await asyncio.sleep(0.01)


async def shadowed(start: Start, registry: Registry, name: str) -> tuple[Client, Shadow]:
    client = await start(artifacts=str(registry.folder / "serving"))
    await stock_up(client)
    registry.put_in_shadow(ShadowChoice(name=name, share=1.0))
    shadow = client.server.app[SHADOW]  # type: ignore[attr-defined]
    await shadow.look()
    return client, shadow


@pytest.mark.usefixtures("streams")
async def test_a_candidate_answers_after_what_serves_and_is_never_shown(
    start: Start, registry: Registry, redis_settings: RedisSettings
) -> None:
    first, second = registry.names()
    client, shadow = await shadowed(start, registry, second)
    for n in range(12):
        answer = await ask(client, "homepage", session_id=f"s{n}")
        assert answer["degraded"] == []
    await until(lambda: shadow.sums.by_name["answers"] + shadow.dropped == 12)
    assert shadow.sums.by_name["answers"] > 0
    serving: Any = (await (await client.get("/readyz")).json())["models"]
    assert serving["version"] == first
    text = await (await client.get("/metrics")).text()
    assert f"nextclick_gateway_shadow_answers {shadow.sums.by_name['answers']}" in text
    counted = shadow.sums.by_name["answers"]
    await shadow.tell()
    store = ShadowSums(redis_settings)
    assert store.read(second)["answers"] == counted
    store.close()
    registry.put_in_shadow(None)
    await shadow.look()
    assert shadow.candidate is None


@pytest.mark.usefixtures("streams")
async def test_while_others_wait_and_when_too_many_do_the_shadow_is_left_out(start: Start, registry: Registry) -> None:
    client, shadow = await shadowed(start, registry, registry.names()[1])
    shadow.busy = lambda: True
    await ask(client, "homepage", session_id="s")
    await until(lambda: shadow.dropped == 1)
    models, ranked = client.server.app[MODELS](), Any  # type: ignore[attr-defined]
    for _ in range(MOST_WAITING + 3):
        shadow.offer(lambda: 1 / 0, ranked, models)  # type: ignore[arg-type, return-value]
    assert shadow.dropped == 4
    await until(lambda: shadow.dropped == MOST_WAITING + 4)
    shadow.busy = lambda: False
    shadow.offer(lambda: 1 / 0, ranked, models)  # type: ignore[arg-type, return-value]
    await until(lambda: shadow.failed == 1)
    assert shadow.sums.by_name["answers"] == 0


@pytest.mark.usefixtures("streams")
async def test_a_version_of_another_session_model_is_refused_once_and_serving_goes_on(
    start: Start, registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other_model(tmp_path / "other")
    third = registry.add(tmp_path / "other", now_ms=NOW).name
    client, shadow = await shadowed(start, registry, third)
    await shadow.look()
    assert shadow.candidate is None
    assert len([one for one in caplog.messages if one.startswith(f"no shadow: {third} has session model")]) == 1
    assert (await ask(client, "homepage", session_id="s"))["degraded"] == []


async def test_artifacts_of_no_registry_have_no_shadow(start: Start) -> None:
    client = await start(artifacts=str(ARTIFACTS))
    shadow = client.server.app[SHADOW]  # type: ignore[attr-defined]
    await shadow.look()
    await shadow.follow()
    assert shadow.candidate is None

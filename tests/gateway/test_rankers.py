"""A scenario, or a variant of an experiment, that another re-ranker ranks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.models import load_models
from nextclick.stack.shop_models import ARTIFACTS
from tests.gateway.conftest import Start, problem
from tests.gateway.test_experiments import put
from tests.gateway.test_scenarios import ask, stock_up
from tests.rerank.test_ranker import ranker

pytestmark = pytest.mark.usefixtures("streams")


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """The demo's models, and two more re-rankers: `popular`, and `old`, which is of another session model."""
    folder = Path(shutil.copytree(ARTIFACTS, tmp_path / "models"))
    encoder = load_models(str(folder)).encoder
    assert encoder is not None
    ranker("popularity", encoder.version).save(folder / "rerankers" / "popular")
    ranker("popularity", 7).save(folder / "rerankers" / "old")
    return folder


async def test_a_variant_may_be_a_ranker_of_its_own(start: Start, artifacts: Path) -> None:
    one, other = await start(artifacts=str(artifacts)), await start(artifacts=str(artifacts))
    await stock_up(one)
    variants = [{"name": "control", "share": 0.5}, {"name": "popular", "share": 0.5, "patch": {"ranker": "popular"}}]
    await put(one, "by-popularity", {"scenario": "homepage", "variants": variants})
    answers = [await ask(client, "homepage", session_id=f"s{n}") for n in range(10) for client in (one, other)]
    assert {answer["variant"] for answer in answers} == {"control", "popular"}
    assert {tuple(answer["degraded"]) for answer in answers} == {()}


async def test_a_ranker_that_cannot_rank_is_refused_with_a_pointer(start: Start, artifacts: Path) -> None:
    client = await start(artifacts=str(artifacts))
    for name, said in (("june", "there are old, popular"), ("old", "got one of 0000000000000007")):
        found = await problem(await client.put("/api/scenarios/home", json={"ranker": name}), 422)
        [error] = found["errors"]
        assert (error["pointer"], said in error["detail"]) == ("/ranker", True)
        body = {"scenario": {"ranker": name}, "request": {"session_id": "s"}}
        found = await problem(await client.post("/api/scenarios/home/preview", json=body), 422)
        assert [one["pointer"] for one in found["errors"]] == ["/scenario/ranker"]
        variants = [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5, "patch": {"ranker": name}}]
        document = {"scenario": "homepage", "variants": variants}
        found = await problem(await client.put("/api/experiments/wrong", json=document), 422)
        assert [one["pointer"] for one in found["errors"]] == ["/variants/1/patch/ranker"]


async def test_a_ranker_whose_folder_is_gone_leaves_the_usual_one_and_says_so(start: Start, artifacts: Path) -> None:
    client = await start(artifacts=str(artifacts))
    await stock_up(client)
    answer = await client.put("/api/scenarios/home", json={"ranker": "popular"})
    assert (await answer.json())["visible"] is True
    shutil.rmtree(artifacts / "rerankers")
    late = await start(artifacts=str(artifacts))
    assert (await ask(client, "home"))["degraded"] == []
    assert (await ask(late, "home"))["degraded"] == ["other_ranker"]

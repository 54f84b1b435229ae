"""/api/models: versions are listed, published, taken back and pinned; what does not fit changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from contracts.settings import RedisSettings
from nextclick.stack.shop_models import ARTIFACTS
from registry.folder import Registry
from registry.shadow import ShadowChoice
from state.audit import ADMIN, AuditLog
from state.shadow_sums import ShadowSums
from tests.gateway.api_keys import bearer, known, make_key
from tests.gateway.conftest import Client, Start, problem

NOW = 1_795_000_000_000


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Two versions of which the first serves."""
    other = Path(shutil.copytree(ARTIFACTS, tmp_path / "other"))
    shutil.rmtree(other / "reranker")
    registry = Registry(tmp_path / "models")
    for n, folder in enumerate((ARTIFACTS, other)):
        registry.add(folder, now_ms=NOW + 1000 * n, by="anna", figures={"mrr": 0.1 + n})
    registry.publish(registry.names()[0], now_ms=NOW, by="anna", why="first")
    return registry


@pytest.fixture
async def client(start: Start, registry: Registry) -> Client:
    return await start(artifacts=str(registry.folder / "serving"))


async def listed(client: Client) -> dict[str, Any]:
    response = await client.get("/api/models")
    assert response.status == 200, await response.text()
    found: dict[str, Any] = await response.json()
    return found


async def test_versions_are_listed_with_what_they_are_newest_first(client: Client, registry: Registry) -> None:
    first, second = registry.names()
    found = await listed(client)
    assert (found["serving"], found["previous"], found["pinned"], found["more"]) == (first, None, None, 0)
    assert [(one["name"], one["serving"], one["figures"]["mrr"]) for one in found["versions"]] == [
        (second, False, 1.1),
        (first, True, 0.1),
    ]
    assert found["versions"][0]["reranker"] is None
    assert [(one["did"], one["why"], one["by"]) for one in found["history"]] == [("published", "first", "anna")]
    (registry.path_of(second) / "version.json").write_text("{}")
    found = await listed(client)
    assert found["versions"][0]["damaged"].startswith("its manifest cannot be read")


async def test_the_candidate_in_the_shadow_is_marked_with_what_all_gateways_found(
    client: Client, registry: Registry, redis_settings: RedisSettings
) -> None:
    assert (await listed(client))["shadow"] is None
    name = registry.names()[0]
    registry.put_in_shadow(ShadowChoice(name=name, share=0.05, at_ms=NOW, by="anna"))
    none_yet = dict.fromkeys(("overlap_at_10", "rank_correlation", "score_difference"))
    about = {"name": name, "share": 0.05, "at_ms": NOW, "by": "anna"}
    assert (await listed(client))["shadow"] == {**about, "answers": 0, **none_yet}
    sums = ShadowSums(redis_settings)
    sums.add(name, {"answers": 4, "overlap": 3, "correlated": 2, "correlation": 1, "common": 0})
    sums.close()
    found = await listed(client)
    assert found["shadow"] == {**about, "answers": 4, **none_yet, "overlap_at_10": 0.75, "rank_correlation": 0.5}
    assert [one["shadow"] for one in found["versions"]] == [False, True]


async def test_a_version_is_published_taken_back_and_pinned_with_a_reason(client: Client, registry: Registry) -> None:
    first, second = registry.names()
    published = await client.post(f"/api/models/{second}/publish", json={"why": "better", "serving": first})
    assert (published.status, (await published.json())["before"]) == (200, first)
    assert registry.serving() == second
    rolled = await client.post("/api/models/rollback", json={"why": "fewer clicks", "serving": second})
    assert (rolled.status, registry.serving()) == (200, first)
    pinned = await client.post("/api/models/pin", json={"name": first, "why": "christmas"})
    assert (await pinned.json())["pinned"] == first
    refused = await problem(await client.post(f"/api/models/{second}/publish", json={"why": "better"}), 409)
    assert f"{first} is pinned" in refused["detail"]
    assert (await client.post("/api/models/pin", json={"name": None, "why": "over"})).status == 200
    found = await listed(client)
    assert [(one["did"], one["name"], one["why"]) for one in found["history"]] == [
        ("let go", first, "over"),
        ("pinned", first, "christmas"),
        ("rolled back", first, "fewer clicks"),
        ("published", second, "better"),
        ("published", first, "first"),
    ]


async def test_what_does_not_fit_is_refused_and_changes_nothing(client: Client, registry: Registry) -> None:
    first, second = registry.names()
    unknown = "20200101T000000-00000000"
    for path, document, status, said in (
        (f"{second}/publish", {"why": "x", "serving": second}, 409, f"expected {second} to serve, got {first}"),
        (f"{second}/publish", {}, 422, "/why"),
        (f"{second}/publish", {"why": ""}, 422, "/why"),
        (f"{unknown}/publish", {"why": "x"}, 404, f"there is no version {unknown}"),
        ("..%2fx/publish", {"why": "x"}, 404, "expected the name of a version"),
        ("rollback", {"why": "x"}, 409, "served before, found none"),
        ("pin", {"name": unknown, "why": "x"}, 404, f"there is no version {unknown}"),
        ("pin", {"why": "x"}, 422, "/name"),
    ):
        response = await client.post(f"/api/models/{path}", json=document)
        assert said in str(await response.json(content_type=None)), path
        assert response.status == status
    (registry.path_of(second) / "session_model" / "manifest.json").write_text("{}")
    damaged = await problem(await client.post(f"/api/models/{second}/publish", json={"why": "x"}), 409)
    assert "expected SHA-256" in damaged["detail"]
    foreign = await client.post("/api/models/rollback", json={"why": "x"}, headers={"Origin": "https://evil.example"})
    assert foreign.status == 403
    assert (registry.serving(), registry.pinned(), len(registry.history())) == (first, None, 1)


async def test_without_a_registry_it_is_said_how_to_make_one(start: Start) -> None:
    for artifacts in ("", str(ARTIFACTS)):
        client = await start(artifacts=artifacts)
        said = await problem(await client.get("/api/models"), 404)
        assert "nextclick models add ARTIFACTS --folder registry --publish" in said["detail"]
        assert (await client.post("/api/models/rollback", json={"why": "x"})).status == 404


async def test_a_change_is_in_the_audit_log_and_the_history_names_the_key(
    start: Start, registry: Registry, redis_settings: RedisSettings
) -> None:
    client = await start(artifacts=str(registry.folder / "serving"), keys="required")
    key = make_key(redis_settings, "admin")
    await known(client, key)
    second = registry.names()[1]
    path = f"/api/models/{second}/publish"
    assert (await client.post(path, json={"why": "better"}, headers=bearer(key.text))).status == 200
    assert registry.history()[-1].by == key.key.id
    audit = AuditLog(redis_settings)
    assert [one.what for one in audit.newest(ADMIN)] == [f"POST {path}"]
    audit.close()

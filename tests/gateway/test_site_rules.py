"""A rule of the site's own reads what a request says of its visitor."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rerank.query import PipelineSettings
from tests.extending.scratch import write_files
from tests.gateway.conftest import Start, put_items


@pytest.mark.usefixtures("streams")
async def test_the_context_of_a_request_reaches_a_rule_of_the_sites_own(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files("A rule", tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "shop_rules", raising=False)
    client = await start(pipeline=PipelineSettings(rules=("shop_rules:members_only",)))
    await put_items(client, {"item_id": "shoe-1", "title": "dear", "price": 900.0, "stock": 5})
    await put_items(client, {"item_id": "shoe-2", "title": "cheap", "price": 9.0, "stock": 5})
    found = []
    for context in ({}, {"member": True}, {"member": "yes"}):
        asked = {"session_id": "s-1", "candidates": ["shoe-1", "shoe-2"], "context": context}
        answer = await (await client.post("/api/recommendations/cart", json=asked)).json()
        found.append((sorted(one["product_id"] for one in answer["recommendations"]), answer["dropped"]))
    stranger = (["shoe-2"], {"members_only": 1})
    assert found == [stranger, (["shoe-1", "shoe-2"], {}), stranger]

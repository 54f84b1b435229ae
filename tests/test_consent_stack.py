"""A visitor without consent leaves no trace in a whole stack that keeps all that can be kept; one with consent does, in
the same places: so the search would find what it looks for.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
from typer.testing import CliRunner

from nextclick.cli import build_app
from nextclick.stack.client import Client
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.shop_models import ARTIFACTS
from nextclick.stack.stack import Stack
from replay.synthetic.shoppers import default_shop
from tests.held import everything_in, files_with
from tests.test_end_to_end import line

QUIET, LOUD = "quietvisitor", "loudvisitor"
CAPS = {"push": {"pages": 1, "within": "P1D"}}
SCENARIO = {"base": "homepage", "fatigue": {"shown": 2, "within": "P1D"}}
EXPERIMENT = {
    "scenario": "front",
    "unit": "user",
    "variants": [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5, "patch": {"seen": "none"}}],
}


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A stack that records, keeps answers, counts what came of pages, and watches the data."""
    for name, value in {
        "RECORD__TO": str(tmp_path / "recordings"),
        "ANSWERS__TO": str(tmp_path / "answers"),
        "GATEWAY__CAPS": json.dumps(CAPS),
        "ATTRIBUTION__RUN": "true",
        "QUALITY__RUN": "true",
        "LOGS__FORMAT": "json",
    }.items():
        monkeypatch.setenv(f"NEXTCLICK_{name}", value)
    options = StackOptions(port=0, folder=tmp_path / "stack")
    with Stack(StackSettings(stack=options, artifacts=str(ARTIFACTS))) as running:
        yield running


class Visitor:
    """Somebody who does all that a visitor can do. `said`: what each event and request says of consent."""

    def __init__(self, client: Client, name: str, items: list[str], said: dict[str, Any]) -> None:
        self.client, self.items, self.said = client, items, said
        self.session, self.user, self.name = f"s-{name}-1", f"u-{name}-1", name

    def event(self, kind: str, **more: Any) -> dict[str, Any]:
        who = {"session_id": self.session, "user_id": self.user, "event_id": f"e-{self.name}-{uuid.uuid4().hex}"}
        now_ms = time.time_ns() // 1_000_000
        item = {} if kind == "impression" else {"item_id": self.items[0]}
        return {"v": 1, "type": kind, "ts": now_ms, **who, **item, **more, **self.said}

    def ask(self, scenario: str, **more: Any) -> dict[str, Any]:
        return self.client.recommend(scenario, self.session, user_id=self.user, limit=5, **more, **self.said)

    def visit(self) -> int:
        """Visit, and return how many events were accepted."""
        before = self.ask("front")
        wrong = self.event("view", context="wrong")
        bought = {"value": 10.0, "currency": "EUR", "order_id": f"o-{self.name}"}
        events = [
            self.event("view", item_id=before["recommendations"][0]["item_id"], request_id=before["request_id"]),
            *(self.event("view", item_id=one) for one in self.items),
            self.event("cart"),
            self.event("purchase", **bought),
            self.event("hide", item_id=self.items[-1]),
            self.event("impression", items=self.items, request_id=before["request_id"]),
            wrong,
        ]
        told = self.client.send_events(events)
        assert [one["index"] for one in told["rejected"]] == [len(events) - 1]
        for scenario in ("front", "product", "cart", "push", "push", "email"):
            self.ask(scenario, item_id=self.items[1], recent_events=[self.event("view")])
        self.ask("front", capsule=self.ask("front", capsule="")["capsule"])
        self.ask("front", cursor=self.ask("front")["cursor"])
        page = {"session_id": self.session, "user_id": self.user, **self.said, "lists": [{"scenario": "front"}]}
        self.client._call("POST", "/api/pages", json.dumps(page).encode())
        flags = {"context": {"targetingKey": self.user, "session_id": self.session}}
        self.client._call("POST", "/ofrep/v1/evaluate/flags", json.dumps(flags).encode())
        return int(told["accepted"])


def until(condition: Any, what: str) -> None:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + 120, f"waited too long for {what}"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_visitor_without_consent_leaves_no_trace_where_one_with_consent_does(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, shop = stack.running_settings, [one for one in default_shop().items[::40] if one[1].stock]
    items = [name for name, _ in shop[:6]]
    with Client(stack.url) as client:
        client.put_items([line(*one) for one in shop])
        client.put_scenario("front", SCENARIO)
        client.put_experiment("layout", EXPERIMENT)
        assert Visitor(client, QUIET, items, {"consent": False}).visit() == 0
        assert Visitor(client, LOUD, items, {"consent": True}).visit() == 11

    def written(family: bytes) -> bool:
        names = (part for part in everything_in(settings.redis).split(b"\n") if family in part)
        return any(LOUD.encode() in name for name in names)

    for family in (b":session:", b":profile:", b":owner:", b":shown:", b":sent:push:", b"{attribution}:user:"):
        until(lambda family=family: written(family), family.decode())  # type: ignore[misc]
    for name, value in stack.redis_environment.items():
        monkeypatch.setenv(name, value)
    found = CliRunner().invoke(build_app("kpi"), ["kpi", "export", "--out", str(tmp_path / "ledger"), "--settle", "1"])
    assert found.exit_code == 0, found.output
    held = everything_in(settings.redis)
    assert (LOUD.encode() in held, QUIET.encode() in held) == (True, False)
    server = redis_client.Redis.from_url(settings.redis.url)
    server.config_set("rdbcompression", "no")
    server.save()
    server.close()
    stack.stop()
    files = files_with(tmp_path, LOUD.encode(), QUIET.encode())
    folders = {path.split("/")[0] for path in files[LOUD]}
    assert {"recordings", "ledger", "stack"} <= folders
    assert any(path.endswith(".rdb") for path in files[LOUD])
    assert any(path.endswith(".aof") for path in files[LOUD])
    assert files[QUIET] == []

"""Dashboards and alerts ask for what our processes export alone; Grafana and Prometheus can read them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from contracts.feed_status import FeedsStatus
from contracts.settings import RedisSettings
from flows import counted
from gateway.feed_pages import figures as feed_figures
from gateway.live_index import watch_shard
from gateway.metrics import Metrics
from gateway.replica import Replica
from gateway.replicas import watch_replica
from gateway.webhook_pages import figures as webhook_figures
from judge import figures as judge_figures
from nextclick.stack import stack_figures
from retrieval import builder_figures, shard_figures
from retrieval.shard_line import Line
from state import relay_figures
from state.async_tables import AsyncTableReader
from state.due_calls import OUTCOMES, Queue
from tests.gateway.conftest import Client
from tests.gateway.test_feed_pages import SHOP
from tests.test_docs import anchors

ROOT = Path(__file__).parents[2]
BOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
RULES = [
    rule for group in yaml.safe_load((ROOT / "deploy/alerts.yml").read_text())["groups"] for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
NAME = re.compile(r"\b(?:nextclick[_:]|process_)\w+|\bup\b")
OTHERS = {"up", "nextclick_process_info", "nextclick_gateway_connections"}
"""Of Prometheus itself, of every process that is no gateway, and of a gateway that `gateway.serving` runs
(`tests.gateway.test_connections`)."""
QUALITY = (ROOT / "gateway/quality.py").read_text()
LATER = {f"nextclick_gateway_{name}" for name in re.findall(r'PREFIX \+ "(quality_\w+)"', QUALITY)}
"""What a gateway shows once there are checks of the data (`tests.gateway.test_quality`)."""


def panels(board: Path) -> list[dict[str, Any]]:
    return [panel for panel in json.loads(board.read_text())["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Yield where each expression stands, and the expression."""
    for rule in RULES:
        yield rule.get("alert") or rule["record"], rule["expr"]
    for board in BOARDS:
        for panel in panels(board):
            for target in panel["targets"]:
                yield f"{board.name}: {panel['title']}", target["expr"].replace("$__rate_interval", "5m")


def shard_of_a_gateway() -> str:
    """Return what a gateway exports of a shard of the index, where there are some."""
    metrics = Metrics()
    watch_shard(Line(0, "unix:/nobody.sock"), metrics)
    return metrics.exposition().decode()


def relayed_table_of_a_gateway() -> str:
    """Return what a gateway exports of a table that a relay may bring."""
    metrics = Metrics()
    replica = Replica("trends", AsyncTableReader(RedisSettings(), "trends", "/nobody.sock"), lambda rows: None, list)
    watch_replica(replica, lambda: 0, metrics)
    return metrics.exposition().decode()


def names_in(text: str) -> set[str]:
    """Return the names of series that an exposition tells of, also of those that have no value yet."""
    found = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE):
        ends = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        found |= {name + end for end in ends}
    return found


async def test_every_metric_that_a_dashboard_or_an_alert_names_is_exported_by_one_of_our_processes(
    client: Client,
) -> None:
    exported = names_in(await (await client.get("/metrics")).text()) | OTHERS | LATER
    others = (builder_figures, shard_figures, judge_figures, relay_figures, stack_figures)
    for figures in (counted.FIGURES, *(one.FIGURES for one in others)):
        for family in figures.collect():
            exported.add(f"{family.name}_total" if family.type == "counter" else family.name)
    exported |= names_in(shard_of_a_gateway()) | names_in(relayed_table_of_a_gateway())
    queue = Queue(0, 0, None, None, dict.fromkeys(OUTCOMES, 0), [])
    for family in (*feed_figures(FeedsStatus(at_ms=0, feeds=(SHOP,))), *webhook_figures((queue, 0))):
        exported.add(f"{family.name}_total" if family.type == "counter" else family.name)
    exported |= {rule["record"] for rule in RULES if "record" in rule}
    assert {"nextclick_gateway_request_seconds_bucket", "nextclick_flow_records_read_total"} <= exported
    for place, expression in expressions():
        assert (names := set(NAME.findall(expression)))
        assert names <= exported, f"{place} asks for {names - exported}"


def test_there_is_a_dashboard_for_each_part() -> None:
    parts = {"requests", "freshness", "flows", "index", "business", "models", "quality"}
    assert {board.stem for board in BOARDS} == parts


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_grafana_knows_every_field_of_a_dashboard(board: Path) -> None:
    register_default_plugins()
    document = json.loads(board.read_text())
    read = json.loads(json.dumps(Dashboard.from_json(document), cls=JSONEncoder))
    assert set(unknown(document, read)) == set()


def unknown(given: Any, read: Any, place: str = "") -> Iterator[str]:
    """Yield where a field of a document was lost when Grafana's own types read it."""
    if isinstance(given, dict) and isinstance(read, dict):
        for name, value in given.items():
            if name not in read:
                yield f"{place}/{name}"
            else:
                yield from unknown(value, read[name], f"{place}/{name}")
    elif isinstance(given, list) and isinstance(read, list):
        assert len(given) == len(read)
        for at, (one, other) in enumerate(zip(given, read, strict=True)):
            yield from unknown(one, other, f"{place}/{at}")
    elif given != read:
        yield place


def test_a_field_that_grafana_does_not_know_would_be_noticed() -> None:
    register_default_plugins()
    document = json.loads(BOARDS[0].read_text())
    document["panels"][0]["gridPoss"] = document["panels"][0]["gridPos"]
    document["panels"][0]["options"]["graphModes"] = "area"
    read = json.loads(json.dumps(Dashboard.from_json(document), cls=JSONEncoder))
    assert set(unknown(document, read)) == {"/panels/0/gridPoss", "/panels/0/options/graphModes"}


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_panels_lie_beside_each_other_and_say_what_their_numbers_are(board: Path) -> None:
    known = {value for name, value in vars(units).items() if not name.startswith("_")}
    document = json.loads(board.read_text())
    taken: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels(board):
        assert panel["fieldConfig"]["defaults"]["unit"] in known, panel["title"]
        assert panel["datasource"]["uid"] == "nextclick"
    ids = [panel["id"] for panel in document["panels"]]
    assert len(set(ids)) == len(ids)


def test_prometheus_can_read_every_expression(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here: Debian's package prometheus has it")
    rules = [{"record": f"r:{at}", "expr": expression} for at, (_, expression) in enumerate(expressions())]
    (tmp_path / "all.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", "all.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_every_alert_says_what_it_means_and_leads_to_what_to_do(alert: dict[str, Any]) -> None:
    page, _, section = alert["annotations"]["runbook"].partition("#")
    assert section in anchors(ROOT / page)
    assert alert["annotations"]["summary"]
    assert alert["labels"]["severity"] in ("page", "warn")


def test_every_alert_is_tried() -> None:
    tried = "".join(path.read_text() for path in (ROOT / "tests").glob("alert_rules*.yml"))
    assert [alert["alert"] for alert in ALERTS if f"alertname: {alert['alert']}\n" not in tried] == []

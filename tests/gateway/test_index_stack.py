"""The builder beside a whole stack, and the commands that look into what it made."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from contracts.settings import IndexSettings
from nextclick.cli import build_app
from nextclick.stack.client import Client
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.shop_models import ARTIFACTS
from nextclick.stack.stack import Stack
from replay.synthetic.shoppers import default_shop

ITEMS = default_shop().items[:600]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    options = StackOptions(port=0, folder=tmp_path_factory.mktemp("stack"))
    index = IndexSettings.model_validate({"builder": True, "min_items": 500, "exact_up_to": 0, "check": 0.2})
    with Stack(StackSettings(stack=options, artifacts=str(ARTIFACTS), index=index)) as running:
        yield running


def metric(stack: Stack, name: str) -> float:
    with urlopen(f"{stack.url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"nextclick_gateway_{name} "))


def wait_for(stack: Stack, name: str, least: float) -> None:
    until = time.monotonic() + 150
    while metric(stack, name) < least:
        stack.expect_healthy()
        assert time.monotonic() < until, f"{name} stays below {least}"
        time.sleep(0.1)


def run(stack: Stack, *arguments: str) -> str:
    os.environ["NEXTCLICK_REDIS__URL"] = stack.redis_url
    try:
        found = CliRunner().invoke(build_app(), ["index", *arguments, "--folder", str(stack.folder / "index")])
    finally:
        del os.environ["NEXTCLICK_REDIS__URL"]
    assert found.exit_code == 0, found.output + repr(found.exception)
    return found.output


def lines(stack_items: list[tuple[str, object]]) -> list[bytes]:
    return [
        item.model_copy(update={"item_id": item_id}).model_dump_json(exclude_none=True).encode()  # type: ignore[attr-defined]
        for item_id, item in stack_items
    ]


@pytest.mark.slow
def test_the_builder_makes_a_snapshot_that_the_gateway_takes_up(stack: Stack, tmp_path: Path) -> None:
    client = Client(stack.url)
    assert client.put_items(lines(list(ITEMS)))["visible"] is True
    wait_for(stack, "index_swaps_total", 1)
    assert metric(stack, "index_base_items") >= 500
    more = [(f"more-{n}", item) for n, (_, item) in enumerate(ITEMS[:150])]
    assert client.put_items(lines(more))["visible"] is True
    wait_for(stack, "index_base_items", 682)  # built anew until what came since, of 750, is a tenth at most
    assert metric(stack, "index_swaps_total") >= 2
    assert client.put_items(lines([("last", ITEMS[0][1])]))["visible"] is True

    picture = tmp_path / "index.html"
    shown = run(stack, "inspect", "--artifacts", str(ARTIFACTS), "--sample", "20", "--picture", str(picture))
    assert "751" in shown
    assert "recall@100" in shown
    assert "<svg" in picture.read_text()
    assert "script" not in picture.read_text()
    assert "whole" in run(stack, "verify")
    swaps = metric(stack, "index_swaps_total")
    assert "Published" in run(stack, "build", "--artifacts", str(ARTIFACTS))
    wait_for(stack, "index_swaps_total", swaps + 1)
    assert "Serving" in run(stack, "rollback")
    wait_for(stack, "index_swaps_total", swaps + 2)
    client.close()


def test_without_a_snapshot_the_commands_say_what_to_do(tmp_path: Path) -> None:
    found = CliRunner().invoke(build_app(), ["index", "verify", "--folder", str(tmp_path)])
    assert "holds no snapshot: run `nextclick index build`" in str(found.exception)

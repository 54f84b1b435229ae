"""`nextclick experiment list | show | put | stop | promote | rollback | versions` against a real gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from rich.console import Console
from typer.testing import Result

from contracts.errors import ImportFormatError
from contracts.settings import LogSettings, RedisSettings
from gateway.app import create_app
from gateway.settings import GatewayOptions, GatewaySettings
from nextclick.commands import experiment
from nextclick.show.kept_report import kept_tables
from nextclick.stack.client import GatewayRefused
from tests.gateway.streams import Streams
from tests.nextclick.test_experiment import run as invoked

Run = Callable[..., Awaitable[Result]]
LOG = LogSettings(partitions=4)
HALF = {
    "scenario": "homepage",
    "variants": [{"name": "control", "share": 0.5}, {"name": "b", "share": 0.5, "patch": {"bury": ["shoe-1"]}}],
}


@pytest.fixture
async def run(redis_settings: RedisSettings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Run]:
    """Run `nextclick experiment` with the address of a gateway."""
    monkeypatch.setattr(experiment.console, "width", 200)  # whatever it was when the module was imported
    options = GatewayOptions(deadline_ms=10_000, visible_wait_ms=60_000)
    settings = GatewaySettings(redis=redis_settings, log=LOG, gateway=options)
    with Streams(LOG, redis_settings):
        async with TestClient(TestServer(create_app(settings))) as client, asyncio.timeout(60):
            while (await client.get("/readyz")).status != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            url = str(client.make_url(""))

            async def one(*words: object) -> Result:
                return await asyncio.to_thread(invoked, *words, "--url", url)

            yield one


async def test_an_experiment_is_put_shown_stopped_and_taken_up_again(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(orjson.dumps(HALF))
    done = await run("put", "x", path)
    assert done.output == "x: version 1 is published; every process assigns by it\n"
    listed = (await run("list")).output
    assert "running" in listed
    assert "50.0%" in listed
    shown = (await run("show", "x")).output
    assert shown.startswith("x, version 1: running\n")
    assert '"bury": [' in shown
    assert (await run("stop", "x", "--why", "broken picture")).output.startswith("x: version 2 is published")
    assert (await run("show", "x")).output.startswith("x, version 2: stopped (broken picture)\n")
    assert (await run("rollback", "x", 1)).output.startswith("x: version 3 is published")
    assert (await run("promote", "x", "b", "--why", "clicks rise")).output.startswith("x: version 4 is published")
    versions = (await run("versions", "x")).output
    assert versions.count("homepage") == 4
    assert "stopped, b promoted" in versions
    again = await run("stop", "x")
    assert isinstance(again.exception, GatewayRefused)
    assert "ended with 'b' as the scenario already" in str(again.exception)


async def test_a_document_that_is_wrong_is_named_before_it_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(orjson.dumps({**HALF, "holdout": 0.9}))
    done = await asyncio.to_thread(invoked, "put", "x", path, "--url", "http://localhost:1")
    assert isinstance(done.exception, ImportFormatError)
    assert "x.json: /holdout: Input should be less than or equal to 0.5" in str(done.exception)


def test_a_kept_report_is_told_in_tables() -> None:
    line: dict[str, Any] = {
        **{"metric": "clicks/pages", "treatment": "b", "figures": [0.1, 0.12], "difference": 0.02},
        **{"ends": [0.01, 0.03], "lift": 0.2, "lift_ends": [0.1, None], "corrected": 0.004, "early": ""},
    }
    early = {**line, "metric": "orders", "lift": None, "corrected": None, "early": "3 units, needs 200"}
    report = {
        **{"units": {"control": 1200, "b": 1190}, "left_out": {"switched": 2, "held_out": 0}},
        **{"sample_ratio": {"p": 0.81}, "comparisons": [line, {**early, "guardrail": True}]},
    }
    console = Console(width=160, file=StringIO(), record=True)
    for table in kept_tables(report):
        console.print(table)
    text = " ".join(console.export_text().split())
    assert "Sample ratio: p = 0.81" in text
    assert "left out: switched │ 2" in text
    assert "│ clicks/pages │ b │ 0.1 │ 0.12 │ +20.00% │ +0.01 to +0.03 │ 0.0040 │ │" in text
    assert "│ orders │ b │ 0.1 │ 0.12 │ +0.02 │ not yet │ - │ 3 units, needs 200; guardrail │" in text

"""Where other load tools come from, and the script for k6, run by k6 itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from eventlog.files import read_raw, write_events
from nextclick.bench.other_tools import K6, VEGETA, NoTool, find_or_build, find_tool
from replay.engine.export import export_k6, rendered
from replay.engine.pacer import FixedRate
from replay.engine.schedule import Rewriting, schedule
from replay.engine.template import GATEWAY_TEMPLATE
from tests.replay.target_server import Arrivals, target_server
from tests.replay.test_live import click


def test_a_tool_is_what_its_variable_names_before_what_is_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = tmp_path / "vegeta"
    on_path.write_text("#!/bin/sh\n")
    on_path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("NEXTCLICK_VEGETA", raising=False)
    assert find_tool(VEGETA) == str(on_path)
    monkeypatch.setenv("NEXTCLICK_VEGETA", "/opt/vegeta")
    assert find_tool(VEGETA) == "/opt/vegeta"


def test_without_a_tool_and_without_go_it_is_said_what_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("NEXTCLICK_VEGETA", raising=False)
    with pytest.raises(
        NoTool, match="expected vegeta on the path, or named by NEXTCLICK_VEGETA; there is none, and no Go"
    ):
        find_or_build(VEGETA)


@pytest.mark.parametrize(
    ("script", "within_s", "said"),
    [("echo no such module >&2; exit 1", 60.0, "no such module"), ("/bin/sleep 60", 1.0, "took more than 1 s")],
)
def test_a_build_that_fails_or_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, within_s: float, said: str
) -> None:
    go = tmp_path / "go"
    go.write_text(f"#!/bin/sh\n{script}\n")
    go.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("NEXTCLICK_K6", raising=False)
    with pytest.raises(NoTool, match=said):
        find_or_build(K6, within_s=within_s)
    assert not K6.built.exists()


async def test_k6_sends_every_request_of_the_script_once(tmp_path: Path) -> None:
    try:
        binary = find_tool(K6)
    except NoTool as reason:
        pytest.skip(str(reason))
    recording, script, arrivals = tmp_path / "day.jsonl.zst", tmp_path / "script.js", Arrivals()
    write_events(recording, [click(n, f"s{n % 4}", f"i{n % 5}") for n in range(40)])
    async with target_server(arrivals) as (_, url):
        plan = schedule(read_raw(recording), FixedRate(20.5), Rewriting("r"), start_ms=1_700_000_000_000)
        assert export_k6(rendered(plan, GATEWAY_TEMPLATE, url), script) == 40
        k6 = await asyncio.create_subprocess_exec(
            *(binary, "run", "--no-usage-report", "--quiet", "--no-color", str(script)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(k6.communicate(), 500)
    assert k6.returncode == 0, said.decode()
    assert sorted(arrivals.ids()) == sorted(f"r-e{n}" for n in range(40)), said.decode()
    assert "100.00%" in said.decode(), said.decode()  # of the checks

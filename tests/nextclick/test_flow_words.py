"""What `nextclick flow` says of mistakes that only show when it runs: never a traceback, never what is not so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.settings import RedisSettings
from state.ports import free_port
from state.shards import catalogue_writer
from tests.nextclick.test_flow_workers import workers_of
from tests.processes import ROOT, alive, wait_for

pytestmark = pytest.mark.slow


@contextmanager
def running(redis: RedisSettings, said: Path, *arguments: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `nextclick flow`, its words in a file; a word of it may be misspelt in `more`."""
    ours = {"NEXTCLICK_REDIS__URL": redis.url, "NEXTCLICK_REDIS__PREFIX": redis.prefix, **more}
    with said.open("wb") as out:
        command = [sys.executable, "-m", "nextclick", "flow", *arguments]
        process = subprocess.Popen(command, env={**os.environ, **ours}, cwd=ROOT, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("name", ["items", "sessions"])
def test_a_flow_of_another_number_of_shards_ends_with_what_to_do(
    name: str, redis_settings: RedisSettings, tmp_path: Path
) -> None:
    table = catalogue_writer(redis_settings.model_copy(update={"item_shards": 3}))
    table.claim()
    table.close()
    with running(redis_settings, tmp_path / "said", name) as process:
        assert process.wait(120) == 78
    said = (tmp_path / "said").read_text()
    assert "items is stored as 3 shards" in said
    assert "NEXTCLICK_REDIS__ITEM_SHARDS says 1: set it to 3" in said
    assert "Traceback" not in said
    assert "panicked" not in said


def test_a_misspelt_variable_is_named(redis_settings: RedisSettings, tmp_path: Path) -> None:
    with running(redis_settings, tmp_path / "said", "items", NEXTCLICK_REDIS_URL="redis://127.0.0.1:1/0"):
        wait_for(lambda: "NEXTCLICK_REDIS_URL is no setting" in (tmp_path / "said").read_text())
    assert "did you mean NEXTCLICK_REDIS__URL?" in (tmp_path / "said").read_text()


def test_machines_of_trends_say_who_is_waited_for_and_that_one_went(
    redis_settings: RedisSettings, tmp_path: Path
) -> None:
    port = free_port()
    addresses = [f"127.0.0.{2 + number}:{port}" for number in range(2)]
    given = [word for address in addresses for word in ("--address", address)]
    first, second = tmp_path / "first", tmp_path / "second"
    with running(redis_settings, first, "trends", "--index", "0", *given) as waits:
        wait_for(lambda: f"counts once all 2 processes are there: {', '.join(addresses)}" in first.read_text())
        with running(redis_settings, second, "trends", "--index", "1", *given) as goes:
            for said in (first, second):
                wait_for(lambda said=said: "all 2 processes of the trends flow are there" in said.read_text())  # type: ignore[misc]
            lost, left = [goes.pid, *workers_of(goes)], workers_of(waits)
            for pid in lost:
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: "another process of this flow went" in first.read_text())
        wait_for(lambda: "the trends flow died (exit code 1); next start in" in first.read_text())
        assert not any(map(alive, left))
    assert "Traceback" not in first.read_text()

"""A process that refuses its settings or artifacts says so in one line, and by its exit status."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contracts.settings import RedisSettings
from nextclick.stack.shop_models import ARTIFACTS
from state.client import connect
from state.ports import free_port
from state.restore_mark import RestoreMark, Step

GATEWAY = ["-m", "gateway"]
BUILDER = ["-m", "retrieval.builder"]
FLOWS = [["-m", "bytewax.run", f"flows.{name}:flow"] for name in ("items", "sessions", "trends")]
ALL_FLOWS = [*FLOWS, *(["-m", "bytewax.run", f"flows.{name}:flow"] for name in ("profiles", "attribution", "quality"))]
SETTING = {"NEXTCLICK_REDIS__TIMEOUT_MS": "soon"}
WORKERS = {"NEXTCLICK_GATEWAY__PROCESSES": "2", "NEXTCLICK_GATEWAY__PORT": "0"}


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("command", [GATEWAY, BUILDER, *FLOWS], ids=lambda command: str(command[-1]))
def test_a_wrong_setting_is_one_line_and_an_exit_status_of_its_own(command: list[str]) -> None:
    ended = run(command, SETTING)
    assert ended.returncode == 78
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert ended.stderr.startswith("NEXTCLICK_REDIS__TIMEOUT_MS: ")


@pytest.mark.parametrize("command", [GATEWAY, *ALL_FLOWS], ids=lambda command: str(command[-1]))
def test_nothing_starts_on_half_of_a_backup(command: list[str], redis_settings: RedisSettings) -> None:
    client = connect(redis_settings)
    RestoreMark(redis_settings.prefix, "20261129T070000Z").set(client, Step.PLACING)
    client.close()
    redis = {"NEXTCLICK_REDIS__URL": redis_settings.url, "NEXTCLICK_REDIS__PREFIX": redis_settings.prefix}
    ended = run(command, {**redis, "NEXTCLICK_GATEWAY__PORT": str(free_port())})
    assert (ended.returncode, len(ended.stderr.splitlines())) == (78, 1), ended.stderr
    assert ended.stderr.endswith(
        "expected a whole deployment, found half of a backup: a restore began at 20261129T070000Z and has not ended. "
        "Wait until it has; where it was killed run `nextclick restore` again, with --replace\n"
    )


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Artifacts whose every array is cut short."""
    folder = tmp_path / "artifacts"
    shutil.copytree(ARTIFACTS, folder)
    for array in (folder / "session_model").glob("*.npy"):
        array.write_bytes(array.read_bytes()[:-8])
    return folder


@pytest.mark.parametrize("command", [GATEWAY, BUILDER, *FLOWS[:2]], ids=lambda command: str(command[-1]))
def test_artifacts_that_cannot_be_loaded_are_one_line_and_the_same_status(command: list[str], damaged: Path) -> None:
    ended = run(command, {"NEXTCLICK_ARTIFACTS": str(damaged), "NEXTCLICK_INDEX__FOLDER": str(damaged / "index")})
    assert ended.returncode == 78
    assert "Traceback" not in ended.stderr
    assert str(damaged) in ended.stderr.splitlines()[-1]


def test_a_builder_without_a_folder_refuses_alike() -> None:
    ended = run(BUILDER, {"NEXTCLICK_INDEX__FOLDER": "", "NEXTCLICK_ARTIFACTS": ""})
    assert (ended.returncode, len(ended.stderr.splitlines())) == (78, 1)


@pytest.mark.slow
def test_gateway_workers_that_refuse_end_their_parent_and_are_not_tried_for_ever(damaged: Path) -> None:
    began = time.monotonic()
    ended = run(GATEWAY, {**WORKERS, "NEXTCLICK_ARTIFACTS": str(damaged)})
    assert ended.returncode == 78
    assert "Traceback" not in ended.stderr
    assert time.monotonic() - began < 100

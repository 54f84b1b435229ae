"""`nextclick formats`: what is kept in which version, and whether two releases can run side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contracts.errors import SettingsError
from nextclick.cli import build_app


def said(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(build_app("formats"), ["formats", *arguments])
    return result.exit_code, result.output


def test_the_table_names_every_form_with_its_versions() -> None:
    status, shown = said()
    assert status == 0
    assert "attribution_unit" in shown


def test_a_release_runs_beside_itself_and_not_beside_one_that_reads_other_versions(tmp_path: Path) -> None:
    _, printed = said("--json")
    other = tmp_path / "other.json"
    other.write_text(printed)
    ours = "each reads what the other writes: they can run side by side, up and down\n"
    assert said("--beside", str(other)) == (0, ours)
    forms = json.loads(printed)
    next(one for one in forms if one["name"] == "session").update(written=2, read=[2])
    other.write_text(json.dumps(forms))
    assert said("--beside", str(other)) == (
        1,
        "session: the other release writes version 2, which this release does not read (1)\n"
        "session: this release writes version 1, which the other release does not read (2)\n",
    )


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"name":"session"}]'])
def test_a_file_of_something_else_is_refused_by_name(tmp_path: Path, text: str) -> None:
    other = tmp_path / "other.json"
    other.write_text(text)
    result = CliRunner().invoke(build_app("formats"), ["formats", "--beside", str(other)])
    assert isinstance(result.exception, SettingsError)
    assert "expected what `nextclick formats --json` of a release printed" in str(result.exception)

"""The page of failures names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/disaster.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/.]+\.py)(?:::(\w+))?`", PAGE)))


def test_every_failure_names_its_proof() -> None:
    rows = [line for line in PAGE.split("## Failures")[1].split("##")[0].splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 14
    assert [row for row in rows if "tests/" not in row and "the same" not in row] == []


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name or file for file, name in NAMED])
def test_what_it_names_is_there(file: str, name: str) -> None:
    assert (ROOT / file).is_file()
    assert f"def {name}(" in (ROOT / file).read_text() or not name

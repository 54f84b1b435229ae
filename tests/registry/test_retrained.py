"""What is kept of how the last retrainings went."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import OutputRefused
from registry.retrained import Retrained, note_retrained, read_retrained


def test_the_last_of_each_outcome_is_kept(tmp_path: Path) -> None:
    assert read_retrained(tmp_path) == {}
    note_retrained(tmp_path, "published", at_ms=1000, took_s=2.5)
    note_retrained(tmp_path, "refused", at_ms=2000, took_s=3.5)
    note_retrained(tmp_path, "published", at_ms=3000, took_s=4.5)
    assert read_retrained(tmp_path) == {"published": Retrained(3000, 4.5), "refused": Retrained(2000, 3.5)}


@pytest.mark.parametrize(
    "damage", [b"", b"[1]", b'{"published":1}', b'{"published":{"at_ms":"x","took_s":1}}', b'{"failed":{"at_ms":1e99}}']
)
def test_what_cannot_be_read_is_none(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "retrained.json").write_bytes(damage)
    assert read_retrained(tmp_path) == {}


def test_a_file_of_somebody_elses_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "retrained.json").write_text("mine")
    with pytest.raises(OutputRefused):
        note_retrained(tmp_path, "failed", at_ms=1, took_s=1.0)
    assert (tmp_path / "retrained.json").read_text() == "mine"

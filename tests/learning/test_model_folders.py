"""Where re-rankers of a name go: a name stands for one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import OutputRefused, SettingsError
from learning.model_folders import expect_reranker, reranker_folder
from tests.rerank.test_ranker import ranker


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    expect_reranker(tmp_path, "may")
    ranker().save(reranker_folder(tmp_path, "may"))
    with pytest.raises(OutputRefused, match="choose another one than 'may'"):
        expect_reranker(tmp_path, "may")
    assert reranker_folder(tmp_path, "may") == tmp_path / "rerankers" / "may"


@pytest.mark.parametrize("name", ["../x", "May", "a/b", "x" * 65])
def test_a_name_that_scenarios_cannot_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="expected a name of a to z"):
        expect_reranker(tmp_path, name)

"""Re-rankers by name: loaded once, and looked for again where one cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ArtifactError
from rerank.rankers import LOOK_AGAIN_S, Rankers
from tests.rerank.test_ranker import ranker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_ranker_is_loaded_once(tmp_path: Path) -> None:
    ranker().save(tmp_path / "rerankers" / "next")
    rankers = Rankers(str(tmp_path), Clock())
    found = rankers.named("next")
    assert found is not None
    assert rankers.named("next") is rankers.load("next") is found


def test_one_that_is_missing_is_said_once_and_looked_for_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    rankers = Rankers(str(tmp_path), clock)
    assert rankers.named("next") is None
    ranker().save(tmp_path / "rerankers" / "next")
    assert rankers.named("next") is None
    clock.now += LOOK_AGAIN_S
    assert rankers.named("next") is not None
    assert len(caplog.messages) == 1


def test_what_there_is_is_said(tmp_path: Path) -> None:
    ranker().save(tmp_path / "rerankers" / "may")
    with pytest.raises(ArtifactError, match=r"expected a re-ranker in rerankers/june .*; there are may"):
        Rankers(str(tmp_path), Clock()).load("june")
    with pytest.raises(ArtifactError, match="there are none"):
        Rankers("", Clock()).load("june")

"""Variables that a stack of its own hands down do not outlive it."""

from __future__ import annotations

import os

import pytest

from learning.training import RerankTrainingSettings
from nextclick.commands.train_reranker import Groups
from nextclick.stack.environment import environment


def test_the_environment_is_as_it_was_whatever_happened_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_THERE", "before")
    monkeypatch.delenv("NEXTCLICK_NEW", raising=False)
    inside = {}
    with environment({"NEXTCLICK_THERE": "now", "NEXTCLICK_NEW": "now"}):
        inside.update(os.environ)
    assert (inside["NEXTCLICK_THERE"], inside["NEXTCLICK_NEW"]) == ("now", "now")
    assert os.environ["NEXTCLICK_THERE"] == "before"
    with pytest.raises(KeyError), environment({"NEXTCLICK_THERE": "now"}):
        raise KeyError
    assert os.environ["NEXTCLICK_THERE"] == "before"
    assert "NEXTCLICK_NEW" not in os.environ


def test_the_help_names_the_default_number_of_groups() -> None:
    assert f"{RerankTrainingSettings().groups:,}" in Groups.__metadata__[0].help  # type: ignore[attr-defined]

"""`nextclick retrain`, with real trainings: a candidate serves where it is not worse, a poisoned one does not."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from contracts.events import Event
from eventlog.files import write_events
from nextclick.commands.retrain import publish_what_passes
from nextclick.stack.shop_models import ARTIFACTS
from registry.folder import Registry
from registry.gate import Ruling
from registry.retrained import read_retrained
from replay.synthetic.shoppers import default_shop, shoppers

NOW = 1_790_000_000_000
SETTINGS = "[session_model]\ntrain_epochs = 1\ndim = 16\n[reranker]\ngroups = 600\n"


def retrained(folder: Path, recording: str, *words: str) -> tuple[int, str]:
    (folder / "settings.toml").write_text(SETTINGS)
    options = ["--folder", "registry", "--settings", "settings.toml", "--newest", "0.2", "--may-lose", "0.1", *words]
    # it gives way to all that serves: beside other tests it would hardly run
    code = "import os; os.nice = lambda more: 0; from nextclick.cli import main; main()"
    command = [sys.executable, "-c", code, "retrain", recording, *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=550, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_a_poisoned_day_is_refused_and_kept_to_be_looked_at(tmp_path: Path) -> None:
    shop, draw = default_shop(), random.Random(1)
    events = list(shoppers(shop, 1500, np.random.default_rng(3), start_ms=NOW, span_ms=6 * 3_600_000))
    ids = [item_id for item_id, _ in shop.items]
    past = int(0.8 * len(events))

    shuffled = dict(zip(ids, draw.sample(ids, len(ids)), strict=True))

    def poisoned(at: int, event: Event) -> Event:
        """Ids mixed up, as by a tracker that sends those of another shop."""
        wrong = event.item_id is not None and at < past
        return event.model_copy(update={"item_id": shuffled[event.item_id or ""]}) if wrong else event

    write_events(tmp_path / "day.jsonl.zst", events)
    write_events(tmp_path / "poisoned.jsonl.zst", [poisoned(at, event) for at, event in enumerate(events)])
    status, said = retrained(tmp_path, "day.jsonl.zst")
    assert status == 0, said
    registry = Registry(tmp_path / "registry")
    first = registry.serving()
    assert first is not None
    assert "the first version is not judged" in said
    status, said = retrained(tmp_path, "poisoned.jsonl.zst")
    assert status == 1, said
    assert registry.serving() == first
    assert len(registry.names()) == 2, said
    [refused] = [registry.read(name) for name in registry.names() if name != first]
    assert refused.note.startswith(("Worse: mrr ", "Not shown to be as good: mrr ")), said
    assert (refused.parent, refused.data.sources, refused.data.events) == (first, ["poisoned.jsonl.zst"], past)
    assert refused.settings["session_model"]["dim"] == 16
    assert set(read_retrained(registry.folder)) == {"published", "refused"}


def test_what_passes_is_published_unless_that_is_not_asked_for_or_another_is_pinned(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    other = Path(shutil.copytree(ARTIFACTS, tmp_path / "other"))
    shutil.rmtree(other / "reranker")
    first, second = (registry.add(folder, now_ms=NOW).name for folder in (ARTIFACTS, other))
    registry.publish(first, now_ms=NOW)
    passes, worse = Ruling(True, "Better."), Ruling(False, "Worse.")
    assert publish_what_passes(registry, second, worse, publish=True) == "refused"
    assert publish_what_passes(registry, second, passes, publish=False) == "passed"
    registry.pin(first)
    assert publish_what_passes(registry, second, passes, publish=True) == "passed"
    assert registry.serving() == first
    registry.pin(None)
    assert publish_what_passes(registry, second, passes, publish=True) == "published"
    assert registry.serving() == second
    assert publish_what_passes(registry, second, passes, publish=True) == "passed"  # it served before


def test_a_metric_that_there_is_not_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    write_events(tmp_path / "day.jsonl.zst", [])
    status, said = retrained(tmp_path, "day.jsonl.zst", "--metric", "clicks")
    assert (status, "--metric: expected one of mrr, hit_rate" in said) == (1, True)

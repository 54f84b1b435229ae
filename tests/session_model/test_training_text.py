"""Training with item text: it is learnt, a new item stands by it, and the artifact insists on the same text model."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import ArtifactError
from contracts.ids import item_key
from contracts.items import Item
from session_model.item_tower import ItemTower
from session_model.serving import load_tower
from tests.session_model.text_folder import write_text_folder

torch = pytest.importorskip("torch", reason="needs the train extra")

from session_model.model import TwoTowers  # noqa: E402
from session_model.text import open_text  # noqa: E402
from session_model.training import read_content, train  # noqa: E402
from tests.session_model.test_training import SMALL, group_events, group_items  # noqa: E402

pytestmark = pytest.mark.torch
COLOURS = ("red", "blue", "shoe", "boot", "lamp", "chair")


def items_by_text_alone() -> dict[str, Item]:
    """The groups' items: each group has a word of its own."""
    return {name: Item(title=f"{COLOURS[int(name[1])]} {COLOURS[int(name[1])]}") for name in group_items()}


def test_the_numpy_tower_agrees_with_torch(tmp_path: Path) -> None:
    encoder = open_text(write_text_folder(tmp_path / "t"))
    items = items_by_text_alone()
    ids = sorted(items)
    torch.manual_seed(0)
    model = TwoTowers(
        read_content(ids, items, np.ones(len(ids), np.bool_), SMALL, encoder), 16, id_dropout=0.3, input_dropout=0.5
    ).eval()
    keys = np.array([item_key(item_id) for item_id in ids], np.uint64)
    arrays = model.export(keys, np.ones(len(ids), np.bool_))
    tower = ItemTower(**{name: arrays[name] for name in arrays if not name.startswith("gate")}, version=1, text=encoder)
    with torch.no_grad():
        expected = model.item_vectors(np.arange(len(ids))).numpy()
    vectors, _ = tower.embed(ids, [items[item_id] for item_id in ids])
    np.testing.assert_allclose(vectors, expected, atol=2e-3)  # tables are stored as float16


def test_a_new_item_stands_by_its_text_where_its_kind_stands(tmp_path: Path) -> None:
    folder, items = write_text_folder(tmp_path / "t"), items_by_text_alone()
    settings = SMALL.model_copy(update={"text": str(folder), "train_epochs": 6, "max_tokens": 0})
    train(group_events(600, 1), items, settings, tmp_path / "a" / "session_model", seed=1)
    tower = load_tower(str(tmp_path / "a"))
    assert tower is not None
    ids = sorted(items)
    vectors, _ = tower.embed(ids, [items[item_id] for item_id in ids])
    fresh, known = tower.embed(["new"], [Item(title="boot boot boot")])
    assert known.tolist() == [True]
    nearest = np.argsort(-(fresh @ vectors.T)[0])[:8]
    assert {ids[row].split("-")[0] for row in nearest} == {"g3"}


def test_the_artifact_embeds_only_with_the_text_model_that_it_was_trained_with(tmp_path: Path) -> None:
    folder, other = write_text_folder(tmp_path / "t"), write_text_folder(tmp_path / "other", seed=2)
    settings = SMALL.model_copy(update={"text": str(folder), "train_epochs": 1})
    train(group_events(100, 1), items_by_text_alone(), settings, tmp_path / "m", seed=1)
    found, _ = ItemTower.load(tmp_path / "m").embed(["new"], [Item(title="red shoe")])
    shutil.move(folder, tmp_path / "moved")
    open_text.cache_clear()
    with pytest.raises(ArtifactError, match=r"was trained with item text .* embeds no item without it"):
        ItemTower.load(tmp_path / "m")
    with pytest.raises(ArtifactError, match=f"{other} is {open_text(other).identity}"):
        ItemTower.load(tmp_path / "m", str(other))
    moved, _ = ItemTower.load(tmp_path / "m", str(tmp_path / "moved")).embed(["new"], [Item(title="red shoe")])
    np.testing.assert_allclose(moved, found, atol=1e-6)


def test_training_without_text_makes_an_artifact_without_it(tmp_path: Path) -> None:
    train(group_events(100, 1), group_items(), SMALL.model_copy(update={"train_epochs": 1}), tmp_path / "m", seed=1)
    assert not list((tmp_path / "m").glob("text*"))
    ItemTower.load(tmp_path / "m").embed(["new"], [Item(title="red shoe")])


def test_a_text_model_that_is_not_there_stops_training_before_it_starts(tmp_path: Path) -> None:
    settings = SMALL.model_copy(update={"text": str(tmp_path / "nowhere")})
    with pytest.raises(ArtifactError, match="expected a sentence-transformers folder"):
        train(group_events(100, 1), group_items(), settings, tmp_path / "m", seed=1)

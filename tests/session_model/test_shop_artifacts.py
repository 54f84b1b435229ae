"""The artifacts in the repository serve the shop that the demo opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import nextclick
from contracts.sessions import CLICK
from replay.synthetic.shoppers import Shop, default_shop
from session_model.encoder import SessionEncoder
from session_model.item_tower import ItemTower
from session_model.quality import VectorColumn

FOLDER = Path(nextclick.__file__).parent / "shop_artifacts" / "session_model"


@pytest.fixture(scope="module")
def shop() -> Shop:
    return default_shop()


@pytest.fixture(scope="module")
def vectors(shop: Shop) -> NDArray[np.float32]:
    ids, items = zip(*shop.items, strict=True)
    found, known = ItemTower.load(FOLDER).embed(ids, items)
    assert known.all()
    return found


def test_they_are_a_few_megabytes_at_most() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 3_000_000


def test_nearly_every_item_has_a_trained_id(shop: Shop) -> None:
    assert len(ItemTower.load(FOLDER).id_keys) > 0.99 * len(shop)


def test_three_clicks_in_a_category_bring_its_items(shop: Shop, vectors: NDArray[np.float32]) -> None:
    encoder = SessionEncoder.load(FOLDER)
    rng = np.random.default_rng(0)
    shares = []
    for shelf in shop.shelves:
        window = np.zeros(3, CLICK)
        window["item"], window["code"] = rng.choice(shelf[shelf >= 0], 3, replace=False), 1
        states, _ = encoder.encode([window], VectorColumn(vectors, np.ones(len(vectors), np.bool_)))
        nearest = np.argsort(-(encoder.query(states) @ vectors.T)[0])[:20]
        shares.append(np.isin(nearest, shelf).mean())
    assert float(np.mean(shares)) > 0.9
    assert float(np.min(shares)) > 0.5


def test_an_item_that_was_never_clicked_stands_near_its_category_by_content(
    shop: Shop, vectors: NDArray[np.float32]
) -> None:
    sample = np.arange(0, len(shop), 37)
    fresh, known = ItemTower.load(FOLDER).embed([f"new-{at}" for at in sample], [shop.items[at][1] for at in sample])
    assert known.all()
    nearest = np.argsort(-(fresh @ vectors.T), axis=1)[:, :20]
    assert float((shop.leaf[nearest] == shop.leaf[sample][:, None]).mean()) > 0.9

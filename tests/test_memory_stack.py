"""A session model with a memory, through the whole stack: flows keep it, the gateway asks with it."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np

from contracts.items import Item
from nextclick.stack.client import Client
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.shop_models import ARTIFACTS
from nextclick.stack.stack import Stack
from replay.synthetic.shoppers import default_shop
from session_model import artifact
from session_model.encoder import GATE_ARRAYS
from session_model.item_tower import TOWER_ARRAYS
from session_model.memory import MEMORY_ARRAYS
from session_model.serving import load_tower
from tests.test_end_to_end import line, view

PER_CATEGORY = 40


def with_a_memory_of(item_id: str, item: Item, artifacts: Path) -> None:
    """Write a session model whose memory, whatever is clicked, comes to ask for what is like one item."""
    shop = ARTIFACTS / artifact.SESSION_MODEL
    manifest = artifact.read_manifest(shop, artifact.SESSION_MODEL)
    [vector], _ = load_tower(ARTIFACTS).embed([item_id], [item])
    told = np.zeros((4, 3), np.float32)
    told[:, 2] = 10.0  # the news of every click is 1, and half of it is kept
    zeros = [np.zeros(shape, np.float32) for shape in ((3, manifest.dim), (3, 1), (3,))]
    memory = dict(zip(MEMORY_ARRAYS, (zeros[0], told, *zeros[1:], 20.0 * vector[:, None]), strict=True))
    arrays = {**artifact.read_arrays(shop, manifest, (*TOWER_ARRAYS, *GATE_ARRAYS)), **memory}
    out = artifacts / artifact.SESSION_MODEL
    artifact.save(out, kind=artifact.SESSION_MODEL, dim=manifest.dim, arrays=arrays, created_from={})


def test_what_a_memory_asks_for_is_recommended(tmp_path: Path) -> None:
    shelves: dict[str, list[tuple[str, Item]]] = {}
    for item_id, item in default_shop().items:
        if item.stock and not item.regions and not item.min_age:
            shelves.setdefault(item.category, []).append((item_id, item))
    clicked, remembered = (shelf[:PER_CATEGORY] for shelf in list(shelves.values())[:2])
    with_a_memory_of(*remembered[0], tmp_path / "artifacts")
    options = StackOptions(port=0, folder=tmp_path / "stack")
    with (
        Stack(StackSettings(stack=options, artifacts=str(tmp_path / "artifacts"))) as running,
        Client(running.url) as client,
    ):
        assert client.put_items([line(*one) for one in (*clicked, *remembered)])["rejected"] == []
        session = uuid.uuid4().hex
        token = client.send_events([view(session, name) for name, _ in clicked[:3]])["token"]
        answer = client.recommend("homepage", session, limit=20, after=token)
    assert answer["session"]["events"] == 3
    shown = [one["product_id"] for one in answer["recommendations"]]
    assert shown[0] == remembered[0][0]
    assert set(shown[:10]) <= {name for name, _ in remembered}  # then the limit per category

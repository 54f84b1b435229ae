"""A real stack with a small shop in it, for whoever sends it what nobody would."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from contracts.items import item_document
from nextclick.stack.client import Client
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.shop_models import ARTIFACTS
from nextclick.stack.stack import Stack
from replay.synthetic.shoppers import default_shop

ITEMS = 300


@contextmanager
def running_shop(folder: Path, *, gateways: int = 1) -> Iterator[Stack]:
    """Start a stack with the demo's models, and load some of the demo's items."""
    options = StackOptions(port=0, folder=folder, gateways=gateways)
    with Stack(StackSettings(stack=options, artifacts=str(ARTIFACTS))) as stack, Client(stack.url) as client:
        shop = default_shop().items
        taken = shop[:: max(1, len(shop) // ITEMS)]
        loaded = client.put_items(orjson.dumps(item_document(*one)) for one in taken)
        assert loaded["visible"], loaded
        session = uuid.uuid4().hex
        assert client.recommend("homepage", session)["recommendations"], "expected the shop to recommend something"
        yield stack

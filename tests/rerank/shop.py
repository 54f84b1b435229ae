"""A small real shop for the tests: items around category directions, an encoder whose gate is one half, trends."""

from __future__ import annotations

from typing import Any

import numpy as np

from contracts.codec import ItemTrend
from contracts.events import EventCode
from contracts.ids import ItemKey, item_key
from contracts.items import CatalogueRow, Item
from contracts.sessions import CLICK, Session
from rerank.pipeline import Pipeline
from rerank.query import PipelineSettings
from rerank.ranker import Ranker
from retrieval.ann_index import AnnIndex
from retrieval.catalogue import CatalogueColumns
from retrieval.serving_state import ServingState
from retrieval.trend_columns import TrendColumns
from session_model.encoder import SessionEncoder
from session_model.memory import Memory

MODEL = 0xAB
DIM = 8
NOW = 1_800_000_000_000
CATEGORIES = ("shoes", "books", "lamps", "games")


class Ticking:
    """A clock that moves on a fixed step every time it is read."""

    def __init__(self, step_s: float) -> None:
        self.now, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now += self.step_s
        return self.now


def encoder() -> SessionEncoder:
    """Half way to each item; its memory of two numbers says nothing, but makes states longer than vectors."""
    zeros = np.zeros((DIM, DIM), np.float32)
    parts = (np.zeros(shape, np.float32) for shape in ((DIM, 6), (4, 6), (2, 6), (6,), (2, DIM)))
    return SessionEncoder(
        weight=zeros, bias=zeros[0], shift=np.zeros((4, DIM), np.float32), version=MODEL, memory=Memory(*parts)
    )


def vector(category: str, number: int) -> np.ndarray:
    """A unit vector near its category's axis; items with near numbers are nearer."""
    direction = np.zeros(DIM)
    direction[CATEGORIES.index(category)] = 1.0
    direction[4] = 0.1 * np.cos(number)
    direction[5] = 0.1 * np.sin(number)
    return (direction / np.linalg.norm(direction)).astype(np.float32)


def state(category: str, number: int) -> np.ndarray:
    """A session's state that points to an item."""
    return np.concatenate([vector(category, number), np.zeros(encoder().width - DIM, np.float32)])


def item(
    item_id: str, *, stock: int = 10, embedded: bool = True, created_ms: int = NOW - 3_600_000, **fields: Any
) -> tuple[ItemKey, CatalogueRow]:
    """An item such as `shoes-3`: its id says category and number."""
    category, _, number = item_id.partition("-")
    fields.setdefault("title", f"The {item_id}")
    fields.setdefault("category", category if category in CATEGORIES else "")
    raw = vector(category, int(number)).tobytes() if embedded and category in CATEGORIES else b""
    row = CatalogueRow(item_id, Item(**fields), stock, created_ms, MODEL if raw else 0, raw)
    return item_key(item_id), row


def trend(
    popularity: float,
    neighbours: dict[str, float] | None = None,
    as_of_ms: int = NOW,
    recent: float = 0.0,
    lately: dict[str, float] | None = None,
    origin_counts: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
) -> ItemTrend:
    """What is known of an item: `neighbours` were clicked after it, `lately` a short while ago."""
    pairs = sorted((neighbours or {}).items(), key=lambda pair: -pair[1])
    return ItemTrend(
        as_of_ms=as_of_ms,
        popularity=popularity,
        recent=recent,
        views=popularity,
        neighbours=np.array([item_key(name) for name, _ in pairs], np.uint64),
        weights=np.array([(weight, 0.0, (lately or {}).get(name, 0.0)) for name, weight in pairs], np.float32).reshape(
            -1, 3
        ),
        origin_counts=origin_counts,
    )


def session(*clicks: str | tuple[str, EventCode], start_ms: int = NOW - 60_000, **changes: Any) -> Session:
    """A session of clicks one second apart, oldest first, without an embedding unless one is given."""
    window = np.zeros(len(clicks), CLICK)
    for at, click in enumerate(clicks):
        item_id, code = click if isinstance(click, tuple) else (click, EventCode.VIEW)
        window[at] = (start_ms + 1000 * at, item_key(item_id), at + 1, code)
    fields: dict[str, Any] = {
        "session_id": "s",
        "user_id": None,
        "started_ms": start_ms,
        "last_ms": start_ms + 1000 * (len(clicks) - 1),
        "events": len(clicks),
        "last_offset": 0,
        "window": window,
        "embedding": np.zeros(0, np.float32),
        "model_version": 0,
    }
    return Session(**{**fields, **changes})


class Shop:
    """Four categories of ten items, every item a bit less popular than the one before it."""

    def __init__(self, *, embedded: bool = True, per_category: int = 10) -> None:
        self.catalogue = CatalogueColumns()
        self.index = AnnIndex(self.catalogue)
        self.trends = TrendColumns()
        self.item_ids = [f"{category}-{number}" for number in range(per_category) for category in CATEGORIES]
        self.put(*(item(item_id, embedded=embedded) for item_id in self.item_ids))
        self.trends.apply((item_key(item_id), trend(max(100.0 - at, 0.0))) for at, item_id in enumerate(self.item_ids))

    def put(self, *changes: tuple[ItemKey, CatalogueRow | None]) -> None:
        self.index.apply(self.catalogue.apply(changes).reindex)

    @property
    def state(self) -> ServingState:
        return ServingState(self.catalogue, self.index, self.trends)

    def covisit(self, item_id: str, neighbours: dict[str, float], popularity: float = 10.0, **recent: Any) -> None:
        self.trends.apply([(item_key(item_id), trend(popularity, neighbours, **recent))])

    def pipeline(
        self,
        with_encoder: bool = True,
        ranker: Ranker | None = None,
        settings: PipelineSettings | None = None,
        **options: Any,
    ) -> Pipeline:
        return Pipeline(
            self.state,
            encoder() if with_encoder else None,
            ranker,
            settings,
            **options,
        )

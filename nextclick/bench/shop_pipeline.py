"""The synthetic shop as it serves, inside the process: its catalogue, the shipped models, and what shoppers left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from contracts.events import EVENT_CODES, EventCode
from contracts.ids import item_key
from contracts.sessions import CLICK, Session
from contracts.settings import SessionSettings
from learning.replay import Towers, TrainingReplay
from nextclick.stack.shop_models import ARTIFACTS
from replay.synthetic.shop import Shop
from replay.synthetic.shoppers import FIRST_DAY_MS, default_shop, shoppers
from rerank.pipeline import Pipeline
from rerank.query import PipelineSettings
from rerank.ranker import Ranker
from retrieval.trends import TrendRules
from session_model.artifact import SESSION_MODEL
from session_model.encoder import SessionEncoder
from session_model.item_tower import ItemTower

SEED: Final = 11


@dataclass(frozen=True, slots=True)
class SyntheticShop:
    """The shop, and a pipeline over it at `now_ms`."""

    shop: Shop
    replay: TrainingReplay
    ranker: Ranker
    now_ms: int

    def pipeline(self, settings: PipelineSettings | None = None) -> Pipeline:
        random = np.random.default_rng(SEED)
        return Pipeline(self.replay.state, self.replay.towers.encoder, self.ranker, settings, random=random)

    def session(self, *events: tuple[int, str]) -> Session:
        """Return a visitor's session of (place of the item, event type), ten seconds apart, the last one now."""
        window = np.zeros(len(events), CLICK)
        for at, (place, kind) in enumerate(events):
            code = EVENT_CODES.get(kind, EventCode.OTHER)
            ts_ms = self.now_ms - 10_000 * (len(events) - 1 - at)
            window[at] = (ts_ms, item_key(self.shop.items[place][0]), at + 1, code)
        first_ms = int(window["ts_ms"][0]) if len(events) else self.now_ms
        return Session("s", None, first_ms, self.now_ms, len(events), 0, window, np.zeros(0, np.float32), 0)

    def places(self) -> dict[str, int]:
        """Return the place of each item by its id."""
        return {item_id: place for place, (item_id, _) in enumerate(self.shop.items)}


def synthetic_shop(sessions: int = 6_000) -> SyntheticShop:
    """Return the default shop after so many visits."""
    shop = default_shop()
    towers = Towers(SessionEncoder.load(ARTIFACTS / SESSION_MODEL), ItemTower.load(ARTIFACTS / SESSION_MODEL))
    replay = TrainingReplay(towers, SessionSettings(), PipelineSettings(), TrendRules(), 1 << 60)
    replay.add_items([(name, item, FIRST_DAY_MS) for name, item in shop.items])
    for _ in replay.batches(shoppers(shop, sessions, np.random.default_rng(SEED)), lambda number, event: False, 0):
        pass
    replay.refresh()
    return SyntheticShop(shop, replay, Ranker.load(ARTIFACTS / "reranker"), replay.watermark_ms)

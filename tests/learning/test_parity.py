"""Training and serving see the same: features that the pipeline logs are those that the trainer computed.

The serving side is kept here as it is kept live: sessions folded and stepped click by click, catalogue rows and trends
through their codecs into columns of their own. Both sides are brought up to date after the same events.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from contracts.codec import (
    decode_ended,
    decode_row,
    decode_session,
    decode_trend,
    encode_ended,
    encode_row,
    encode_session,
)
from contracts.events import Event
from contracts.ids import ItemKey, item_key
from contracts.items import UNLIMITED_STOCK, CatalogueRow, Item
from contracts.sessions import Session
from contracts.settings import SessionSettings
from learning.replay import AskedBatch, Towers, TrainingReplay
from rerank.features import FEATURES
from rerank.pipeline import Pipeline
from rerank.query import PipelineSettings, Query
from retrieval.ann_index import AnnIndex
from retrieval.catalogue import CatalogueColumns
from retrieval.open_sessions import OpenSessions, TrendEvent
from retrieval.serving_state import ServingState
from retrieval.session_columns import SessionColumns
from retrieval.trend_columns import TrendColumns
from retrieval.trend_counts import TrendCounts
from retrieval.trend_updates import updates_of
from retrieval.trends import TrendRules
from session_model.content import Field
from session_model.embedding import embed
from session_model.item_tower import ItemTower
from session_model.window import Arrival, WindowRules, click_of, fold
from tests.rerank.shop import CATEGORIES, DIM, MODEL, encoder, vector
from tests.rerank.test_ranker import ranker
from tests.rerank.traffic import event, traffic

EVERY = 20
RULES = TrendRules()


def tower(per_category: int = 12) -> ItemTower:
    """A tower that knows the shop's items by their ids."""
    vectors = {
        item_key(f"{category}-{at}"): vector(category, at) for category in CATEGORIES for at in range(per_category)
    }
    keys = np.array(sorted(vectors), np.uint64)
    return ItemTower(
        id_keys=keys,
        id_table=np.stack([vectors[ItemKey(key)] for key in keys.tolist()]),
        token_keys=np.zeros(0, np.uint64),
        token_table=np.zeros((0, DIM), np.float32),
        field_weights=np.ones(len(Field), np.float32),
        image_projection=np.zeros((0, DIM), np.float32),
        version=MODEL,
    )


class Serving:
    """What the flows would keep, and the pipeline over it."""

    def __init__(self) -> None:
        self.catalogue, self.trends, self.sessions = CatalogueColumns(), TrendColumns(RULES), dict[str, Session]()
        self.ended, self._open = SessionColumns(), OpenSessions(RULES, SessionSettings().idle_gap_ms)
        self.index = AnnIndex(self.catalogue)
        self.encoder, self.tower = encoder(), tower()
        self.pipeline = Pipeline(
            ServingState(self.catalogue, self.index, self.trends, self.ended), self.encoder, ranker()
        )
        self._counts = TrendCounts(RULES)
        self._seen: dict[str, int] = {}
        self._watermark_ms = 0
        self.as_of_ms = 0
        """When the columns were last brought up to date, in event time."""

    def take(self, click: Event) -> None:
        assert click.item_id is not None
        before = self.sessions.get(click.session_id)
        arrival = Arrival(click.session_id, None, click_of(click), 0, self._watermark_ms)
        folded = fold(before, [arrival], WindowRules())
        self._watermark_ms = max(self._watermark_ms, click.ts)
        [after] = embed(self.encoder, self.catalogue, [before], [folded])
        self.sessions[click.session_id] = decode_session(click.session_id, encode_session(after))
        self._open.take([(click.session_id, TrendEvent.of(click))])
        self._counts.apply(updates_of(self._open.clicks()))
        self._seen.setdefault(click.item_id, click.ts)

    def catch_up(self) -> None:
        self.as_of_ms = self._watermark_ms
        new = {name: ms for name, ms in self._seen.items() if self.catalogue.rows_of(_key(name))[0] < 0}
        vectors, _ = self.tower.embed(list(new), [Item.model_construct(title=name) for name in new])
        for (name, ms), one in zip(new.items(), vectors, strict=True):
            row = CatalogueRow(name, Item.model_construct(title=name), UNLIMITED_STOCK, ms, MODEL, one.tobytes())
            self.index.apply(self.catalogue.apply([(item_key(name), decode_row(encode_row(row)))]).reindex)
        changed = self._counts.changed_rows(self._watermark_ms)
        self.trends.apply(zip(changed.keys.tolist(), map(decode_trend, changed.encoded()), strict=True))
        self._open.close(self._watermark_ms)
        self.ended.apply((slot, decode_ended(encode_ended(kept))) for slot, kept in self._open.ended())


def _key(name: str) -> np.ndarray:
    return np.array([item_key(name)], np.uint64)


def side_by_side(events: list[Event]) -> Iterator[tuple[AskedBatch, Serving, list[Session]]]:
    """Yield each batch of the trainer's, with serving as it stood at that moment and the sessions as stored."""
    replay = TrainingReplay(Towers(encoder(), tower()), SessionSettings(), PipelineSettings(), RULES, EVERY)
    serving, taken = Serving(), 0
    for asked in replay.batches(events, lambda number, _: True, 0):
        block = asked.numbers[0] // EVERY * EVERY
        if taken % EVERY == 0:
            serving.catch_up()
        while taken < block:
            serving.take(events[taken])
            taken += 1
            if taken % EVERY == 0:
                serving.catch_up()
        stored = []
        for number in range(block, asked.numbers[-1] + 1):
            if number in asked.numbers:
                stored.append(serving.sessions[events[number].session_id])
            serving.take(events[number])
            taken += 1
        yield asked, serving, stored


def test_features_that_serving_logs_are_those_that_training_computed() -> None:
    """All but the similarities bit for bit; those within 1e-5: serving steps a session, training encodes its window."""
    compared = voted = 0
    for asked, serving, stored in side_by_side(traffic(150)):
        queries = [Query(max(one.last_ms, serving.as_of_ms), session=one, limit=20) for one in stored]
        answers = serving.pipeline.recommend(queries)
        for at, answer in enumerate(answers):
            begin, end = asked.candidates.starts[at], asked.candidates.starts[at + 1]
            trained = dict(zip(asked.candidates.rows[begin:end].tolist(), asked.rows[begin:end], strict=True))
            assert answer.candidates == end - begin
            for item, logged in zip(answer.items, answer.features, strict=True):
                if np.isnan(logged).all():
                    continue  # filled up from what trends, never ranked
                row = int(serving.catalogue.rows_of(_key(item.item_id))[0])
                similar = [FEATURES.index(name) for name in ("query_similarity", "nearest_rank")]
                np.testing.assert_array_equal(np.delete(logged, similar), np.delete(trained[row], similar))
                assert logged[similar[0]] == pytest.approx(trained[row][similar[0]], abs=1e-5, nan_ok=True)
                compared += 1
                voted += logged[FEATURES.index("votes")] > 0
    assert compared > 2000
    assert voted > 500


def test_a_difference_between_the_sides_is_noticed() -> None:
    """The comparison has teeth: one more click on one side only, and features differ."""
    for asked, serving, stored in side_by_side(traffic(40)):
        if asked.numbers[0] < 80:
            continue
        serving.take(event(99_999, "other", "shoes-1", stored[0].last_ms))
        serving.catch_up()
        [answer] = serving.pipeline.recommend([Query(stored[0].last_ms, session=stored[0], limit=20)])
        trained = {tuple(row) for row in np.nan_to_num(asked.rows, nan=-9).tolist()}
        assert not {tuple(row) for row in np.nan_to_num(answer.features, nan=-9).tolist()} <= trained
        return
    raise AssertionError("expected a batch to compare, got none")

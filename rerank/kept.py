"""An answer's ranking, kept: what was read of the tables while it was made, from which it is made again.

Kept are the candidates with the numbers that sources left, the features, the visitor's window and vectors, and of every
item that mattered its catalogue row. Made again from it are the scores by the trees, the scenario's value, the rules,
limits, diversity, exploration, pins, what fills the page up, and the reasons: by the pipeline's own code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.api import Placement
from contracts.codec import decode_row, decode_session, encode_row, encode_session
from contracts.ids import ItemKey, item_key
from contracts.items import CatalogueRow
from contracts.profiles import decode_profile, encode_profile
from contracts.scenarios import Scenario, document_of
from contracts.users import Hidden
from rerank.affinities import Learnt
from rerank.gathered import Gathered, Tape
from rerank.ladder import Stopwatch
from rerank.pipeline import Pipeline
from rerank.query import PipelineSettings, Query, Ranked
from rerank.ranker import Ranker
from rerank.scenarios.compiled import Compiled, compile_filter, compile_scenario
from rerank.trials import Ranking, Trials
from retrieval.ann_index import AnnIndex
from retrieval.candidates import Candidates, Contexts
from retrieval.catalogue import CatalogueColumns
from retrieval.contexts import Against
from retrieval.key_rows import Rows
from retrieval.popular import Popular
from retrieval.serving_state import ServingState
from retrieval.sources import Rung
from retrieval.supplier_exposure import SupplierExposure
from retrieval.trend_columns import TrendColumns

Float32s = NDArray[np.float32]
Json = dict[str, Any]


class KeptItem(msgspec.Struct, frozen=True):
    """A catalogue row as it was. `digest` names its content; 0: nothing does."""

    key: ItemKey
    digest: int
    row: CatalogueRow


class Kept(msgspec.Struct, frozen=True):
    """One ranking: what is written of it (`head`, JSON and arrays by name), and the items it is about."""

    head: Json
    arrays: dict[str, NDArray[Any]]
    items: list[KeptItem]


class Keeping(Trials):
    """A pipeline that can keep what an answer was made of. For the thread that ranks."""

    def recommend_kept(self, query: Query) -> tuple[Ranked, Kept]:
        """Answer a query alone, and keep what its answer was made of."""
        tape = self._tape = Tape()
        try:
            [ranked] = self.recommend([query])
        finally:
            self._tape = None
        assert tape.gathered is not None
        return ranked, self._kept(query, tape, tape.gathered, ranked)

    def _kept(self, query: Query, tape: Tape, gathered: Gathered, ranked: Ranked) -> Kept:
        contexts, candidates, catalogue = gathered.contexts, gathered.candidates, self._catalogue
        page = self._asked.rows_of([item.item_id for item in ranked.items])
        rows = self._rows_about(query, gathered, page)
        trends, scenario = self._state.trends, query.scenario
        shown = set(page.tolist())
        fills = {
            name: np.array([row for row in found.tolist() if row in shown], np.int32)
            for name, found in (("trending", tape.trending), ("newest", tape.newest))
            if found is not None
        }
        arrays: dict[str, NDArray[Any]] = {
            **{f"candidates.{one.name}": getattr(candidates, one.name) for one in fields(candidates)},
            **_arrays_of(contexts),
            **{f"fill.{name}": found for name, found in fills.items()},
            "recent": trends.recent_at(trends.rows_of(contexts.keys[:, 0]), contexts.now_ms),
            "rows": rows,
        }
        if gathered.features is not None:
            arrays["features"] = gathered.features
        if tape.scores is not None:
            arrays["scores"] = tape.scores
        if scenario is not None:
            keys = catalogue.keys[candidates.rows]
            arrays["popularity"] = trends.popularity_at(trends.rows_of(keys), query.now_ms)
            if scenario.scenario.small_supplier_share:
                arrays["small"] = self._state.suppliers.small(catalogue, trends, rows)
        head = {
            "query": _query_head(query),
            "rung": int(gathered.rung),
            "missing": list(gathered.missing),
            "ranker": None if gathered.ranker is None else gathered.ranker.version,
            "model": catalogue.model_version,
            "dim": catalogue.dim,
            "starved_by": ranked.starved_by,
            "gone": [int(catalogue.keys[row]) for row in rows.tolist() if not catalogue.alive[row]],
        }
        return Kept(head, {name: array.copy() for name, array in arrays.items()}, self._items_of(rows))

    def _rows_about(self, query: Query, gathered: Gathered, page: Rows) -> Rows:
        """Return the rows that the answer read of, ascending: equal scores keep the order of their rows."""
        contexts, keys = gathered.contexts, [0]
        if query.session is not None:
            keys += query.session.window["item"].tolist()
        if query.learnt is not None:
            keys += query.learnt.profile.clicks["item"].tolist()
        if query.scenario is not None:
            keys += [item_key(pin.item_id) for pin in query.scenario.scenario.pins or ()]
        if query.item_id is not None:
            keys.append(item_key(query.item_id))
        found = [
            gathered.candidates.rows,
            contexts.rows.ravel(),
            page,
            self._catalogue.rows_of(np.array(keys, np.uint64)),
        ]
        if contexts.against is not None:
            found.append(contexts.against.rows)
        rows: Rows = np.unique(np.concatenate(found))
        return rows[rows >= 0]

    def _items_of(self, rows: Rows) -> list[KeptItem]:
        columns, version = self._catalogue, self._catalogue.model_version or 0
        vectors, has_vector = columns.vectors[rows], columns.has_vector[rows].tolist()
        digests = np.where(columns.alive[rows], columns.digests[rows], 0).tolist()
        about = zip(columns.stock[rows].tolist(), columns.created_ms[rows].tolist(), has_vector, vectors, strict=True)
        made = [
            CatalogueRow(item_id, document, stock, created_ms, version if has else 0, vector.tobytes() if has else b"")
            for item_id, document, (stock, created_ms, has, vector) in zip(
                columns.item_ids.at(rows.tolist()), columns.documents.at(rows.tolist()), about, strict=True
            )
        ]
        return list(map(KeptItem, columns.keys[rows].tolist(), digests, made))


class Remade(Trials):
    """A pipeline over what was kept of one ranking."""

    def __init__(self, kept: Kept, settings: PipelineSettings, ranker: Ranker | None = None) -> None:
        """`ranker`: the one that ranked; None: its scores are read back."""
        catalogue = CatalogueColumns(model_version=kept.head["model"], dim=kept.head["dim"])
        catalogue.apply([(one.key, one.row) for one in kept.items])
        catalogue.apply([(key, None) for key in kept.head["gone"]])
        self._kept = kept
        arrays, rows = kept.arrays, kept.arrays["rows"]
        self._places = {row: at for at, row in enumerate(rows.tolist())}
        none = np.zeros(0, np.float32)
        trends = _KeptTrends(arrays["recent"], arrays.get("popularity", none))
        suppliers = _KeptSuppliers(arrays.get("small", np.zeros(len(rows), np.bool_)))
        state = ServingState(catalogue, AnnIndex(catalogue), trends, suppliers=suppliers)
        super().__init__(state, settings=settings, clock=lambda: 0.0)
        self.query = _query(kept.head["query"])
        self.reads_scores_back = "features" in arrays and ranker is None
        served = cast(Ranker, _KeptRanker(arrays["scores"])) if self.reads_scores_back else ranker
        self.gathered = Gathered(
            [self.query],
            self._contexts_kept(),
            self._candidates_kept(),
            Rung(kept.head["rung"]),
            served if "features" in arrays else None,
            kept.head["missing"],
            arrays.get("features"),
        )

    @property
    def columns(self) -> CatalogueColumns:
        """The items that were kept."""
        return self._catalogue

    def answer(self) -> Ranked:
        """Make the answer again."""
        [ranked] = self._answered(self.gathered, Stopwatch(self._clock))
        return ranked

    def ranking(self, query: Query, sizes: Mapping[str, int] = {}, beside: Rows | None = None) -> Ranking:
        """Return the ranking that was kept, of whatever page is laid out of it: sources cannot be asked again."""
        scores = self._score(self.gathered, Stopwatch(self._clock))
        return Ranking(query, self._settings, self.gathered.contexts, self.gathered.candidates, scores)

    def sources_of(self, ranking: Ranking, row: int) -> list[Any]:
        return []

    def _trending(self, now_ms: int) -> Rows:
        return self._filling("trending")

    def _newest(self, query: Query) -> Rows:
        return self._filling("newest")

    def _filling(self, name: str) -> Rows:
        return self._row_of(self._kept.arrays.get(f"fill.{name}", np.zeros(0, np.int32)))

    def _starved_by(self, query: Query, shown: int) -> dict[str, int]:
        counted: dict[str, int] = self._kept.head["starved_by"]
        return counted

    def _learn(self, watch: Stopwatch, rung: Rung, queries: int) -> None:
        """Nobody waits."""

    def _row_of(self, rows: NDArray[Any]) -> Rows:
        """Return the rows here of rows of the catalogue as it was, of the same shape; below 0 stays so."""
        found = [self._places[row] if row >= 0 else -1 for row in rows.ravel().tolist()]
        return np.array(found, np.int32).reshape(rows.shape)

    def _candidates_kept(self) -> Candidates:
        arrays = self._kept.arrays
        columns = {one.name: arrays[f"candidates.{one.name}"] for one in fields(Candidates)}
        columns["rows"] = self._row_of(columns["rows"])
        return Candidates(**columns)

    def _contexts_kept(self) -> Contexts:
        arrays = self._kept.arrays
        plain = {name: arrays[f"contexts.{name}"] for name in _CONTEXTS if f"contexts.{name}" in arrays}
        plain["rows"] = self._row_of(plain["rows"])
        against, popular = None, None
        if "against.rows" in arrays:
            against = Against(
                arrays["against.request"], self._row_of(arrays["against.rows"]), arrays["against.strengths"]
            )
        if "popular.liked" in arrays:  # of its rows only whether there are any is read
            liked = frozenset(self._places[row] for row in arrays["popular.liked"].tolist() if row in self._places)
            popular = [Popular(np.zeros(0, np.int32), liked)]
        told = frozenset(arrays["told"].tolist())
        return Contexts(**plain, against=against, popular=popular, told=told)


class _KeptTrends(TrendColumns):
    """Trends of the one moment that was kept."""

    def __init__(self, recent: Any, popularity: Any) -> None:
        super().__init__()
        self._recent, self._popularity = recent, popularity

    def rows_of(self, keys: Any) -> Any:
        return np.zeros(len(keys), np.int32)

    def recent_at(self, rows: Any, now_ms: Any) -> Any:
        return self._recent

    def popularity_at(self, rows: Any, now_ms: Any) -> Any:
        return self._popularity


class _KeptSuppliers(SupplierExposure):
    def __init__(self, small: NDArray[np.bool_]) -> None:
        super().__init__()
        self._kept_small = small

    def small(self, catalogue: CatalogueColumns, trends: TrendColumns, rows: Rows) -> NDArray[np.bool_]:
        return self._kept_small[rows]


class _KeptRanker:
    """Says what the ranker said."""

    def __init__(self, scores: Float32s) -> None:
        self._scores = scores

    def rank_scores(self, rows: Float32s) -> Float32s:
        return self._scores


_CONTEXTS: Final = tuple(name for name in Contexts.__struct_fields__ if name not in ("against", "popular", "told"))


def _arrays_of(contexts: Contexts) -> dict[str, NDArray[Any]]:
    found = {f"contexts.{name}": getattr(contexts, name) for name in _CONTEXTS}
    found = {name: array for name, array in found.items() if array is not None}
    if contexts.against is not None:
        found |= {f"against.{name}": getattr(contexts.against, name) for name in Against.__struct_fields__}
    found["told"] = np.array(sorted(contexts.told), np.int32)
    if contexts.popular is not None and contexts.popular[0] is not None:
        found["popular.liked"] = np.array(sorted(contexts.popular[0].liked), np.int32)
    return found


def _query_head(query: Query) -> Json:
    scenario, learnt, hidden = query.scenario, query.learnt, query.hidden
    names = ("now_ms", "item_id", "limit", "region", "category", "age", "explain", "device_group", "region_group")
    return {
        **{name: getattr(query, name) for name in names},
        "placement": query.placement.value,
        "session": None if query.session is None else (query.session.session_id, encode_session(query.session)),
        "exclude": query.exclude,
        "shown_before": query.shown_before,
        "tired_of": query.tired_of,
        "candidates": query.candidates,
        "context": query.context,
        "user": query.user,
        "groups": query.groups,
        "hidden": None if hidden is None else (hidden.items, hidden.brands, hidden.categories),
        "learnt": None
        if learnt is None
        else (encode_profile(learnt.profile), learnt.weights.tobytes(), learnt.half_life_ms),
        "has_taste": query.taste is not None,
        "taste_is_learnt": query.taste_is_learnt,
        "scenario": None if scenario is None else _scenario_head(scenario),
        "filter": [clause.text for clause in query.filter.clauses],
        "seed": None if query.seed is None else f"{query.seed:x}",
    }


def _scenario_head(scenario: Compiled) -> Json:
    document = document_of(scenario.scenario.model_copy(update={"base": None}))
    about = {"name": scenario.name, "version": scenario.version, "placement": scenario.placement.value}
    return {**about, "document": document}


def _query(head: Json) -> Query:
    told = {name: head[name] for name in ("now_ms", "item_id", "limit", "region", "category", "age", "explain")}
    session, learnt, hidden, taste = None, None, None, None
    if head["session"] is not None:
        session = decode_session(*head["session"])
    if head["learnt"] is not None:
        profile, weights, half_life_ms = head["learnt"]
        learnt = Learnt(decode_profile(profile), np.frombuffer(weights), half_life_ms)
    if head["hidden"] is not None:
        hidden = Hidden(*(tuple(one) for one in head["hidden"]))
    if head["has_taste"]:
        taste = np.zeros(0, np.float32)  # it is in the contexts
    texts = [f"({text})" for text in head["filter"]]
    return Query(
        **told,
        placement=Placement(head["placement"]),
        session=session,
        exclude=tuple(head["exclude"]),
        shown_before=tuple(head["shown_before"]),
        tired_of=tuple(head["tired_of"]),
        candidates=None if head["candidates"] is None else tuple(head["candidates"]),
        context=head["context"],
        user=head["user"],
        hidden=hidden,
        learnt=learnt,
        taste=taste,
        taste_is_learnt=head["taste_is_learnt"],
        scenario=None if head["scenario"] is None else _scenario(head["scenario"]),
        filter=compile_filter(" and ".join(texts) or None, passing=True),
        seed=None if head["seed"] is None else int(head["seed"], 16),
    )


def _scenario(head: Json) -> Compiled:
    made = compile_scenario(head["name"], head["version"], Scenario.model_validate(head["document"]), lambda _: None)
    return replace(made, placement=Placement(head["placement"]))


def pack(kept: Kept, item_refs: Sequence[bytes | int]) -> bytes:
    """Encode a ranking. `item_refs`: of each item its bytes, or the name under which they were written before."""
    arrays = {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in kept.arrays.items()}
    return msgspec.msgpack.encode([kept.head, arrays, [one.key for one in kept.items], list(item_refs)])


def unpack(raw: bytes, named: Mapping[int, bytes]) -> Kept:
    """Decode a ranking. `named`: the items that were written under names."""
    head, packed, keys, refs = msgspec.msgpack.decode(raw)
    arrays = {
        name: np.frombuffer(data, np.dtype(kind)).reshape(shape).copy() for name, (kind, shape, data) in packed.items()
    }
    items = [
        KeptItem(key, 0, decode_row(named[one] if isinstance(one, int) else one))
        for key, one in zip(keys, refs, strict=True)
    ]
    return Kept(head, arrays, items)


def item_bytes(item: KeptItem) -> bytes:
    """Encode an item's row."""
    return encode_row(item.row)


__all__ = ["Keeping", "Kept", "KeptItem", "Pipeline", "Remade", "item_bytes", "pack", "unpack"]

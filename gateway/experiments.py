"""The experiments of this process: followed with the scenarios, in one table, and who gets which variant."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from pydantic import ValidationError

from contracts.assignment import BUCKETS, HOLDOUT, INTERLEAVED, bucket_of, buckets_of, held_out
from contracts.bandit_shares import BanditShares
from contracts.experiment_rows import decode as decode_row
from contracts.experiment_rows import is_experiment, row_key_of
from contracts.experiments import MAX_EXPERIMENTS, MOST_VARIANTS, ExperimentVersion, Variant
from contracts.items import merged
from contracts.left_out import LeftOutLog
from contracts.plain_requests import PlainRequest
from contracts.scenarios import Scenario, document_of
from expressions.program import Condition
from gateway.bandits import Draw, Kind
from gateway.scenarios import Scenarios
from rerank.query import Query
from rerank.scenarios.compiled import Compiled, ScenarioError
from rerank.scenarios.segment import compile_segment, is_in
from retrieval.catalogue import CatalogueColumns

log = logging.getLogger("nextclick.gateway")

_segment = lru_cache(MAX_EXPERIMENTS)(compile_segment)
_buckets = lru_cache(MAX_EXPERIMENTS * MOST_VARIANTS)(buckets_of)
"""One experiment changes, and all are laid out anew: what of the others is the same is at hand."""


class Assigned(NamedTuple):
    """What a request is part of. `variant` may be HOLDOUT, or INTERLEAVED: the page is mixed of the variants `between`,
    the second of which is `second`. `propensity`: the probability of the variant, for those in the experiment; None
    where nothing was drawn.
    """

    experiment: str
    variant: str
    propensity: float | None = None
    between: tuple[str, ...] = ()
    second: Compiled | None = None


class _Drawn(NamedTuple):
    variant: str
    propensity: float | None = None


class _Running(msgspec.Struct, frozen=True):
    """An experiment, ready to be asked: `variants` (BUCKETS,), the variant of each bucket of its layer, or None;
    `propensities` of these; `draw`: what a bandit draws by; `between`: variants that are interleaved.
    """

    version: ExperimentVersion
    name: str
    layer: str
    begins_ms: float
    ends_ms: float
    by_session: bool
    segment: Condition | None
    overrides: Mapping[str, str]
    holdout: float
    variants: Sequence[str | None]
    propensities: Mapping[str, float]
    draw: Draw | None
    between: tuple[str, ...]

    def drawn_for(self, unit: str, bucket: int, kind: Callable[[], Kind]) -> _Drawn | None:
        if unit in self.overrides:
            return _Drawn(self.overrides[unit])
        if self.holdout and held_out(self.layer, unit, self.holdout):
            return _Drawn(HOLDOUT)
        variant = self.variants[bucket]
        if variant is None:
            return None
        if self.draw is not None:
            return _Drawn(*self.draw.of(unit, kind))
        if self.between:
            return _Drawn(INTERLEAVED)
        return _Drawn(variant, self.propensities[variant])


Find = Callable[[str], Compiled]
"""Returns the scenario that is published under a name, or a plain placement."""


class Experiments:
    """Newest versions by name. Costs a request of a scenario without experiments one look into a dictionary."""

    def __init__(self, scenarios: Scenarios) -> None:
        self._scenarios = scenarios
        self._versions: dict[int, ExperimentVersion] = {}
        self._running: dict[str, list[_Running]] = {}
        self._shares: dict[str, BanditShares] = {}
        self._compiled: dict[tuple[str, str], Compiled | None] = {}
        self._compiled_at = -1
        self._said = LeftOutLog(log)

    def __len__(self) -> int:
        return len(self._versions)

    def take(self, decoded: Sequence[tuple[int, ExperimentVersion | None]]) -> None:
        for key, version in decoded:
            if version is None:
                self._versions.pop(key, None)
            else:
                self._versions[key] = version
        if decoded:
            self._compiled.clear()
            self._running = _by_scenario(self.all())
            self.take_shares(self._shares)

    def bandits(self, now_ms: int) -> list[str]:
        """Return the names of the bandits that run."""
        found = [one for one in self._of_all() if one.draw is not None]
        return [one.name for one in found if one.begins_ms <= now_ms < one.ends_ms]

    def shares_of(self, name: str) -> dict[str, dict[str, float]] | None:
        """Return the shares that a bandit is drawn by here, by kind of visitor and variant; None for another."""
        return next((one.draw.told() for one in self._of_all() if one.name == name and one.draw is not None), None)

    def take_shares(self, shares: Mapping[str, BanditShares]) -> None:
        """Draw by these shares from now on, where they are of an experiment's variants and of this run."""
        drawing = {one.name: one.draw for one in self._of_all() if one.draw is not None}
        self._shares = {name: found for name, found in {**self._shares, **shares}.items() if name in drawing}
        for name, found in self._shares.items():
            drawing[name].take(found)

    def _of_all(self) -> Iterable[_Running]:
        return (one for many in self._running.values() for one in many)

    def held(self) -> Iterable[int]:
        return list(self._versions)

    def all(self) -> list[ExperimentVersion]:
        """Return the newest versions, by name."""
        return sorted(self._versions.values(), key=lambda version: version.name)

    def get(self, name: str) -> ExperimentVersion | None:
        return self._versions.get(row_key_of(name))

    def named(self, name: str) -> list[ExperimentVersion]:
        """Return the newest version of a name, in a list; none where there is none."""
        found = self.get(name)
        return [] if found is None else [found]

    def not_stopped(self) -> list[ExperimentVersion]:
        """Return the newest versions of those that still can assign, by name."""
        return [one for one in self.all() if one.stopped_ms is None]

    def on(self, scenario: str) -> list[ExperimentVersion]:
        """Return the experiments that a scenario is part of, as the one that is asked for or as a variant."""
        return [
            one
            for one in self.all()
            if one.stopped_ms is None
            and scenario in (one.experiment.scenario, *(variant.scenario for variant in one.experiment.variants))
        ]

    def assigned(
        self,
        plain: Compiled,
        asked: PlainRequest,
        query: Callable[[], Query],
        kind: Callable[[], Kind],
        catalogue: CatalogueColumns,
        now_ms: int,
        *,
        alone: bool = True,
    ) -> tuple[Compiled, Assigned | None]:
        """Return what answers a request of a scenario, and which variant that is; None for no experiment.

        query: makes what a segment is asked of, where there is one; kind: what a bandit tells apart. `alone`: not one
        of several lists of a page, which are not interleaved.
        """
        hashed: tuple[str, str] | None = None
        bucket = 0
        for one in self._running.get(plain.name, ()):
            unit = asked.session_id if one.by_session else asked.user_id
            if unit is None or not one.begins_ms <= now_ms < one.ends_ms:
                continue
            if (one.layer, unit) != hashed:
                hashed, bucket = (one.layer, unit), bucket_of(one.layer, unit)
            drawn = one.drawn_for(unit, bucket, kind)
            if drawn is None or (one.segment is not None and not is_in(one.segment, catalogue, query())):
                continue
            if drawn.variant == HOLDOUT:
                return plain, Assigned(one.name, HOLDOUT)
            if one.between and drawn.variant == INTERLEAVED:
                both = self._both(one, plain) if alone else None
            else:
                answers = self._answers(one.version, drawn.variant, plain)
                both = None if answers is None else (answers, Assigned(one.name, *drawn))
            if both is not None:
                return both
        return plain, None

    def _both(self, one: _Running, plain: Compiled) -> tuple[Compiled, Assigned] | None:
        """Return the first of two variants, with the second beside it; None where one cannot be applied."""
        first, second = (self._answers(one.version, name, plain) for name in one.between)
        if first is None or second is None:
            return None
        return first, Assigned(one.name, INTERLEAVED, None, one.between, second)

    def compiled(self, version: ExperimentVersion, variant: Variant, find: Find) -> Compiled:
        """Compile a variant over what is published now. Raises ScenarioError, and what `find` raises."""
        on = version.experiment.scenario
        if variant.name in version.pinned:
            return self._scenarios.compile(variant.scenario or on, variant.version or 0, version.pinned[variant.name])
        if variant.patch is None:
            return find(variant.scenario or on)
        published = self._scenarios.get(on)
        document = {} if published is None else document_of(published.scenario)
        try:
            scenario = Scenario.model_validate(merged(document, variant.patch))
        except ValidationError as error:
            raise ScenarioError("", f"the scenario {on!r} with its patch is none any more: {error}") from error
        return self._scenarios.compile(on, 0 if published is None else published.version, scenario)

    def _answers(self, version: ExperimentVersion, name: str, plain: Compiled) -> Compiled | None:
        """Return a variant, compiled; None where that cannot be: the request is then part of nothing."""
        if self._compiled_at != self._scenarios.changes:
            self._compiled.clear()
            self._compiled_at = self._scenarios.changes
        if (version.name, name) in self._compiled:
            return self._compiled[version.name, name]
        variant = next(one for one in version.experiment.variants if one.name == name)
        if variant.patch is None and variant.scenario is None and variant.version is None:
            return plain  # not kept: a placement that nothing was put over is the caller's own
        found = None
        try:
            found = self.compiled(version, variant, self._find)
        except ScenarioError as error:
            self._said.say(f"the variant {name} of the experiment {version.name}", error)
        self._compiled[version.name, name] = found
        return found

    def _find(self, name: str) -> Compiled:
        found = self._scenarios.find(name)
        return self._scenarios.compile(name, 0, Scenario()) if found is None else found


def _by_scenario(versions: Iterable[ExperimentVersion]) -> dict[str, list[_Running]]:
    """Return those that are not stopped by the scenario they run on, the oldest first."""
    found: dict[str, list[_Running]] = {}
    claimed: dict[str, list[tuple[ExperimentVersion, frozenset[int]]]] = {}
    versions = list(versions)
    held = _held_out_by_layer(versions)
    for version in sorted(versions, key=lambda one: (one.started_ms, one.name)):
        if version.stopped_ms is not None:
            continue
        experiment = version.experiment
        others = claimed.setdefault(experiment.in_layer, [])
        taken = set[int]().union(*(mine for one, mine in others if one.ends_ms > version.published_ms))
        variants, mine = list[str | None]([None]) * BUCKETS, set[int]()
        for variant in experiment.variants:
            own = _buckets(version.buckets.get(variant.name, "0")) - taken
            mine |= own
            for bucket in own:
                variants[bucket] = variant.name
        others.append((version, frozenset(mine)))
        found.setdefault(experiment.scenario, []).append(_ready(version, variants, held[experiment.in_layer]))
    return found


def _held_out_by_layer(versions: Iterable[ExperimentVersion]) -> dict[str, float]:
    """Return the largest holdout of each layer: who is kept out of one experiment is kept out of all."""
    held: dict[str, float] = {}
    for version in versions:
        if version.stopped_ms is None:
            layer = version.experiment.in_layer
            held[layer] = max(held.get(layer, 0.0), version.experiment.holdout)
    return held


def _ready(version: ExperimentVersion, variants: Sequence[str | None], holdout: float) -> _Running:
    experiment = version.experiment
    return _Running(
        version=version,
        name=version.name,
        layer=experiment.in_layer,
        begins_ms=version.begins_ms,
        ends_ms=version.ends_ms,
        by_session=experiment.unit == "session",
        segment=None if experiment.segment is None else _segment(experiment.segment),
        overrides=experiment.overrides,
        holdout=holdout,
        variants=variants,
        propensities=_shares_of(variants),
        draw=None if experiment.bandit is None else Draw(version),
        between=tuple(variant.name for variant in experiment.variants) if experiment.interleaves else (),
    )


def _shares_of(variants: Iterable[str | None]) -> dict[str, float]:
    """Return the share of each variant, of the buckets that have one."""
    counts = Counter(variant for variant in variants if variant is not None)
    return {name: count / counts.total() for name, count in counts.items()}


class Decisions:
    """What shops decide, followed as one table: scenarios and experiments. So one number, which each request reads
    anyway, says for both whether a process is behind.
    """

    def __init__(self, scenarios: Scenarios, experiments: Experiments) -> None:
        self._scenarios, self._experiments = scenarios, experiments

    def __len__(self) -> int:
        return len(self._scenarios) + len(self._experiments)

    def apply(self, rows: Sequence[tuple[int, bytes | None]]) -> None:
        """Take rows of the table: all of them, or none. Raises ValueError."""
        experiments = [(key, decode(key, row)) for key, row in rows if row is not None and is_experiment(row)]
        gone = [(key, None) for key, row in rows if row is None]
        self._scenarios.apply([(key, row) for key, row in rows if row is None or not is_experiment(row)])
        self._experiments.take([*gone, *experiments] if experiments or self._held(gone) else [])

    def held(self) -> Iterable[int]:
        return [*self._scenarios.held(), *self._experiments.held()]

    def _held(self, gone: Iterable[tuple[int, Any]]) -> bool:
        held = set(self._experiments.held())
        return any(key in held for key, _ in gone)


def decode(key: int, row: bytes) -> ExperimentVersion:
    """Decode a row, and look whether it can be applied. Raises ValueError."""
    version = decode_row(key, row)
    try:
        if version.experiment.segment is not None:
            _segment(version.experiment.segment)
    except (RecursionError, ScenarioError) as error:
        raise ValueError(f"expected an experiment, got {row[:60]!r}: {error}") from error
    return version

"""An A/A certificate: can an experiment's figures be believed on this site's own traffic? Before it begins. Pure.

Many experiments without any effect are run on recorded units, with the assignment that serves (`contracts.assignment`)
and the statistics of the report. Each has a name of its own, and so other buckets; and a layer of its own as far as
there is time to hash all units again, else one that some others have too. Then: do the variants have the units that
their shares say, how often is an effect found where there is none, and how often one that is planted?
Method: A/A tests by resampling, Kohavi, Tang and Xu 2020, chapter 19.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom, norm

from contracts.assignment import BUCKETS, HOLDOUT, allotted, digests_of
from experiments.effects import Columns, effect
from experiments.moments import Floats, Moments
from experiments.planning import Need, need
from experiments.sample_ratio import STOP_BELOW, sample_ratio
from experiments.sequences import ALPHA, FIRST_APART, FIRST_LOOK, p_value
from experiments.unit_days import Ints, UnitDays, bucket_sums, moments_of

MOST_HASHES: Final = 60_000_000
"""Of units, in all runs: about ten seconds."""
FEWEST_LAYERS: Final = 20
LARGEST_SHARE: Final = 0.05
"""Of a metric's sum that one unit may have."""
UNLIKELY: Final = 0.001
"""So rarely a sound site is told that something is wrong."""
BINS: Final = 10
_LEAST_BELOW: Final = 1e-9
_SAME: Final = 1e-9
"""Of a figure: a standard error below it is rounding alone."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Setup:
    """The experiment that is to come. `shares` of all units by variant, the first is the control."""

    name: str
    layer: str
    shares: Mapping[str, float]
    holdout: float = 0.0
    planned: int = 0
    """0: as many as take part."""
    alpha: float = ALPHA

    @property
    def wanted(self) -> dict[str, int]:
        return {name: max(1, round(share * BUCKETS)) for name, share in self.shares.items()}


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of so many runs, with the ends of the 95% interval of Clopper and Pearson (1934)."""

    hits: int
    runs: int

    @property
    def share(self) -> float:
        return self.hits / self.runs

    @property
    def ends(self) -> tuple[float, float]:
        k, n = self.hits, self.runs
        low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
        return low, float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0

    def is_above(self, promised: float) -> bool:
        """Whether so many hits would hardly come at the rate that is promised."""
        return bool(binom.sf(self.hits - 1, self.runs, promised) < UNLIKELY)


@dataclass(frozen=True, slots=True)
class Balance:
    """`by_day` (variants, days): units of the experiment itself until each day. `broken`: runs whose sample ratio would
    stop a sound experiment. `histogram` (10,) of their p-values from 0 to 1; `untold`: runs with too few units to tell.
    """

    by_day: Ints
    broken: Rate
    histogram: Ints
    untold: int


@dataclass(frozen=True, slots=True)
class Power:
    """How often a planted lift was found by the last day, and after how many days in half of these runs; `need`: what
    it takes to find it in 80% of them, None for a metric that is the same in every unit.
    """

    lift: float
    found: Rate
    days: float | None
    need: Need | None


@dataclass(frozen=True, slots=True)
class Judged:
    """One metric. `daily`: effects found where there is none, by who looks every day; `once`: by one look at the last
    day, with the usual interval; `peeking`: by that interval, looked at every day. `looks`: runs that had any look.
    """

    metric: str
    mean: float
    largest: float
    cap: float
    looks: int
    daily: Rate
    once: Rate
    peeking: Rate
    power: tuple[Power, ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    setup: Setup
    units: int
    days: int
    runs: int
    layers: int
    balance: Balance
    metrics: tuple[Judged, ...]

    @property
    def wrong(self) -> list[str]:
        """What speaks against the experiment, a sentence each; none: it is certified."""
        return [*_wrong_balance(self.balance), *(said for one in self.metrics for said in _wrong(one, self))]

    @property
    def verdict(self) -> str:
        if self.wrong:
            return "Not certified: " + "; ".join(self.wrong) + "."
        names = ", ".join(one.metric for one in self.metrics)
        return (
            f"Certified: {self.runs:,} experiments without effect on {self.units:,} units of {self.days} days kept "
            f"their shares, and found an effect as rarely as promised ({names})."
        )


def certificate(
    setup: Setup,
    units: Sequence[bytes],
    metrics: Mapping[str, UnitDays],
    *,
    lifts: Sequence[float] = (),
    runs: int = 1000,
    progress: Progress | None = None,
) -> Certificate:
    """Run the experiment `runs` times without effect. units: (n,) ids, UTF-8; metrics: of the same units and days.

    The first run is the experiment itself, by its own name and layer. Raises NoRoom: shares of more than all units.
    """
    sums, layers = _all_sums(setup, units, metrics, runs, progress)
    first = next(iter(metrics))
    counts = np.rint(sums[first][0])  # (runs, variants, days)
    parts = sum(setup.shares.values()) * (1.0 - setup.holdout)
    planned = setup.planned or max(1, round(len(units) * parts))
    judged = tuple(_judged(name, found, sums[name], setup, planned, lifts) for name, found in metrics.items())
    days = metrics[first].days
    return Certificate(setup, len(units), days, runs, layers, _balance(counts, setup), judged)


def _all_sums(
    setup: Setup,
    units: Sequence[bytes],
    metrics: Mapping[str, UnitDays],
    runs: int,
    progress: Progress | None,
) -> tuple[dict[str, Floats], int]:
    """Return the sums (7, runs, variants, days) of each metric, and how many layers there were."""
    layers = min(runs, max(FEWEST_LAYERS, MOST_HASHES // max(1, len(units))))
    parts: dict[str, list[Floats]] = {name: [] for name in metrics}
    for at, mine in enumerate(np.array_split(np.arange(runs), layers)):
        layer = setup.layer if at == 0 else f"{setup.layer} {at}"
        buckets = _buckets(layer, units, setup.holdout)
        masks = np.stack([_masks(setup, setup.name if run == 0 else f"{setup.name} {run}") for run in mine])
        for name, found in metrics.items():
            by_bucket = bucket_sums(found, buckets)  # (7, buckets, days)
            parts[name].append(np.einsum("rvb,sbd->srvd", masks, by_bucket, optimize=True))
        if progress is not None:
            progress(at + 1, layers)
    return {name: np.concatenate(one, axis=1) for name, one in parts.items()}, layers


def _buckets(layer: str, units: Sequence[bytes], holdout: float) -> Ints:
    buckets = (digests_of(units, layer) % np.uint64(BUCKETS)).astype(np.int64)
    if holdout:
        buckets[digests_of(units, HOLDOUT, layer) < holdout * 2.0**64] = -1
    return buckets


def _masks(setup: Setup, name: str) -> Floats:
    """Return which buckets each variant has, (variants, BUCKETS)."""
    masks = np.zeros((len(setup.shares), BUCKETS))
    for at, mine in enumerate(allotted(name, setup.wanted, {}, ()).values()):
        masks[at, list(mine)] = 1.0
    return masks


def _balance(counts: Floats, setup: Setup) -> Balance:
    shares = list(setup.wanted.values())
    found = [sample_ratio([int(one) for one in run], shares).p for run in counts[:, :, -1]]
    told = np.array([p for p in found if p is not None])
    broken = Rate(int((told < STOP_BELOW).sum()), max(1, len(told)))
    histogram, _ = np.histogram(told, BINS, (0.0, 1.0))
    return Balance(
        np.ascontiguousarray(counts[0], np.int64), broken, histogram.astype(np.int64), len(found) - len(told)
    )


def _judged(name: str, found: UnitDays, sums: Floats, setup: Setup, planned: int, lifts: Sequence[float]) -> Judged:
    moments, apart = moments_of(sums, found)  # (runs, variants, days)
    ratio = found.belows is not None
    looks = _looks(moments, apart, ratio=ratio)
    p, z = _compared(moments, setup, planned, ratio=ratio)
    called = _first(p, setup, looks)
    usual = 2.0 * norm.sf(np.abs(z))
    runs = len(called)
    power = [_power(lift, found, moments, looks, setup, planned) for lift in lifts]
    return Judged(
        metric=name,
        mean=_whole(found),
        largest=found.largest,
        cap=found.cap,
        looks=int(looks.any(axis=1).sum()),
        daily=Rate(int((called >= 0).sum()), runs),
        once=Rate(int((_first(usual[..., -1:], setup, looks[:, -1:]) >= 0).sum()), runs),
        peeking=Rate(int((_first(usual, setup, looks) >= 0).sum()), runs),
        power=tuple(power),
    )


def _whole(found: UnitDays) -> float:
    below = float(len(found.values)) if found.belows is None else float(found.belows.sum())
    return float(found.values.sum()) / below if below else float("nan")


def _looks(moments: Moments, apart: Floats, *, ratio: bool) -> NDArray[np.bool_]:
    """Return which looks (runs, days) the report has an interval for."""
    looks = (moments.count.min(axis=1) >= FIRST_LOOK) & (apart.min(axis=1) >= FIRST_APART)
    return np.asarray(looks & (moments.mean[..., 1].min(axis=1) > _LEAST_BELOW) if ratio else looks)


def _compared(moments: Moments, setup: Setup, planned: int, *, ratio: bool) -> tuple[Floats, Floats]:
    """Return p-values, and differences in standard errors, (runs, treatments, days)."""
    shares, columns = list(setup.wanted.values()), Columns(0, 1 if ratio else None)
    p, z = list[Floats](), list[Floats]()
    control = _of(moments, 0)
    for at in range(1, len(shares)):
        with np.errstate(invalid="ignore", divide="ignore"):  # looks before there are units
            found = effect(control, _of(moments, at), columns)
            mine = planned * (shares[0] + shares[at]) / sum(shares)
            p.append(p_value(found.difference, found.variance, found.units, mine, setup.alpha))
            z.append(found.difference / np.sqrt(found.variance))
    return np.stack(p, axis=1), np.stack(z, axis=1)


def _of(moments: Moments, variant: int) -> Moments:
    return Moments(moments.count[:, variant], moments.mean[:, variant], moments.scatter[:, variant])


def _first(p: Floats, setup: Setup, looks: NDArray[np.bool_]) -> Ints:
    """Return the first look (runs,) at which any treatment has an effect by Holm, -1 for none."""
    least = np.where(np.isnan(p), 1.0, p).min(axis=1) * p.shape[1]  # (runs, looks)
    called = (least < setup.alpha) & looks
    return np.where(called.any(axis=1), called.argmax(axis=1), -1)


def _power(
    lift: float, found: UnitDays, moments: Moments, looks: NDArray[np.bool_], setup: Setup, planned: int
) -> Power:
    """Return how often a lift is found: each unit of the first treatment does so much more."""
    ratio = found.belows is not None
    scale = np.ones((moments.mean.shape[1], 2))
    scale[1, 0] += lift
    by = scale[None, :, None, :]
    lifted = Moments(moments.count, moments.mean * by, moments.scatter * by[..., :, None] * by[..., None, :])
    p, z = _compared(lifted, setup, planned, ratio=ratio)
    right = np.where(z[:, :1] * lift > 0.0, p[:, :1], 1.0) * p.shape[1]
    first = _first(right, setup, looks)
    seen = first >= 0
    days = float(np.median(first[seen]) + 1.0) if seen.any() else None
    return Power(lift, Rate(int(seen.sum()), len(first)), days, _need(lift, found, setup))


def _need(lift: float, found: UnitDays, setup: Setup) -> Need | None:
    """Return what the lift takes with the units a day that control and first treatment would have."""
    shares = list(setup.wanted.values())
    columns = [found.values] if found.belows is None else [found.values, found.belows]
    before, places = Moments.of(np.stack(columns, axis=1)), Columns(0, None if found.belows is None else 1)
    alone = effect(before, before, places)
    if not alone.control_variance > (_SAME * alone.control) ** 2:
        return None
    units_a_day = len(found.values) / found.days * (1.0 - setup.holdout) * (shares[0] + shares[1]) / BUCKETS
    return need(before, lift, units_a_day, places, alpha=setup.alpha, ratio=shares[1] / shares[0])


def _wrong_balance(balance: Balance) -> list[str]:
    wrong = []
    if balance.untold:
        wrong.append(f"{balance.untold:,} runs had too few units to compare with the shares: give a longer recording")
    if balance.broken.is_above(STOP_BELOW):
        wrong.append(
            f"the variants do not hold their shares in {balance.broken.share:.1%} of the runs (p < {STOP_BELOW:g}; "
            f"{STOP_BELOW:.1%} by chance): look for units with one id for many visitors"
        )
    return wrong


def _wrong(one: Judged, of: Certificate) -> list[str]:
    wrong = []
    if one.largest > LARGEST_SHARE:
        what = one.metric.partition("/")[0]
        wrong.append(f"one unit makes {one.largest:.1%} of {what}: cap it (--cap {one.metric}=0.99)")
    if one.looks < of.runs:
        wrong.append(
            f"{one.metric} had no interval in {of.runs - one.looks:,} of the runs: a variant needs {FIRST_LOOK} units, "
            f"{FIRST_APART} of them with another value than most; give a longer recording, or another metric"
        )
    for rate, how in ((one.daily, "looking every day"), (one.once, "by one look at the end")):
        if rate.is_above(of.setup.alpha):
            wrong.append(
                f"{one.metric} finds an effect that is not there in {rate.share:.1%} of the runs {how}, "
                f"{of.setup.alpha:.0%} are promised: cap it, or take another unit"
            )
    return wrong

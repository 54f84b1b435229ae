"""What is asked of an experiment: its metrics, how they are computed, and what is decided by. Frozen, checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from contracts.errors import SettingsError
from experiments.sequences import ALPHA
from experiments.several import CORRECTIONS

PLANNED: Final = 20_000


@dataclass(frozen=True, slots=True)
class Metric:
    """A mean a unit of column `value`, or the ratio of the sums of two columns. Empty: there is none."""

    name: str
    value: str
    denominator: str = ""
    covariate: str = ""
    covariate_denominator: str = ""
    cap_share: float = 1.0
    lower_is_better: bool = False

    @classmethod
    def of(cls, name: str, *, past: str = "", cap_share: float = 1.0, lower_is_better: bool = False) -> Self:
        """Read `clicks` or `clicks/pages`. Raises SettingsError for a past of another form, or a cap out of range."""
        value, _, below = name.partition("/")
        before, _, before_below = past.partition("/")
        if not value or (past and bool(before_below) != bool(below)):
            raise SettingsError(f"expected a covariate of the form of its metric {name!r}, got {past!r}")
        if not 0.5 <= cap_share <= 1.0:
            raise SettingsError(
                f"{name}: expected a cap of 0.5 to 1, the share of values that it leaves, got {cap_share}"
            )
        return cls(name, value, below, before, before_below, cap_share, lower_is_better)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it is computed from."""
        every = (self.value, self.denominator, self.covariate, self.covariate_denominator)
        return tuple(name for name in every if name)


@dataclass(frozen=True, slots=True)
class Asked:
    """The first metric is the primary one: it decides. `guardrails` are names of metrics that must not get worse.

    `planned` is the number of units of all variants at which always-valid intervals are the shortest: set before the
    first look. `shares` are of the traffic, by variant; none: equal ones.
    """

    metrics: tuple[Metric, ...]
    guardrails: frozenset[str] = frozenset()
    control: str = ""
    shares: Mapping[str, float] | None = None
    planned: int = PLANNED
    alpha: float = ALPHA
    correction: str = "holm"
    fixed: bool = False

    def __post_init__(self) -> None:
        if not self.metrics:
            raise SettingsError("expected a metric at least: the column that says what a unit did, --metric clicks")
        names = [metric.name for metric in self.metrics]
        stray = sorted(self.guardrails - set(names))
        if stray:
            raise SettingsError(f"expected guardrails among the metrics {', '.join(names)}, got {stray[0]!r}")
        if len(set(names)) < len(names):
            raise SettingsError(f"expected each metric once, got {', '.join(names)}")
        if self.correction not in CORRECTIONS:
            raise SettingsError(f"expected a correction of {', '.join(CORRECTIONS)}, got {self.correction!r}")


def pairs_of(given: Sequence[str], option: str) -> dict[str, str]:
    """Read `NAME=VALUE` words; a name may come once. Raises SettingsError."""
    found: dict[str, str] = {}
    for word in given:
        name, equals, value = (part.strip() for part in word.partition("="))
        if not equals or not name or not value or name in found:
            raise SettingsError(f"{option}: expected NAME=VALUE, each name once, got {word!r}")
        found[name] = value
    return found

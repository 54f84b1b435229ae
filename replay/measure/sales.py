"""What buyers were shown and what they did, by experiment and variant: counts as they come, figures, JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from contracts.outputs import json_kind

SALES: Final = json_kind("sales to synthetic buyers", "run", "total", "variants")
Group = tuple[str, str]
"""Experiment and variant; both empty outside of one."""


@dataclass(slots=True)
class Sales:
    """Counts of one group of pages. Money is in cents. `shown_at`, `clicked_at` count by position, from 1.

    A visit counts in every group of which it saw a page, an order in every group of which it has a line.
    """

    visits: int = 0
    pages: int = 0
    looked_at: int = 0
    carts: int = 0
    orders: int = 0
    lines: int = 0
    pieces: int = 0
    returns: int = 0
    bought_cents: int = 0
    returned_cents: int = 0
    shown_at: Counter[int] = field(default_factory=Counter)
    clicked_at: Counter[int] = field(default_factory=Counter)

    @property
    def shown(self) -> int:
        return self.shown_at.total()

    @property
    def clicks(self) -> int:
        return self.clicked_at.total()

    @property
    def ctr(self) -> float | None:
        """Clicks by items shown, None without any."""
        return self.clicks / self.shown if self.shown else None

    @property
    def revenue(self) -> float:
        """What was bought less what came back."""
        return (self.bought_cents - self.returned_cents) / 100

    def ctr_at(self, position: int) -> float | None:
        """Clicks by items shown at a position, None where none was."""
        shown = self.shown_at[position]
        return self.clicked_at[position] / shown if shown else None

    def as_json(self) -> dict[str, Any]:
        """Return the counts and figures as JSON has them."""
        return {
            **{name: getattr(self, name) for name in ("visits", "pages", "shown", "looked_at", "clicks", "ctr")},
            **{name: getattr(self, name) for name in ("carts", "orders", "lines", "pieces", "returns", "revenue")},
            "returned": self.returned_cents / 100,
            "ctr_by_position": [self.ctr_at(position) for position in range(1, max(self.shown_at, default=0) + 1)],
        }


@dataclass(slots=True)
class Takings:
    """What a run comes to. `rejected` and `failed` count events that are not in the log, by reason; `unanswered`
    questions without a list, by reason. `unknown` counts items shown that are none of the shop's.
    """

    total: Sales = field(default_factory=Sales)
    groups: dict[Group, Sales] = field(default_factory=dict)
    members: int = 0
    unknown: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)

    def of(self, *groups: Group) -> Iterable[Sales]:
        """Return what counts for the groups: the total, and each of them."""
        return [self.total, *(self.groups.setdefault(group, Sales()) for group in dict.fromkeys(groups))]

    @property
    def lost(self) -> int:
        return self.rejected.total() + self.failed.total()

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON has it; a row a group, in order of their names."""
        return {
            "members": self.members,
            "unknown_items": self.unknown,
            "rejected": dict(self.rejected),
            "failed": dict(self.failed),
            "unanswered": dict(self.unanswered),
            "total": self.total.as_json(),
            "variants": [
                {"experiment_id": group[0] or None, "variant": group[1] or None, **sales.as_json()}
                for group, sales in sorted(self.groups.items())
            ],
        }

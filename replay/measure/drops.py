"""What a target's rules dropped of its candidates, as its answers tell it: counted so that it merges exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self


def read_counts(counts: Any) -> dict[str, int]:
    """Return counts by rule from an answer. Raises ValueError, TypeError or AttributeError for anything else."""
    return {str(rule): int(count) for rule, count in counts.items()}


@dataclass(slots=True)
class Drops:
    """By rule: candidates dropped, answers that lost some, and the sum of squares of an answer's count.

    `answers` is the number of answers that told it, whether something was dropped or not. Grows while a run goes on.
    """

    answers: int = 0
    candidates: Counter[str] = field(default_factory=Counter)
    touched: Counter[str] = field(default_factory=Counter)
    squares: Counter[str] = field(default_factory=Counter)

    def add(self, dropped: Mapping[str, int]) -> None:
        """Count one answer."""
        self.answers += 1
        for rule, count in dropped.items():
            self.candidates[rule] += count
            self.touched[rule] += count > 0
            self.squares[rule] += count * count

    @classmethod
    def merged(cls, parts: Iterable[Drops]) -> Self:
        whole = cls()
        for part in parts:
            whole.answers += part.answers
            whole.candidates += part.candidates
            whole.touched += part.touched
            whole.squares += part.squares
        return whole

    def as_json(self) -> dict[str, Any] | None:
        """Return everything as plain values, the rule that dropped most first; None when no answer told it."""
        if not self.answers:
            return None
        rules = {
            rule: {"candidates": count, "answers": self.touched[rule], "squares": self.squares[rule]}
            for rule, count in self.candidates.most_common()
        }
        return {"answers": self.answers, "rules": rules}

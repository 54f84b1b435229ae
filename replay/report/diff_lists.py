"""Two targets' answers to the same questions: what both show and where, and which rule took the rest away.

An answer is held until the other target's has come; of the two a few numbers stay.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

KS = (5, 10, 20)
DRAWS = 1000
MOST_NAMED = 10
"""Items named of one rule, those that it took away most often."""
NO_RULE = "(no rule: ranked lower, or no candidate)"
NOT_TOLD = "(not told)"


@dataclass(frozen=True, slots=True)
class Answer:
    """One target's answer to one question: items from the first position on, why each is there, and whether the
    visitor's next click is among them. `dropped` has the rule of every candidate that one dropped, `counts` how many
    each did; None when the target does not tell.
    """

    session_id: str
    items: tuple[str, ...]
    reasons: tuple[str, ...]
    hit: bool = False
    dropped: Mapping[str, str] | None = None
    counts: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over questions, and the 95% interval of resampling whole sessions."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RuleCompared:
    """What one rule dropped: candidates an answer of a and of b, and the paired difference b - a.

    `gone_in_b` counts the items that a shows and that this rule took away from b, `named_in_b` has those that went most
    often; `gone_in_a` and `named_in_a` the other way round.
    """

    a: float
    b: float
    difference: Estimate
    gone_in_a: int = 0
    gone_in_b: int = 0
    named_in_a: dict[str, int] = field(default_factory=dict)
    named_in_b: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListsCompared:
    """How two targets' answers to the same questions compare.

    `overlap` is by k; `rank_change` the mean distance between an item's two positions, where both show it;
    `hit_difference` the hit rate of b less that of a, question by question. `only_a` and `only_b` count items that one
    target alone shows, by the reason it gave; `rules` says which rule took what away, also of these.
    """

    questions: int
    overlap: dict[int, Estimate]
    hit_difference: Estimate
    same_first: Estimate
    same_list: Estimate
    rank_change: Estimate
    only_a: dict[str, int]
    only_b: dict[str, int]
    rules: dict[str, RuleCompared]

    def metrics(self) -> dict[str, float]:
        """Return what conditions may name: a mean by its name, the ends of its interval as `name:low`, `name:high`."""
        means = {f"overlap@{k}": estimate for k, estimate in self.overlap.items()}
        for name in ("hit_difference", "same_first", "same_list", "rank_change"):
            means[name] = getattr(self, name)
        means |= {f"dropped_{name}": rule.difference for name, rule in self.rules.items() if name not in _NO_RULES}
        found = {name: estimate.value for name, estimate in means.items()}
        return found | {f"{name}:{end}": getattr(one, end) for name, one in means.items() for end in ("low", "high")}


_NO_RULES = (NO_RULE, NOT_TOLD)
A, B = 0, 1
Difference = dict[str, Any]
"""A question whose answers differ, as plain values."""


class Comparing:
    """Takes answers as they come. `on_difference` is told of every question whose answers differ: both lists, and of
    what one alone shows the rule that took it from the other.
    """

    def __init__(self, on_difference: Callable[[Difference], None] = lambda one: None) -> None:
        self._on_difference = on_difference
        self._waiting: dict[int, tuple[int, Answer]] = {}
        self._sessions: dict[str, int] = {}
        self._session_of = array("q")  # a question, as all columns below
        self._columns: dict[str, array[float]] = {}
        self._dropped: tuple[dict[str, array[float]], dict[str, array[float]]] = {}, {}  # by rule, for either side
        self._moves, self._moves_session = array("f"), array("q")  # an item that both show
        self._alone = Counter[str](), Counter[str]()  # by reason
        self._gone: tuple[dict[str, Counter[str]], dict[str, Counter[str]]] = {}, {}  # from either side, by rule

    def add(self, side: int, question: int, answer: Answer) -> None:
        """Take one target's (A, B) answer to the question at this place in the schedule."""
        waiting = self._waiting.pop(question, None)
        if waiting is None or waiting[0] == side:
            self._waiting[question] = side, answer
        else:
            pair = (waiting[1], answer) if side == B else (answer, waiting[1])
            self._compare(question, *pair)

    def _compare(self, question: int, a: Answer, b: Answer) -> None:
        session = self._sessions.setdefault(a.session_id, len(self._sessions))
        self._session_of.append(session)
        for k in KS:
            self._note(f"overlap@{k}", _overlap(a, b, k))
        self._note("hit_difference", float(b.hit) - float(a.hit))
        self._note("same_first", float(a.items[:1] == b.items[:1]))
        self._note("same_list", float(a.items == b.items))
        for side, answer in ((A, a), (B, b)):
            for rule, count in (answer.counts or {}).items():
                column = self._dropped[side].setdefault(rule, array("f"))
                _pad(column, len(self._session_of) - 1)
                column.append(count)
        if a.items != b.items:
            self._note_items(question, session, a, b)
        else:
            self._moves.extend([0.0] * len(a.items))
            self._moves_session.extend([session] * len(a.items))

    def _note(self, name: str, value: float) -> None:
        self._columns.setdefault(name, array("f")).append(value)

    def _note_items(self, question: int, session: int, a: Answer, b: Answer) -> None:
        places = {item: place for place, item in enumerate(b.items)}
        for place, item in enumerate(a.items):
            if item in places:
                self._moves.append(abs(place - places[item]))
                self._moves_session.append(session)
        only = []
        for side, one, other in ((A, a, b), (B, b, a)):
            shown, alone = set(other.items), dict[str, str]()
            for item, reason in zip(one.items, one.reasons, strict=True):
                if item not in shown:
                    alone[item] = _taken_by(other, item)
                    self._alone[side][reason] += 1
                    self._gone[1 - side].setdefault(alone[item], Counter())[item] += 1
            only.append(alone)
        self._on_difference({"question": question, "session_id": a.session_id, "a": a.items, "b": b.items,
                             "only_a": only[A], "only_b": only[B]})  # fmt: skip

    def result(self, *, seed: int = 0) -> ListsCompared:
        """Return how all answers compare so far; a question that one target did not answer is left out."""
        rng = np.random.default_rng(seed)
        sessions = np.array(self._session_of)

        def mean(name: str) -> Estimate:
            return _by_session(np.array(self._columns.get(name, ())), sessions, rng)

        return ListsCompared(
            questions=len(self._session_of),
            overlap={k: mean(f"overlap@{k}") for k in KS},
            hit_difference=mean("hit_difference"),
            same_first=mean("same_first"),
            same_list=mean("same_list"),
            rank_change=_by_session(np.array(self._moves), np.array(self._moves_session), rng),
            only_a=dict(self._alone[A].most_common()),
            only_b=dict(self._alone[B].most_common()),
            rules=self._rules(sessions, rng),
        )

    def _rules(self, sessions: NDArray[np.int64], rng: np.random.Generator) -> dict[str, RuleCompared]:
        """Return what every rule dropped on either side, the one that took most shown items away first."""
        found = {}
        for name in dict.fromkeys(rule for each in (*self._gone, *self._dropped) for rule in each):
            counts = [self._dropped[side].get(name, array("f")) for side in (A, B)]
            for column in counts:
                _pad(column, len(self._session_of))
            ours, theirs = (np.array(column) for column in counts)
            gone = [self._gone[side].get(name, Counter[str]()) for side in (A, B)]
            found[name] = RuleCompared(
                a=float(ours.mean()),
                b=float(theirs.mean()),
                difference=_by_session(theirs - ours, sessions, rng),
                gone_in_a=gone[A].total(),
                gone_in_b=gone[B].total(),
                named_in_a=dict(gone[A].most_common(MOST_NAMED)),
                named_in_b=dict(gone[B].most_common(MOST_NAMED)),
            )
        return dict(sorted(found.items(), key=lambda one: (one[0] in _NO_RULES, -one[1].gone_in_a - one[1].gone_in_b)))


def rules_of(dropped: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return the rule that dropped each item."""
    return {item: rule for rule, items in dropped.items() for item in items}


def _pad(column: array[float], length: int) -> None:
    column.extend([0.0] * (length - len(column)))


def _taken_by(answer: Answer, item: str) -> str:
    return NOT_TOLD if answer.dropped is None else answer.dropped.get(item, NO_RULE)


def _overlap(a: Answer, b: Answer, k: int) -> float:
    """Return the share of the first k that both show; of shorter answers, of as many as the longer one has."""
    first, second = set(a.items[:k]), set(b.items[:k])
    longest = max(len(first), len(second))
    return len(first & second) / longest if longest else 1.0


def _by_session(values: NDArray[np.float64], sessions: NDArray[np.int64], rng: np.random.Generator) -> Estimate:
    """Return the mean of values (n,) with an interval from resampling sessions: a visitor's answers resemble."""
    if not len(values):
        return Estimate(0.0, 0.0, 0.0)
    counts = np.bincount(sessions)
    sums, counts = np.bincount(sessions, values)[counts > 0], counts[counts > 0]
    means = np.empty(DRAWS)
    for draw in range(DRAWS):
        chosen = rng.integers(0, len(sums), len(sums))
        means[draw] = sums[chosen].sum() / counts[chosen].sum()
    low, high = np.percentile(means, (2.5, 97.5))
    return Estimate(float(sums.sum() / counts.sum()), float(low), float(high))

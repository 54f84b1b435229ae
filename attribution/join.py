"""Joining a batch of facts with what is known of their sessions and users. Two steps, as users follow from sessions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from attribution.cells import Cells
from attribution.credit import CreditRules, change
from attribution.facts import Fact, Outcome, Page
from attribution.participants import past_of, rows_of
from attribution.rows import Row
from attribution.units import EMPTY, Bounds, Grown, Unit, grown


@dataclass(slots=True)
class Joined:
    """What a batch changes: cells, units by name, and rows of experiments by experiment and unit; `facts` counts what
    became of facts.
    """

    cells: Cells = field(default_factory=Counter)
    units: dict[str, Unit] = field(default_factory=dict)
    rows: dict[str, dict[str, Row]] = field(default_factory=lambda: defaultdict(dict))
    facts: Counter[str] = field(default_factory=Counter)


ForUsers = Mapping[str, list[Page | Outcome]]


def by_session(facts: Iterable[Fact]) -> dict[str, list[Fact]]:
    found: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        found[fact.session_id].append(fact)
    return found


def join_sessions(
    facts: Mapping[str, list[Fact]], units: Mapping[str, Unit], rules: CreditRules, bounds: Bounds
) -> tuple[Joined, ForUsers]:
    """Add facts to their sessions; returns what changes, and what their users are to be told."""
    joined, told = Joined(), defaultdict[str, list[Page | Outcome]](list)
    for session_id, came in facts.items():
        old = units.get(session_id, EMPTY)
        own = [fact.what for fact in came if not _is_of_user(fact)]
        seen = dict.fromkeys(fact.user_id for fact in came if fact.user_id is not None)
        theirs = [fact.what for fact in came if isinstance(fact.what, Outcome) and fact.user_id is not None]
        unit = _aged(old, grown(old, own, seen, bounds, theirs), rules)
        _take(joined, session_id, old, unit, rules)
        joined.facts["repeated"] += unit.repeated
        joined.facts["left_out"] += unit.left_out
        joined.cells.update(change(unit, rules, is_session=True))
        for user_id in unit.after.users:
            pages = unit.pages if user_id in unit.before.users else unit.after.pages.values()
            told[user_id] += [page for page in pages if page.user_id in (None, user_id)]
        for fact in came:
            if fact.user_id is not None and isinstance(fact.what, Page | Outcome):
                told[fact.user_id].append(fact.what)  # a page that it was told of already is a repeat
    return joined, {user_id: facts for user_id, facts in told.items() if facts}


def _is_of_user(fact: Fact) -> bool:
    """Tell whether a fact is an outcome that is counted with its user, not with its session."""
    return isinstance(fact.what, Outcome) and fact.user_id is not None


def join_users(told: ForUsers, units: Mapping[str, Unit], rules: CreditRules, bounds: Bounds) -> Joined:
    """Add what sessions tell of their users."""
    joined = Joined()
    for user_id, facts in told.items():
        old = units.get(user_id, EMPTY)
        unit = _aged(old, grown(old, facts, (), bounds), rules)
        outcomes = [fact for fact in facts if isinstance(fact, Outcome)]
        fresh = len(unit.after.outcomes) - len(unit.before.outcomes)
        _take(joined, user_id, old, unit, rules)
        joined.facts["repeated"] += len(outcomes) - fresh
        joined.cells.update(change(unit, rules, is_session=False))
    return joined


def _aged(old: Unit, unit: Grown, rules: CreditRules) -> Grown:
    """Keep of facts that a unit is too old for what they were to experiments."""
    past = past_of(old, unit.before, rules)
    return unit if past == old.past else unit._replace(after=replace(unit.after, past=past))


def _take(joined: Joined, name: str, old: Unit, unit: Grown, rules: CreditRules) -> None:
    if unit.after == old:
        return
    joined.units[name] = unit.after
    found, was = rows_of(unit.after, rules), rows_of(old, rules) if unit.after.past else {}
    for experiment, row in found.items():
        if row != was.get(experiment):
            joined.rows[experiment][name] = row

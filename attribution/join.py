"""Joining a batch of facts with what is known of their sessions and users. Two steps, as users follow from sessions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from attribution.cells import Cells
from attribution.credit import CreditRules, change
from attribution.facts import Fact, Outcome, Page
from attribution.units import EMPTY, Bounds, Unit, grown


@dataclass(slots=True)
class Joined:
    """What a batch changes: cells, and units by name; `facts` counts what became of facts."""

    cells: Cells = field(default_factory=Counter)
    units: dict[str, Unit] = field(default_factory=dict)
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
        unit = grown(old, own, seen, bounds)
        _take(joined, session_id, old, unit.after, unit.repeated, unit.left_out)
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
        unit = grown(old, facts, (), bounds)
        outcomes = [fact for fact in facts if isinstance(fact, Outcome)]
        fresh = len(unit.after.outcomes) - len(unit.before.outcomes)
        _take(joined, user_id, old, unit.after, len(outcomes) - fresh, 0)
        joined.cells.update(change(unit, rules, is_session=False))
    return joined


def _take(joined: Joined, name: str, old: Unit, new: Unit, repeated: int, left_out: int) -> None:
    joined.facts["repeated"] += repeated
    joined.facts["left_out"] += left_out
    if new != old:
        joined.units[name] = new

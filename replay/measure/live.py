"""The live hit rate: ask for recommendations as visitors do, and see whether what they click next is among them.

What that is compared with is worked out afterwards (`hit_rates`).
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from evaluation.metrics import rank_in
from replay.engine.choices import Ask
from replay.engine.http_client import HttpClient
from replay.engine.schedule import Page, Planned, clicked_item
from replay.engine.targets import JSON
from replay.measure.drops import Drops, read_counts
from replay.measure.timings import Timings

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_MISSED = 0
ERROR, DEGRADED, HIT, FOLLOWED = 1, 2, 4, 8
"""Bits of a question's flags. A question is followed when a click came after it; a hit names that click's item."""


@dataclass(slots=True)
class AnswerCounts:
    """What the gateway answered. `ranks` maps the place in the recording of the click that followed a question to the
    rank of its item, 0 for none. `flags` has the bits of every entry of the timings.
    """

    ranks: dict[int, int] = field(default_factory=dict)
    timings: Timings = field(default_factory=Timings)
    flags: array[int] = field(default_factory=lambda: array("B"))
    stages_us: dict[str, array[int]] = field(default_factory=dict)
    degraded: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    dropped: Drops = field(default_factory=Drops)
    stale: int = 0
    short: int = 0
    hits: int = 0

    @property
    def followed(self) -> int:
        """Questions that a click came after."""
        return len(self.ranks)


@dataclass(frozen=True, slots=True)
class Shown:
    """What an answer said: items from the first position on, and what else the target tells of it.

    `reasons` stand beside the items, where the target gives any. `dropped` counts candidates by the rule that dropped
    them, `dropped_items` names them; None when the target does not tell.
    """

    items: Sequence[str]
    degraded: Sequence[str] = ()
    model: str | None = None
    stages_us: Mapping[str, int] = field(default_factory=dict)
    stale: bool = False
    dropped: Mapping[str, int] | None = None
    reasons: Sequence[str] = ()
    dropped_items: Mapping[str, Sequence[str]] | None = None


class UnreadableAnswer(ValueError):
    """An answer of status 200 is not what was expected; says what."""


class Questions(Protocol):
    """How a target is asked for recommendations."""

    limit: int

    def request(self, planned: Planned, page: Page) -> tuple[bytes, bytes]:
        """Return head and body of the request that the page makes on which `planned` is then clicked."""

    def read(self, body: bytes) -> Shown:
        """Read an answer of status 200. Raises ValueError, KeyError or TypeError for what is none."""


def placement_of(page: Page, placements: Mapping[str, str]) -> str:
    """Return where a page's recommendations stand, by the type of the event that opened it; `*` is all others."""
    return placements.get(page.type) or placements.get("*", "homepage")


class GatewayQuestions:
    """`POST /api/recommendations/{placement}`, with the session's last token. `placements` maps the type of the event
    that opened the page to a placement, `*` standing for all others; a product page names its item. With `explain`
    answers name what rules dropped.
    """

    def __init__(
        self, http: HttpClient, *, placements: Mapping[str, str] | None = None, limit: int = 20, explain: bool = False
    ) -> None:
        self.limit = limit
        self._more: dict[str, Any] = {"explain": True} if explain else {}
        self._placements = dict(placements or {"*": "homepage"})
        self._heads = {
            placement: http.head("POST", f"/api/recommendations/{placement}", JSON)
            for placement in {"homepage", *self._placements.values()}
        }

    def request(self, planned: Planned, page: Page) -> tuple[bytes, bytes]:
        placement = placement_of(page, self._placements)
        question: dict[str, Any] = {"session_id": planned.session_id, "limit": self.limit, **self._more}
        if page.token is not None:
            question["after"] = page.token
        if placement == "product" and page.item_id is not None:
            question["item_id"] = page.item_id
        return self._heads[placement], orjson.dumps(question)

    def read(self, body: bytes) -> Shown:
        answer = orjson.loads(body)
        recommended = answer["recommendations"]
        return Shown(
            items=[one["product_id"] for one in recommended],
            degraded=answer["degraded"],
            model=answer["model_version"],
            stages_us=answer["timings_us"],
            stale=bool(answer.get("stale")),
            dropped=read_counts(answer["dropped"]) if "dropped" in answer else None,
            reasons=[str(one.get("reason") or "") for one in recommended] if self._more else (),
            dropped_items=answer.get("dropped_items"),
        )


@dataclass(slots=True)
class Listed:
    """The list on a page that a session has opened: the question's entry in the timings, what was shown once it is
    answered, and the session's next click once it is known.
    """

    entry: int = -1
    items: Sequence[str] = ()
    next: Planned | None = None

    @property
    def answered(self) -> bool:
        return self.entry >= 0


class LiveAsker:
    """Asks for recommendations: before a share of the clicks, or on a share of the pages as they open. A question is
    asked once: an error counts as a miss, as it does for a visitor.
    """

    def __init__(
        self,
        http: HttpClient,
        questions: Questions,
        *,
        share: float = 1.0,
        when: Ask = Ask.CLICK,
        most_sessions: int = 500_000,
    ) -> None:
        """`share` (0 to 1) of the clicks, or pages, is asked about: the same ones in every run of a recording."""
        self._http, self._questions = http, questions
        self._below = round(share * (_MASK + 1))
        self._most_sessions = most_sessions
        self._listed: dict[str, Listed] = {}  # the page that each session is on
        self.on_pages = when is Ask.PAGE
        self.asked = AnswerCounts()

    def wants(self, planned: Planned) -> bool:
        """Tell whether to ask before this event, or on the page that it opens: a sampled one that names an item."""
        return clicked_item(planned.fields) is not None and (planned.index * _GOLDEN & _MASK) < self._below

    async def ask(self, planned: Planned, page: Page, elapsed_s: Callable[[], float]) -> None:
        """Ask before a click, and note the rank of its item in the answer."""
        self._follow(await self._asked(planned, page, elapsed_s), planned)

    def opens(self, planned: Planned) -> Listed:
        """Note that this event has opened a page: what its session clicks next is looked for in the list there."""
        listed = self._listed[planned.session_id] = Listed()
        if len(self._listed) > self._most_sessions:
            del self._listed[next(iter(self._listed))]
        return listed

    async def ask_on_page(self, planned: Planned, page: Page, listed: Listed, elapsed_s: Callable[[], float]) -> None:
        """Ask for the list of a page that `planned` has opened."""
        answered = await self._asked(planned, page, elapsed_s)
        listed.entry, listed.items = answered.entry, answered.items
        if listed.next is not None:
            self._follow(listed, listed.next)

    def goes_on(self, planned: Planned) -> None:
        """Note a session's next event: a click is looked for in the list of the page that it leaves."""
        if clicked_item(planned.fields) is None:
            return
        listed = self._listed.pop(planned.session_id, None)
        if listed is None:
            return
        if listed.answered:
            self._follow(listed, planned)
        else:
            listed.next = planned

    async def _asked(self, planned: Planned, page: Page, elapsed_s: Callable[[], float]) -> Listed:
        head, body = self._questions.request(planned, page)
        sent_s = elapsed_s()
        shown = await self._answer(head, body)
        self.asked.timings.add(planned.offset_s, sent_s, elapsed_s())
        self._note(shown)
        return Listed(len(self.asked.flags) - 1, tuple(map(sys.intern, shown.items)) if shown is not None else ())

    async def _answer(self, head: bytes, body: bytes) -> Shown | None:
        try:
            answer = await self._http.request(head, body)
            if answer.status == 200:
                return self._questions.read(answer.body)
            self.asked.errors[f"status {answer.status}"] += 1
        except OSError as error:
            self.asked.errors[type(error).__name__] += 1
        except UnreadableAnswer as error:
            self.asked.errors[str(error)] += 1
        except (ValueError, KeyError, TypeError, AttributeError):
            self.asked.errors["unreadable answer"] += 1
        return None

    def _follow(self, listed: Listed, click: Planned) -> None:
        """Note the rank of the click's item among what was listed."""
        asked = self.asked
        rank = rank_in(clicked_item(click.fields), listed.items) or _MISSED
        asked.ranks[click.index] = rank
        asked.flags[listed.entry] |= FOLLOWED | (HIT if rank else 0)
        asked.hits += rank > 0

    def _note(self, shown: Shown | None) -> None:
        asked = self.asked
        if shown is None:
            asked.flags.append(ERROR)
            return
        asked.flags.append(DEGRADED if shown.degraded else 0)
        asked.short += len(shown.items) < self._questions.limit
        asked.stale += shown.stale
        asked.degraded.update(shown.degraded)
        if shown.dropped is not None:
            asked.dropped.add(shown.dropped)
        if shown.model is not None:
            asked.models[shown.model] += 1
        for stage, took_us in shown.stages_us.items():
            if stage not in asked.stages_us:
                asked.stages_us[stage] = array("q")
            asked.stages_us[stage].append(took_us)

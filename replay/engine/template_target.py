"""Events and questions by a target's template (see `template`), so that any HTTP recommender can be played into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from replay.engine.http_client import HttpClient
from replay.engine.schedule import Page, Planned
from replay.engine.targets import Fields, Refused, Taken, TryAgain, insist, problem
from replay.engine.template import EVENT_NAMES, QUESTION_NAMES, Request, TargetTemplate, Values, pointed
from replay.measure.drops import read_counts
from replay.measure.live import Shown, UnreadableAnswer, placement_of


class TemplateTarget:
    """Sends events as the template says: one by one, or together where the body takes `{events}`."""

    def __init__(self, http: HttpClient, template: TargetTemplate, *, give_up_s: float = 30.0) -> None:
        self._http, self._give_up_s, self._template = http, give_up_s, template.events
        self._request = _Sender(http, Request.of(template.events, EVENT_NAMES)) if template.events else None
        self._together = template.takes_batches

    async def send(self, batch: Sequence[Fields]) -> Taken:
        if self._request is None:
            return Taken(len(batch))
        groups = [batch] if self._together else [[fields] for fields in batch]
        outcomes = []
        for group in groups:
            head, body = self._request.made({**group[-1], "event": group[-1], "events": list(group)})
            outcomes.append(await insist(lambda: self._post(head, body, len(group)), len(group), self._give_up_s))  # noqa: B023 - awaited here
        return outcomes[0] if len(outcomes) == 1 else _added(outcomes)

    async def _post(self, head: bytes, body: bytes, events: int) -> Taken:
        assert self._template is not None
        try:
            answer = await self._http.request(head, body)
        except OSError as error:
            raise TryAgain(type(error).__name__) from error
        if answer.status not in self._template.accept:
            raise problem(answer)
        if self._template.token is None:
            return Taken(events)
        try:
            tokens = pointed(orjson.loads(answer.body), self._template.token)
        except ValueError as error:
            raise Refused("unreadable answer") from error
        return Taken(events, token=str(tokens[0]) if tokens and tokens[0] is not None else None)


class TemplateQuestions:
    """Asks for recommendations as the template says. Raises SettingsError without [recommendations]."""

    def __init__(
        self, http: HttpClient, template: TargetTemplate, *, placements: Mapping[str, str], limit: int = 20
    ) -> None:
        template.expect(questions=True)
        assert template.recommendations is not None
        self.limit, self._placements, self._template = limit, placements, template.recommendations
        self._request = _Sender(http, Request.of(template.recommendations, QUESTION_NAMES))

    def request(self, planned: Planned, page: Page) -> tuple[bytes, bytes]:
        values = {
            "session_id": planned.session_id,
            "user_id": planned.fields.get("user_id"),
            "item_id": page.item_id,
            "ts": planned.fields.get("ts"),
            "limit": self.limit,
            "placement": placement_of(page, self._placements),
            "after": page.token,
        }
        return self._request.made(values)

    def read(self, body: bytes) -> Shown:
        answer, template = orjson.loads(body), self._template
        items = [str(item) for item in pointed(answer, template.items)]
        if not items and _misses(answer, template.items):
            raise UnreadableAnswer(f"no items at {template.items}")
        degraded = _flat(pointed(answer, template.degraded)) if template.degraded is not None else ()
        models = pointed(answer, template.model) if template.model is not None else ()
        dropped = pointed(answer, template.dropped) if template.dropped is not None else ()
        return Shown(
            items,
            [str(one) for one in degraded],
            str(models[0]) if models else None,
            dropped=read_counts(dropped[0]) if dropped else None,
        )


class _Sender:
    """A compiled request on a client; its head is made once where nothing in it varies."""

    def __init__(self, http: HttpClient, request: Request) -> None:
        self._http, self._request = http, request
        self._head = self._head_of({}) if request.has_fixed_head else None

    def made(self, values: Values) -> tuple[bytes, bytes]:
        return self._head or self._head_of(values), self._request.body_of(values)

    def _head_of(self, values: Values) -> bytes:
        request = self._request
        return self._http.head(request.method, request.path_of(values), request.headers_of(values))


def _added(outcomes: Sequence[Taken]) -> Taken:
    return Taken(
        sum(one.accepted for one in outcomes),
        sum((one.rejected for one in outcomes), Counter[str]()),
        sum((one.failed for one in outcomes), Counter[str]()),
        outcomes[-1].token,
        sum(one.retries for one in outcomes),
    )


def _misses(answer: Any, pointer: str) -> bool:
    """Tell whether a pointer that found nothing leads past what is there, rather than through an empty list."""
    holders = pointed(answer, pointer.partition("/*")[0])
    return not holders or any(holder != [] for holder in holders)


def _flat(values: list[Any]) -> list[Any]:
    return [one for value in values for one in (value if isinstance(value, list) else [value]) if one]

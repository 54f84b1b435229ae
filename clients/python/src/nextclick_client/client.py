"""The client for code that waits. One client serves all threads of a process, and keeps its connections."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from nextclick_client import calls
from nextclick_client._http import httpx
from nextclick_client.calls import Call, Outcome
from nextclick_client.retries import Retry
from nextclick_client.types import (
    CatalogueAnswer,
    Document,
    EventsAnswer,
    PageAnswer,
    RecommendationAnswer,
    UserAnswer,
)


class Client:
    """Talks to one gateway. Every call raises Refused, Unavailable or WrongUse (`nextclick_client.errors`)."""

    def __init__(
        self,
        url: str = "http://localhost:8080",
        *,
        key: str | None = None,
        timeout_s: float = 10.0,
        retry: Retry | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`key` is an API key, that of NEXTCLICK_API_KEY when left out. `timeout_s` bounds each wait of an attempt."""
        self._url, self._retry, self._sleep = calls.base_url(url), retry or Retry(), sleep
        self._key, self._timeout_s = key, timeout_s
        self._http, self._process = self._opened(), os.getpid()

    def send_events(self, events: Iterable[Mapping[str, Any]]) -> EventsAnswer:
        """Send at most 1,000 events, made by `event`. Returns once they are durably in the log; broken ones are
        named in `rejected`, and the others are taken.
        """
        return cast(EventsAnswer, self._ask(calls.send_events(events)))

    def recommend(
        self, scenario: str, session_id: str, *, limit: int = 20, after: str | None = None, **question: Any
    ) -> RecommendationAnswer:
        """Ask for a list. `after` is the token of `send_events`: the answer counts those clicks. `question` is
        `user_id`, `item_id`, `context`, `recent_events`, `exclude`, `candidates`, `filter`, `fields`, `cursor`,
        `explain`.
        """
        asked = {**question, "limit": limit, "after": after}
        return cast(RecommendationAnswer, self._ask(calls.recommend(scenario, session_id, asked)))

    def page(
        self, session_id: str, lists: Sequence[Document], *, after: str | None = None, **question: Any
    ) -> PageAnswer:
        """Ask for the lists of one page, no item twice: `[{"scenario": "homepage", "limit": 8}, ...]`."""
        return cast(PageAnswer, self._ask(calls.pages(session_id, lists, {**question, "after": after})))

    def put_item(self, item_id: str, item: Document) -> CatalogueAnswer:
        """Create or replace an item."""
        return cast(CatalogueAnswer, self._ask(calls.item("PUT", item_id, item)))

    def put_items(self, items: Iterable[Document]) -> CatalogueAnswer:
        """Create or replace items, each with its `item_id`; any number, in as many calls as that takes."""
        total: CatalogueAnswer = {"accepted": 0, "rejected": [], "visible": True}
        for before, call in calls.put_items(items):
            add(total, cast(CatalogueAnswer, self._ask(call)), before)
        return total

    def patch_item(self, item_id: str, patch: Document) -> CatalogueAnswer:
        """Change the named fields of an item; None takes one away."""
        return cast(CatalogueAnswer, self._ask(calls.item("PATCH", item_id, patch)))

    def delete_item(self, item_id: str) -> CatalogueAnswer:
        return cast(CatalogueAnswer, self._ask(calls.item("DELETE", item_id)))

    def item(self, item_id: str) -> dict[str, Any]:
        return cast("dict[str, Any]", self._ask(calls.item("GET", item_id)))

    def set_stock(self, stock: Mapping[str, int]) -> CatalogueAnswer:
        """Set stock by item id, at most 1,000 at once."""
        return cast(CatalogueAnswer, self._ask(calls.set_stock(stock)))

    def user(self, user_id: str) -> dict[str, Any]:
        """Return what the site said of a user."""
        return cast("dict[str, Any]", self._ask(calls.user("GET", user_id)))

    def put_user(self, user_id: str, user: Document) -> UserAnswer:
        return cast(UserAnswer, self._ask(calls.user("PUT", user_id, user)))

    def patch_user(self, user_id: str, patch: Document) -> UserAnswer:
        return cast(UserAnswer, self._ask(calls.user("PATCH", user_id, patch)))

    def delete_user(self, user_id: str) -> UserAnswer:
        """Forget a user."""
        return cast(UserAnswer, self._ask(calls.user("DELETE", user_id)))

    def do_not_show(self, user_id: str, **what: str) -> UserAnswer:
        """Never show a user an `item_id`, a `brand` or a `category` again."""
        return cast(UserAnswer, self._ask(calls.user("POST", user_id, what, "/do-not-show")))

    def show_again(self, user_id: str, **what: str) -> UserAnswer:
        return cast(UserAnswer, self._ask(calls.user("DELETE", user_id, what, "/do-not-show")))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _opened(self) -> httpx.Client:
        return httpx.Client(headers=calls.headers_of(self._key), timeout=self._timeout_s)

    def _ask(self, call: Call) -> Any:
        attempt = 1
        while True:
            outcome = self._attempt(call)
            pause = calls.pause_s(call, outcome, attempt, self._retry, random.random())
            if pause is None:
                return calls.read(call, outcome)
            self._sleep(pause)
            attempt += 1

    def _attempt(self, call: Call) -> Outcome:
        if self._process != os.getpid():  # forked: connections are the parent's
            self._http, self._process = self._opened(), os.getpid()
        try:
            answer = self._http.request(
                call.method, self._url + call.path, content=call.body, headers={"Content-Type": call.kind}
            )
        except httpx.RequestError as error:  # also of a body that is not compressed as it says
            return Outcome(fault=f"{type(error).__name__}: {error}")
        return Outcome(answer.status_code, answer.content, answer.headers.get("Retry-After"))


def add(total: CatalogueAnswer, answer: CatalogueAnswer, before: int) -> None:
    """Add one part's answer to the whole's."""
    total["accepted"] += answer["accepted"]
    total["visible"] = total["visible"] and answer["visible"]
    total["rejected"] += [{**one, "index": one["index"] + before} for one in answer["rejected"]]

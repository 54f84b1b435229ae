"""A past answer, made again from what was kept of it, and compared with what was answered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from contracts.errors import NextclickError
from contracts.ids import item_key
from gateway.answer_records import files_in, find
from gateway.answers import recommended, without_margins
from gateway.interleaved import mixed
from gateway.wire import encoded
from rerank.kept import Remade, unpack
from rerank.query import PipelineSettings
from rerank.ranker import Ranker
from rerank.scenarios.compiled import plain
from rerank.why_not import Verdict, WhyNot, why_not

REQUEST_ID: Final = 32
"""Hex digits."""
_NOT_HERE: Final = (
    "It was no candidate, and what sources could have brought is not kept: ask `POST /api/scenarios/NAME/why-not` "
    "where it would come from now."
)


class NotKept(NextclickError):
    """An answer of which nothing is kept."""


class Explained(msgspec.Struct, frozen=True):
    """`body`: what was answered. `again`: what was made of what was kept."""

    request_id: str
    body: bytes
    again: bytes
    about: dict[str, Any]
    pages: list[Remade]
    """The ranking; of an interleaved page, both."""

    @property
    def is_same(self) -> bool:
        """Whether both are the same, byte for byte."""
        return self.body == self.again

    @property
    def reads_scores_back(self) -> bool:
        """Whether the re-ranker could not be had, so that its scores were taken as they were kept."""
        return any(page.reads_scores_back for page in self.pages)

    @property
    def answer(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)
        return found

    def differs(self) -> list[str]:
        """Name the fields that are not the same."""
        again = orjson.loads(self.again)
        return [name for name, value in self.answer.items() if again.get(name) != value]

    def why_not(self, item_id: str) -> WhyNot:
        """Say what became of an item; of an interleaved page, in its first list."""
        shown = [one["item_id"] for one in self.answer["recommendations"]]
        if item_id in shown:
            at = shown.index(item_id) + 1
            return WhyNot(item_id, Verdict.SHOWN, f"It was shown, at place {at}.", position=at)
        page = self.pages[0]
        if page.row_of(item_id) < 0:
            return WhyNot(item_id, Verdict.NO_CANDIDATE, _NOT_HERE)
        return why_not(page, page.query, item_id)


def explained(folder: Path, request_id: str, ranker_of: Callable[[str], Ranker | None]) -> Explained:
    """Make an answer again. `ranker_of` finds a re-ranker by its version. Raises NotKept."""
    if len(request_id) != REQUEST_ID or not set(request_id) <= set("0123456789abcdef"):
        raise NotKept(f"expected a request id of {REQUEST_ID} hex digits, as answers have it, got {request_id[:80]!r}")
    found = find(folder, request_id)
    if found is None:
        raise NotKept(
            f"{folder}: the answer {request_id} is not among the {len(files_in(folder))} files of kept answers: it is "
            "too old, was not of the share that is kept (NEXTCLICK_ANSWERS__SHARE), is not written yet, or was a list "
            "of a page (`POST /api/pages`), which is not kept"
        )
    body, about, packed, named = found
    settings = PipelineSettings.model_validate(about["pipeline"])
    pages: list[Remade] = []
    for one in packed:
        kept = unpack(one, named)
        version = kept.head["ranker"]
        pages.append(Remade(kept, settings, None if version is None else ranker_of(version)))
    return Explained(request_id, body, encoded(_again(body, request_id, about, pages)), about, pages)


def _again(body: bytes, request_id: str, about: dict[str, Any], pages: list[Remade]) -> dict[str, Any]:
    """Return the answer with everything in it made again that follows from the rankings."""
    answer: dict[str, Any] = orjson.loads(body)
    ranked = [page.answer() for page in pages]
    first, whole = pages[0], ranked[0]
    if len(ranked) > 1:
        whole, _ = mixed(ranked[0], ranked[1], about["limit"], int(request_id, 16))
    scenario = first.query.scenario or plain(first.query.placement)
    keys = [item_key(item.item_id) for item in whole.items]
    made: dict[str, Any] = {
        "recommendations": recommended(first.columns, scenario, about["fields"], whole.items, keys),
        "cold_start": whole.cold_start,
        "dropped": whole.dropped,
        "dropped_items": whole.dropped_items,
        "explained": whole.explained if about["open"] else without_margins(whole.explained),
        "session": _session(first),
    }
    return answer | {name: value for name, value in made.items() if name in answer}


def _session(page: Remade) -> dict[str, Any]:
    session, now_ms = page.query.session, page.query.now_ms
    if session is None:
        return {"events": 0, "age_ms": None}
    return {"events": session.events, "age_ms": max(0, now_ms - session.last_ms)}

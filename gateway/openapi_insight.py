"""The paths of one session and of one item in the OpenAPI document: what the console's pages show."""

from __future__ import annotations

from typing import Final

from gateway.erasure_pages import ErasedThings, ErasureBegun, ErasureReceipt, Look, Remainder
from gateway.insight import GoesWith, InsightAnswer, ItemTrends, ShownBy
from gateway.openapi_parts import Json, json_of, operation, path_parameter, problems
from gateway.session_pages import AskedSession, NearItem, SessionAnswer, SessionClick, SessionsAnswer

MODELS: Final = (
    *(SessionsAnswer, AskedSession, SessionAnswer, SessionClick, NearItem),
    *(InsightAnswer, ItemTrends, GoesWith, ShownBy),
    *(ErasureBegun, ErasureReceipt, ErasedThings, Remainder, Look),
)
_SESSION: Final = path_parameter("session_id", {"type": "string", "minLength": 1, "maxLength": 256})
_ITEM: Final = path_parameter("item_id", {"type": "string", "minLength": 1, "maxLength": 256})


def insight_paths() -> Json:
    """Return the paths of sessions and of what is known of an item."""
    listed = operation(
        "List sessions answered lately",
        "sessions",
        {200: json_of(SessionsAnswer)},
        description="Of the last 500 answers of this process, the 20 newest sessions. Others have their own.",
    )
    session = operation(
        "Show a session",
        "sessions",
        {200: json_of(SessionAnswer)} | problems(404, 422, 503),
        description="The clicks of its window with their items, and the items nearest to its vector. A preview may "
        "`forget` a click by its `event`.",
        parameters=[_SESSION],
    )
    insight = operation(
        "Show what is known of an item",
        "catalogue",
        {200: json_of(InsightAnswer)} | problems(404, 422, 503),
        description="Its counts, the items that it goes with, and of the first 20 scenarios whether a visitor of whom "
        "nothing is known is shown it, and if not by which rule. One request at a time.",
        parameters=[_ITEM],
    )
    erase = operation(
        "Erase a session",
        "sessions",
        {200: json_of(ErasureBegun)} | problems(403, 422, 503),
        description="Within a minute, in every place that holds something of it. The answer is the receipt, `running`.",
        parameters=[_SESSION],
    )
    erasure = operation(
        "Show an erasure",
        "users",
        {200: json_of(ErasureReceipt)} | problems(404, 503),
        description="What was erased where, and what remains. Of one that is `done` it looks through everything again "
        "before it answers: `looked.clean` says that nothing from before it is there, also after a restore.",
        parameters=[path_parameter("erasure_id", {"type": "string", "minLength": 1, "maxLength": 64})],
    )
    return {
        "/api/sessions": {"get": listed},
        "/api/sessions/{session_id}": {"get": session, "delete": erase},
        "/api/erasures/{erasure_id}": {"get": erasure},
        "/api/items/{item_id}/insight": {"get": insight},
    }

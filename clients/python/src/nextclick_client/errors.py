"""What goes wrong, as exceptions that say what was expected, what came, and what to do.

NextclickError
├── Refused       the gateway does not take this call; sending it again changes nothing
├── Unavailable   the gateway took nothing, however often it was asked; sending it again later may
└── WrongUse      this call was never sent: its arguments are none
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

_ADVICE = {
    400: "send JSON in UTF-8",
    401: "give the client a key: Client(url, key='nc_...'), or set NEXTCLICK_API_KEY",
    403: "use a key of the scope that is named there",
    404: "look at the name, and at the url of the client: it ends before /api",
    413: "send it in parts",
    415: "leave the Content-Type to the client",
    422: "mend the fields that are named",
    507: "delete items or users, or raise the bound in the gateway's settings",
}


class FieldProblem(NamedTuple):
    """A field that the gateway did not take: a JSON pointer into the body, and why."""

    pointer: str
    detail: str


class NextclickError(Exception):
    """Whatever this client raises on purpose."""


class WrongUse(NextclickError, ValueError):
    """Arguments that make no call."""


class Refused(NextclickError):
    """The gateway answered that it does not take the call. `status` is that of HTTP, `fields` names what is wrong."""

    def __init__(self, what: str, status: int, body: bytes) -> None:
        self.status = status
        self.detail, self.fields = problem_of(body)
        said = "; ".join(f"{one.pointer or 'body'}: {one.detail}" for one in self.fields) or self.detail
        advice = _ADVICE.get(status, "look into the gateway's log")
        super().__init__(f"{what}: expected a 2xx answer, got {status}: {said}. What to do: {advice}")


class Unavailable(NextclickError):
    """The gateway could not be reached, or had no room, at any of `attempts` attempts. `status` is None where nothing
    answered. What was sent may have been taken: with the same event ids it counts once when it is sent again.
    """

    def __init__(self, what: str, attempts: int, *, status: int | None = None, said: str = "") -> None:
        self.attempts, self.status = attempts, status
        got = said if status is None else f"{status}: {said}"
        tried = "once" if attempts == 1 else f"{attempts} times"
        super().__init__(
            f"{what}: expected an answer, got {got} (tried {tried}). What to do: see that the gateway runs and is "
            "ready (GET /readyz), then send it again: events and items count once"
        )


def problem_of(body: bytes) -> tuple[str, Sequence[FieldProblem]]:
    """Return what a problem answer (RFC 9457) says, and the fields that it names; of any other body its beginning."""
    try:
        problem = json.loads(body)
        fields = [FieldProblem(str(one["pointer"]), str(one["detail"])) for one in problem.get("errors") or ()]
        return str(problem.get("detail") or problem.get("title") or ""), fields
    except (ValueError, TypeError, LookupError, AttributeError):
        return body[:300].decode(errors="replace"), []

"""What the API document says of keys: the schemes, and what each operation asks. Read from `gateway.access`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.access import ACCESS, Access
from gateway.door import IN_QUERY

Json = dict[str, Any]

SCHEMES: Final[Json] = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, as `Authorization: Bearer ncs_...`. `nextclick keys create` makes one. Public keys "
        "(`ncp_...`) are for the pages of their origins.",
    },
    "publicKey": {
        "type": "apiKey",
        "in": "query",
        "name": IN_QUERY,
        "description": "A public key in the address, for `navigator.sendBeacon`, which has no headers.",
    },
}

_NO_KEY: Final[Json] = {}
"""Of a list of ways in: with nothing at all."""


def secure(paths: Json, problem_of: Callable[[int], Json], *, asks_keys: bool) -> Json:
    """Return the paths with what each operation asks, and what it answers to those who do not bring it.

    `problem_of(status)` is the answer of a problem.
    """
    return {
        path: {
            method: _secured(operation, f"{method.upper()} {path}", problem_of, asks_keys)
            for method, operation in operations.items()
        }
        for path, operations in paths.items()
    }


def _secured(operation: Json, endpoint: str, problem_of: Callable[[int], Json], asks_keys: bool) -> Json:
    access = ACCESS[endpoint]
    answers = {} if access.any_host and access.scope is None else {"403": problem_of(403)}
    if access.scope is None:
        return {**operation, "security": [], "responses": _in_order(operation["responses"], answers)}
    answers |= {"401": problem_of(401), "503": problem_of(503)}
    answers["401"]["headers"] = {"WWW-Authenticate": {"description": "RFC 6750.", "schema": {"type": "string"}}}
    said = f"Where the gateway asks for API keys: a key of scope `{access.scope}`."
    description = f"{operation['description']} {said}" if "description" in operation else said
    return {
        **operation,
        "description": description,
        "security": _ways_in(access, asks_keys=asks_keys),
        "responses": _in_order(operation["responses"], answers),
    }


def _ways_in(access: Access, *, asks_keys: bool) -> list[Json]:
    ways: list[Json] = [{"key": []}, *([{"publicKey": []}] if access.query else [])]
    return ways if asks_keys and not access.own_machine else [*ways, _NO_KEY]


def _in_order(answers: Json, more: Json) -> Json:
    return dict(sorted({**more, **answers}.items()))

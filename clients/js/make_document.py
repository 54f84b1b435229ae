"""Writes the part of the gateway's OpenAPI document that this client speaks, from which its types are made:

make client-types
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from gateway.openapi import document

PATHS = (
    "/api/events",
    "/api/recommendations/{scenario}",
    "/api/pages",
    "/api/items",
    "/api/items/{item_id}",
    "/api/stock",
    "/api/users/{user_id}",
    "/api/users/{user_id}/do-not-show",
)
_REF = re.compile(r'"#/components/(\w+)/([^"]+)"')


def part() -> dict[str, Any]:
    """Return the document of these paths, and of all that they refer to."""
    whole = document()
    paths = {path: whole["paths"][path] for path in PATHS}
    components: dict[str, dict[str, Any]] = {}
    left = _REF.findall(json.dumps(paths))
    while left:
        kind, name = left.pop()
        if name not in components.setdefault(kind, {}):
            components[kind][name] = whole["components"][kind][name]
            left += _REF.findall(json.dumps(components[kind][name]))
    named = {kind: dict(sorted(found.items())) for kind, found in sorted(components.items())}
    return {
        "openapi": whole["openapi"],
        "info": {"title": "Nextclick", "version": "1"},
        "paths": paths,
        "components": named,
    }


def text() -> str:
    return json.dumps(part(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())

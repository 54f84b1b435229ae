"""JSON pointers (RFC 6901): how whoever reads a refusal finds the place in the document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

MAX_FIELDS: Final = 20
"""Places that a refusal names."""
_TRIED = re.compile(r"[A-Z]\w*$|[\w-]+\[").match


def pointer(path: Sequence[str | int]) -> str:
    """Return the JSON pointer of a path into a document: ('exclude', 3) is `/exclude/3`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def in_document(place: Sequence[str | int]) -> list[str | int]:
    """Return a place without the kinds that pydantic tried there one after the other: no field of ours is called so."""
    return [part for part in place if not (isinstance(part, str) and _TRIED(part))]

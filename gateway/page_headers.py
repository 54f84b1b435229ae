"""Headers that tell a browser what an answer may become: no script, no frame, no type but the one that is said.

A page runs and loads its own files alone. No text of a client is a script then, even where a page took it for markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NOSNIFF: Final = {"X-Content-Type-Options": "nosniff"}
"""What every answer says: it is of the type that is named, and of no other that its beginning looks like."""

_CLOSED: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}

_COMMON: Final = {
    **NOSNIFF,
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def page_headers(**opened: str) -> Mapping[str, str]:
    """Return the headers of a page, and of the files that it loads. `opened` are directives that it needs otherwise."""
    directives = _CLOSED | {name.replace("_", "-"): value for name, value in opened.items()}
    return {**_COMMON, "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in directives.items())}


SHOP: Final = page_headers(img_src="'self' http: https:", require_trusted_types_for="'script'", trusted_types="'none'")
"""The demo shop makes no markup of text at all: where a browser knows trusted types, it is held to that. It shows the
shop's own pictures, which may lie on any host; none learns from which page it is asked (Referrer-Policy)."""

CONSOLE: Final = page_headers(require_trusted_types_for="'script'", trusted_types="'none'")
"""The console makes no markup of text either, and loads nothing from elsewhere."""

DOCS: Final = page_headers(img_src="'self' data:")
"""Swagger UI: its style sheet holds its icons."""

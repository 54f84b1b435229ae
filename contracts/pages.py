"""Pages that are files: one policy for all, by which nothing in a page runs or is loaded but its own style and script.

Whatever text such a page shows (an item's title, the name of a file) can then be neither script nor style, even where
it was taken for markup.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html import escape

_STYLED = re.compile(r' style="([^"<>{}]*)"')


def page(*, generator: str, title: str, body: str, style: str, script: str = "") -> str:
    """Return a page of HTML that holds all it needs. `title` is text, `body` is markup.

    Attributes `style="…"` in the body go into the style sheet: the policy knows no other place for them. In texts of
    the body quotes are escaped, so none of those is meant.
    """
    rules: dict[str, int] = {}

    def named(found: re.Match[str]) -> str:
        return f' data-s="{rules.setdefault(found[1], len(rules))}"'

    body = _STYLED.sub(named, body)
    style += "".join(f'[data-s="{number}"]{{{rule}}}' for rule, number in rules.items())
    policy = f"default-src 'none'; style-src {_hash_of(style)}; base-uri 'none'; form-action 'none'"
    if script:
        policy += f"; script-src {_hash_of(script)}"
        body += f"<script>{script}</script>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="generator" content="{escape(generator)}">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="referrer" content="no-referrer">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>{body}</body></html>\n"
    )


def _hash_of(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"

"""Makes what is served of the browser tag from its source: `make tag`, or `python -m tests.tag_made`.

tdewolff-minify (MIT, a wheel, no node) shortens names: without comments and spaces alone the tag would be too large.
What it makes is in the repository: neither the gateway nor its wheel needs it.
"""

from __future__ import annotations

import minify

from gateway.tag import MADE, SOURCE


def made(source: str) -> str:
    """Return a script minified, in the syntax of ES2018."""
    minify.config({"js-version": 2018})
    text: str = minify.string("application/javascript", source)
    return text + "\n"


if __name__ == "__main__":
    MADE.write_text(made(SOURCE.read_text()))

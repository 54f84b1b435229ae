"""What the supervisor says of its parts, for people."""

from __future__ import annotations

import logging


def log_with_time() -> None:
    """Have what the supervisor says of its parts on stderr, each line with its time."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

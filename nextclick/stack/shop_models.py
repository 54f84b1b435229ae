"""Where the models of the synthetic shop are, which the demo serves; `nextclick train shop` makes them."""

from __future__ import annotations

from pathlib import Path

ARTIFACTS = Path(__file__).parents[1] / "shop_artifacts"

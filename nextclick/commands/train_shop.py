"""`nextclick train shop`: the artifacts of the synthetic shop."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

SHOP_SESSIONS = 40_000


def shop(
    out: Annotated[Path | None, typer.Option(help="Folder of artifacts; none: where the demo finds them.")] = None,
    sessions: Annotated[int, typer.Option(help="Shoppers to learn from.")] = SHOP_SESSIONS,
) -> None:
    """Rebuild the artifacts of the synthetic shop: session model and re-ranker."""
    import numpy as np

    from eventlog.files import write_items
    from learning.model_folders import expect_reranker, expect_session_model, put_models
    from nextclick.show.training import reranker_watched, session_model_watched
    from nextclick.stack.shop_models import ARTIFACTS
    from replay.synthetic.shoppers import DAY_MS, DEFAULT_SEED, FIRST_DAY_MS, default_shop, shoppers
    from session_model.torch_extra import expect_torch
    from session_model.training_settings import TrainingSettings

    expect_torch()

    out = out or ARTIFACTS
    expect_session_model(out)
    expect_reranker(out)
    catalogue = default_shop()
    past = shoppers(catalogue, sessions, np.random.default_rng(DEFAULT_SEED))
    with TemporaryDirectory(prefix="nextclick-shop-") as folder:
        made, items = Path(folder) / "models", Path(folder) / "items.jsonl.zst"
        known = dict(catalogue.items)
        session_model_watched(past, known, made, TrainingSettings(), seed=DEFAULT_SEED, serving=out)
        # the trees learn from the week after the one that the towers learnt from, as they will serve
        rng, next_week = np.random.default_rng(DEFAULT_SEED + 1), FIRST_DAY_MS + 7 * DAY_MS
        week = list(shoppers(catalogue, sessions, rng, start_ms=next_week))
        write_items(items, catalogue.items)
        reranker_watched(week, items, made, seed=DEFAULT_SEED, serving=out)
        put_models(made, out)

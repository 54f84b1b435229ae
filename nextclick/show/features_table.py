"""The feature reference, generated from the declarations in `rerank/features/`: `docs/features.md` is its output."""

from __future__ import annotations

from math import inf

from rerank.features import BLOCKS, FEATURES, PARTS, SCHEMA_HASH, Block, Feature
from rerank.features.block import Range

HEAD = f"""# Features

The re-ranker scores a candidate by {len(FEATURES)} numbers. Training and serving compute them with the same code
(`rerank/features/`). A ranker is trained on this schema, `{SCHEMA_HASH}`; one of another schema is refused.
`nextclick features` prints this page; [extending](extending.md) says how to add a feature.

- The window is the session's newest clicks, newest first. A page's item stands before them unless it was clicked last.
- The newest item is that of the first window entry. The last clicks are the first 4 (`PIPELINE__COVISIT_CLICKS`).
- Logarithms are natural. A rank counts from 0.
- NaN says that the number does not exist. Trees take it as it is.
"""
CONTEXT = """## Features of the context

A ranker may have these beside the ones above: `context` under `[reranker]` in the settings of its training asks for
them by the names of the sections, and its manifest names those that the recording had. None is learnt unless asked for
([what they bring](ranking.md#device-region-hour-weekday-and-season)). All times are UTC.
"""
COLUMNS = """| feature | formula | range | NaN |
|---|---|---|---|
"""


def features_table() -> str:
    """Return the feature reference as Markdown."""
    return "\n".join([HEAD, *map(_section, BLOCKS), CONTEXT, *map(_section, PARTS.values())]).rstrip("\n")


def _section(block: Block) -> str:
    title = block.name.replace("_", " ").replace("covisit", "co-visit").capitalize()
    return f"## {title}\n\n{block.about}\n\n{COLUMNS}" + "".join(map(_row, block.features))


def _row(feature: Feature) -> str:
    return f"| `{feature.name}` | {feature.meaning} | {_shown(feature.range)} | {feature.nan or 'never'} |\n"


def _shown(limits: Range) -> str:
    low, high = limits
    if low == -inf:
        return "any" if high == inf else f"up to {high:g}"
    return f"from {low:g}" if high == inf else f"{low:g} to {high:.4g}"

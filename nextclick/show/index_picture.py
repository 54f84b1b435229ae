"""Recall against search effort and latency: measured on a snapshot, drawn as one self-contained page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from contracts.outputs import text_kind
from contracts.pages import page
from retrieval.ann_index import AnnIndex
from retrieval.canary import probes
from retrieval.live import Opened

_GENERATOR = "nextclick index inspect"
PICTURE = text_kind("a picture of `nextclick index inspect`", "<!doctype html>", f'content="{_GENERATOR}"')
_STYLE = "body{font:15px system-ui;margin:2rem}td,th{padding:.2rem .8rem;text-align:right}"
EXPANSIONS = (96, 128, 192, 256, 384, 512)
_WIDE, _HIGH, _EDGE = 640, 320, 56


@dataclass(frozen=True, slots=True)
class Effort:
    """What one search width finds and takes."""

    expansion: int
    recall: float
    p50_ms: float
    p99_ms: float


def measure(opened: Opened, *, sample: int, k: int, expansions: Sequence[int] = EXPANSIONS) -> list[Effort]:
    """Search near a random sample of items with every width, the one that serves among them, one query at a time, and
    compare with exact search."""
    queries, _ = probes(opened.columns, np.random.default_rng(2), sample)
    if not len(queries):
        return []
    exact, _ = opened.index.search_exact(queries, k)
    widths = sorted({*expansions, opened.index.width})
    return [_effort(opened.index, queries, exact, width, k) for width in widths]


def _effort(index: AnnIndex, queries: np.ndarray, exact: np.ndarray, expansion: int, k: int) -> Effort:
    took_ms, hits = [], []
    with index.widened(expansion):
        for query, wanted in zip(queries, exact, strict=True):
            began = time.perf_counter()
            rows, _ = index.search(query[None], k)
            took_ms.append(1000 * (time.perf_counter() - began))
            hits.append(np.isin(wanted[wanted >= 0], rows[0]).mean())
    return Effort(expansion, float(np.mean(hits)), *(float(p) for p in np.percentile(took_ms, (50, 99))))


def picture_page(efforts: Sequence[Effort], title: str) -> str:
    """Return an HTML page without scripts: recall over latency, a point a search width."""
    rows = "".join(f"<tr><td>{e.expansion}<td>{e.recall:.4f}<td>{e.p50_ms:.3f}<td>{e.p99_ms:.3f}</tr>" for e in efforts)
    body = (
        f"<h1>{escape(title)}</h1>{_chart(efforts)}"
        f"<table><tr><th>expansion<th>recall@100<th>p50 ms<th>p99 ms</tr>{rows}</table>"
    )
    return page(generator=_GENERATOR, title="Index", body=body, style=_STYLE)


def _chart(efforts: Sequence[Effort]) -> str:
    if not efforts:
        return "<p>Nothing can be searched.</p>"
    slowest = max(e.p50_ms for e in efforts) * 1.1
    lowest = min(0.9, *(e.recall for e in efforts)) - 0.01

    def x(latency_ms: float) -> float:
        return _EDGE + (_WIDE - 2 * _EDGE) * latency_ms / slowest

    def y(recall: float) -> float:
        return _HIGH - _EDGE - (_HIGH - 2 * _EDGE) * (recall - lowest) / (1.0 - lowest)

    line = " ".join(f"{x(e.p50_ms):.1f},{y(e.recall):.1f}" for e in efforts)
    points = "".join(
        f'<circle cx="{x(e.p50_ms):.1f}" cy="{y(e.recall):.1f}" r="4"/>'
        f'<text x="{x(e.p50_ms) + 6:.1f}" y="{y(e.recall) + 16:.1f}">{e.expansion}</text>'
        for e in efforts
    )
    levels = "".join(
        f'<line x1="{_EDGE}" x2="{_WIDE - _EDGE}" y1="{y(r):.1f}" y2="{y(r):.1f}" stroke="#ccc"/>'
        f'<text x="4" y="{y(r) + 4:.1f}">{r:.2f}</text>'
        for r in np.linspace(lowest, 1.0, 5).tolist()
    )
    return (
        f'<svg viewBox="0 0 {_WIDE} {_HIGH}" width="{_WIDE}" font-size="12" role="img">{levels}'
        f'<polyline points="{line}" fill="none" stroke="#06c" stroke-width="2"/>{points}'
        f'<text x="{_WIDE / 2}" y="{_HIGH - 8}" text-anchor="middle">ms a search (p50), to {slowest:.2f}</text>'
        f'<text x="{_EDGE}" y="20">recall@100; points are search widths</text></svg>'
    )

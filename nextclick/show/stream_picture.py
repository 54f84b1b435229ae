"""The hourly curves of a stream evaluation as one HTML file: SVG, nothing fetched."""

from __future__ import annotations

from html import escape
from typing import Any

from contracts.outputs import text_kind
from contracts.pages import page

_GENERATOR = "nextclick evaluate stream"
PICTURE = text_kind("a picture of `nextclick evaluate stream`", "<!doctype html>", f'content="{_GENERATOR}"')

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 960, 300, 48, 28, 34, 190
_COLOURS = ("#8a8f98", "#d98c2b", "#7a5fc0", "#3f8f5f", "#b7bcc4", "#1f5fd0")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2129; background: #fff; margin: 2rem auto; max-width: 62rem; }
h1 { font-size: 1.25rem; font-weight: 600; } h2 { font-size: 1rem; font-weight: 600; margin: 1.6rem 0 0; }
svg { width: 100%; height: auto; } text { font-size: 12px; fill: #5a606b; } .grid { stroke: #e6e8ec; }
"""


def draw(figures: dict[str, Any], *, title: str) -> str:
    """Return the page. `figures` are those of `evaluate_stream.figures_of`."""
    charts = "".join(
        f"<h2>{name}</h2>{_chart(figures, key)}" for name, key in (("MRR@10", "mrr"), ("Hit rate@10", "hit_rate"))
    )
    counts = f"{figures['cases']:,} predictions; {figures['new_cases']:,} of items under one hour old."
    body = f"<h1>{escape(title)}</h1><p>{counts}</p>{charts}"
    return page(generator=_GENERATOR, title=title, body=body, style=_STYLE)


def _chart(figures: dict[str, Any], key: str) -> str:
    hours: list[int] = figures["hours"]
    curves = {name: [pair[key] for pair in model["by_hour"]] for name, model in figures["models"].items()}
    top = max((value for values in curves.values() for value in values), default=0.0) or 1.0
    plot_width, plot_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    first, span = hours[0], max(1, hours[-1] - hours[0])

    def x(hour: float) -> float:
        return _LEFT + plot_width * (hour - first) / span

    def y(value: float) -> float:
        return _TOP + plot_height * (1.0 - value / top)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{key} by hour">']
    for step in range(5):
        value = top * step / 4
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + plot_width}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        )
        parts.append(f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.2f}</text>')
    for hour in hours:
        if hour % 6 == 0:
            parts.append(f'<text x="{x(hour):.1f}" y="{_HEIGHT - 12}" text-anchor="middle">{hour} h</text>')
    named = sorted(curves, key=lambda name: -curves[name][-1])
    for at, (name, values) in enumerate(curves.items()):
        colour = _COLOURS[at % len(_COLOURS)]
        points = " ".join(f"{x(hour):.1f},{y(value):.1f}" for hour, value in zip(hours, values, strict=True))
        width = 2.5 if name == "full pipeline" else 1.5
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        label_y = _TOP + 16 + 20 * named.index(name)
        x1 = _LEFT + plot_width + 14
        parts.append(
            f'<line x1="{x1}" x2="{x1 + 18}" y1="{label_y - 4}" y2="{label_y - 4}" stroke="{colour}" stroke-width="3"/>'
        )
        parts.append(f'<text x="{x1 + 24}" y="{label_y}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])

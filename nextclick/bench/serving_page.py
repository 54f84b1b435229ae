"""The latency curves of `nextclick bench serving` as one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files
from typing import Any

from contracts.outputs import text_kind
from contracts.pages import page
from evaluation.machine import describe_machine
from replay.report.charts import by_rate, milliseconds

_GENERATOR = "nextclick bench serving"
SERVING_PAGE = text_kind("a page of `nextclick bench serving`", "<!doctype html>", f'content="{_GENERATOR}"')
_CUTS = ("p50", "p90", "p99")


def serving_page(document: Mapping[str, Any]) -> str:
    """Return the page: a chart of latency and one of processor time a configuration, and the figures as a table."""
    asset = files("replay.report")
    style, script = (asset.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    found = document["configurations"]
    cards = "".join(_cards(one) for one in found)
    machine = asdict(describe_machine())
    body = (
        "<main><h1>Recommendations by rate</h1>"
        '<p class="sub">An open load at a constant rate, latency from the intended time, load generator on the same '
        f"machine</p>{_tiles(found, document['limit_ms'])}"
        f'<div class="cards">{cards}</div>'
        f"<footer>{escape(str(machine['cpu']))}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{escape(str(machine['system']))}, Python {machine['python']}</footer></main>"
    )
    return page(generator=_GENERATOR, title="Serving", body=body, style=style, script=script)


def _tiles(found: Sequence[Mapping[str, Any]], limit_ms: float) -> str:
    tiles = "".join(
        f'<div class="tile"><span>{escape(one["name"])}</span><strong>{one["highest"] or 0:,.0f}/s</strong>'
        f"<em>highest rate with p99 under {limit_ms:g} ms</em></div>"
        for one in found
    )
    return f'<div class="tiles">{tiles}</div>'


def _cards(one: Mapping[str, Any]) -> str:
    points, peer = one["points"], one["peer"]
    rates = [point["rate"] for point in points]
    lines = [(cut, cut, rates, [point[cut] for point in points]) for cut in _CUTS]
    if peer:
        lines.append(("peer, p99", "two", [point["rate"] for point in peer], [point["p99"] for point in peer]))
    latency = by_rate(lines, show=milliseconds, label=f"Latency by rate: {one['name']}", log=True)
    costs = [("all processes", "one", rates, [point["total_us"] / 1000.0 for point in points])]
    cost = by_rate(costs, show=milliseconds, label=f"Processor time by rate: {one['name']}")
    name = escape(one["name"])
    return (
        f'<section><h2>{name}: latency</h2><p class="note">Alone, one after the other: p50 '
        f"{milliseconds(one['sequential_p50'])}</p>{latency}</section>"
        f'<section><h2>{name}: processor time a request</h2><p class="note">All processes of the stack, what they use '
        f"when idle counted</p>{cost}</section>"
        f'<section class="wide"><h2>{name}: figures</h2>{_table(one)}</section>'
    )


def _table(one: Mapping[str, Any]) -> str:
    heads = ("rate", "p50", "p90", "p99", "degraded", "refused", "lost", "processor time")
    head = "".join(f"<th>{text}</th>" for text in heads)
    rows = "".join(f"<tr>{_cells(point)}</tr>" for point in one["points"])
    rows += "".join(f"<tr>{_cells(point, 'peer, ')}</tr>" for point in one["peer"])
    more = "".join(f'<p class="note">{escape(text)}</p>' for text in _further(one))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{more}'


def _cells(point: Mapping[str, Any], who: str = "") -> str:
    cost = f"{point['total_us'] / 1000.0:.2f} ms" if point["cpu_us"] else ""
    cells = [f"{who}{point['rate']:,.0f}/s", *(milliseconds(point[cut]) for cut in _CUTS)]
    cells += [f"{point['degraded']:.2%}", f"{point['refused']:,}", f"{point['errors']:,}", cost]
    return "".join(f"<td>{escape(cell)}</td>" for cell in cells)


def _further(one: Mapping[str, Any]) -> list[str]:
    found = []
    if clicks := one.get("clicks"):
        point = clicks["point"]
        found.append(
            f"{point['rate']:g} requests/s beside {clicks['rate']:g} clicks/s: p99 {milliseconds(point['p99'])}; "
            f"click to visible, p99 {milliseconds(clicks['visible_p99'])}."
        )
    if over := one.get("overload"):
        normal = over["normal_after_s"]
        back = "not normal again within 15 s" if normal is None else f"normal again after {normal:g} s"
        found.append(
            f"{over['rate']:,.0f} requests/s, twice the highest: {over['answered']:,} admitted with p99 "
            f"{milliseconds(over['p99'])}, {over['refused']:,} refused ({over['with_retry_after']:,} with Retry-After),"
            f" {over['errors']:,} lost; {back}."
        )
    if soak := one.get("soak"):
        most = max(soak["growth"].values(), default=0.0)
        found.append(
            f"{soak['seconds']:,.0f} s at {soak['rate']:g} requests/s: no process grew more than {most:g}%; p99 "
            f"{milliseconds(soak['first_p99'])} at first, {milliseconds(soak['last_p99'])} at the end."
        )
    return found

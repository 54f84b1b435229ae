"""What a scenario changes, as one HTML file: nothing is fetched, nothing runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from contracts.outputs import text_kind
from contracts.pages import page
from nextclick.show.scenario_tables import interval, number

if TYPE_CHECKING:
    from evaluation.paired import Difference
    from learning.scenario_figures import Exposure

_GENERATOR: Final = "nextclick scenario diff"
PAGE: Final = text_kind("a page of `nextclick scenario diff`", "<!doctype html>", f'content="{_GENERATOR}"')
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2129; background: #fff; margin: 2rem auto; max-width: 60rem;
  padding: 0 1rem; }
h1 { font-size: 1.25rem; font-weight: 600; } h2 { font-size: 1rem; font-weight: 600; margin: 2rem 0 .5rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid #e6e8ec; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } td small { color: #5a606b; white-space: normal; display: block; }
.clear { font-weight: 600; } p { color: #3c424d; }
"""


def draw(
    found: Mapping[str, Difference],
    suppliers: Sequence[Exposure],
    units: Mapping[str, str],
    *,
    old: str,
    new: str,
    asked: str,
) -> str:
    """Return the page. `units` says what each figure is, `asked` what was asked."""
    rows = "".join(_figure(name, one, units[name]) for name, one in found.items())
    exposed = "".join(
        f"<tr><td>{escape(one.name)}</td><td>{one.old:,}</td><td>{one.new:,}</td><td>{one.old_share:.1%}</td>"
        f"<td>{one.new_share:.1%}</td><td>{one.fate}</td></tr>"
        for one in suppliers
    )
    title = f"{new} instead of {old}"
    names = f"<th>{escape(old)}</th><th>{escape(new)}</th>"
    body = (
        f"<h1>{escape(title)}</h1><p>{escape(asked)} A change in bold has an interval without zero.</p>"
        f'<div class="wide"><table><tr><th>figure</th>{names}<th>change</th><th>95% interval</th></tr>{rows}</table>'
        f'</div><h2>Items shown by supplier</h2><div class="wide"><table><tr><th>supplier</th>{names}'
        f"<th>share, was</th><th>share, is</th><th></th></tr>{exposed}</table></div>"
    )
    return page(generator=_GENERATOR, title=title, body=body, style=_STYLE)


def _figure(name: str, one: Difference, unit: str) -> str:
    change = one.change
    cells = (
        number(name, one.old),
        number(name, one.new),
        number(name, change.value, signed=True),
        interval(name, change.low, change.high),
    )
    marked = ' class="clear"' if one.is_clear else ""
    shown = "".join(f"<td>{cell}</td>" for cell in cells)
    return f"<tr{marked}><td>{name}<small>{escape(unit)}</small></td>{shown}</tr>"

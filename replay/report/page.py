"""A run's result as one self-contained page of HTML: nothing is fetched when it is opened.

Takes the JSON that `PlayResult.as_json` gives, also from a file of an earlier run; what it does not hold is left out.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson

from contracts.errors import ImportFormatError
from contracts.outputs import text_kind, write_output
from contracts.pages import page
from replay.report.cards import Result, all_cards, as_text
from replay.report.charts import Mark, milliseconds

_GENERATOR = "nextclick replay report"
REPORT = text_kind("a report of a replay", "<!doctype html>", f'content="{_GENERATOR}"')


def read_result(path: Path) -> dict[str, Any]:
    """Read a result file of `nextclick replay play`. Raises ImportFormatError for anything else."""
    try:
        found = orjson.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except (OSError, orjson.JSONDecodeError) as error:
        raise ImportFormatError(f"{path}: expected the result of a replay, as JSON ({error})") from error
    if not isinstance(found, dict) or "latency" not in found or "accepted" not in found:
        raise ImportFormatError(f"{path}: expected the result of a replay: write one with `replay play --out`")
    return found


def write_report(result: Result, path: Path) -> None:
    """Write the page of one result. `path` appears whole."""
    write_output(path, report_page(result).encode(), REPORT)


def report_page(result: Result) -> str:
    """Return the page of one result."""
    asset = files("replay.report")
    style, script = (asset.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    title = str(result.get("scenario") or f"Replay {result.get('run', '')}")
    body = (
        f"<main>{_head(result, title)}{_verdict(result)}{_tiles(result)}"
        f'<div class="cards">{all_cards(result, marks_of(result))}</div>{_foot(result)}</main>'
    )
    return page(generator=_GENERATOR, title=title, body=body, style=style, script=script)


def marks_of(result: Result) -> list[Mark]:
    """Return the moments at which something was done to the target."""
    return [Mark(one["at_s"], one["name"], one.get("until_s")) for one in result.get("marks") or ()]


def _head(result: Result, title: str) -> str:
    lines = [result.get("recording"), f"into {result.get('target')}", result.get("pace")]
    workers = result.get("workers", 1)
    if workers > 1:
        lines.append(f"{workers} workers")
    return f'<h1>{as_text(title)}</h1><p class="sub">{as_text(" · ".join(str(line) for line in lines if line))}</p>'


def _verdict(result: Result) -> str:
    reasons = [f"Invalid run: {reason}" for reason in result.get("invalid") or ()]
    lost = sum((result.get("failed") or {}).values())
    if lost:
        reasons.append(f"{lost:,} events were lost")
    checks = result.get("checks") or ()
    reasons += [f"Not held: {one['name']}" for one in checks if not one["held"]]
    if result.get("stopped"):
        reasons.append("Stopped before its end")
    held = "".join(f"<br>{as_text(one['name'])}: {as_text(one['detail'])}" for one in checks if one["held"])
    if reasons:
        shown = "".join(f"<b>{as_text(reason)}</b>" for reason in reasons)
        return f'<div class="verdict bad">{shown}{held.removeprefix("<br>")}</div>'
    about = "The sender kept its schedule, and every event was accepted or refused for a reason."
    return f'<div class="verdict"><b>A valid run</b>{about}{held}</div>'


def _tiles(result: Result) -> str:
    latency, answers = result["latency"], result.get("answers")
    lost = sum((result.get("failed") or {}).values())
    rejected = sum((result.get("rejected") or {}).values())
    tiles = [
        _tile("Events accepted", f"{result['accepted']:,}", f"{result.get('rate', 0.0):,.0f} a second"),
        _tile("Lost", f"{lost:,}", f"{rejected:,} refused for a reason", bad=lost > 0),
        _tile("Event, p99", milliseconds(latency["p99"]), f"p50 {milliseconds(latency['p50'])}, from when it was due"),
    ]
    if answers:
        times = answers["latency"]
        errors = sum(answers["errors"].values())
        tiles += [
            _tile("Recommendation, p99", milliseconds(times["p99"]), f"p50 {milliseconds(times['p50'])}"),
            _tile("Errors in answers", f"{errors:,}", f"of {answers['questions']:,} questions", bad=errors > 0),
        ]
    if result.get("seen"):
        seen = result["seen"]["visible"]
        tiles.append(_tile("Click to visible, p99", milliseconds(seen["p99"]), f"p50 {milliseconds(seen['p50'])}"))
    followed = answers.get("followed", answers.get("questions")) if answers else 0
    if answers and followed and "hits" in answers:
        share = answers["hits"] / followed
        tiles.append(_tile("Next click among the answers", f"{share:.1%}", f"{answers['hits']:,} hits"))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(name: str, value: str, about: str, *, bad: bool = False) -> str:
    kind = "tile bad" if bad else "tile"
    shown = f"<span>{as_text(name)}</span><strong>{as_text(value)}</strong><em>{as_text(about)}</em>"
    return f'<div class="{kind}">{shown}</div>'


def _foot(result: Result) -> str:
    machine = result.get("machine") or {}
    shown = (
        f"{machine.get('cpu')}, {machine.get('cores')} cores, {machine.get('memory_gb')} GB, {machine.get('system')}, "
        f"Python {machine.get('python')}"
        if machine
        else ""
    )
    return f"<footer>{as_text(shown)}<br>{as_text(result.get('elapsed_s', 0))} s</footer>"

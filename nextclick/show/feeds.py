"""Feeds for people: a table, a page, a line. What opens a feed is never in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import orjson
from rich.table import Table
from rich.text import Text

from contracts.feed_status import FeedPull as Pull
from contracts.masked import masked
from nextclick.stack.feeds.definition import Feed, State


def shown(ms: int) -> str:
    """Return a moment in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def table_of(feeds: Sequence[tuple[Feed, State]]) -> Table:
    table = Table("feed", "format", "every", "source", "last pull (UTC)", "how it went", "next (UTC)")
    for feed, state in feeds:
        last = state.last
        cells = (
            feed.name,
            feed.format,
            str(timedelta(seconds=feed.every_s)),
            feed.shown_source,
            shown(last.began_ms) if last is not None else "",
            line_of(last) if last is not None else "not pulled yet",
            shown(state.next_ms) if state.next_ms else "now",
        )
        table.add_row(*map(Text, cells))
    return table


def line_of(pull: Pull) -> str:
    """Return how a pull went, in a line."""
    counts = [
        f"{count:,} {what}"
        for count, what in (
            (pull.found, "found"),
            (pull.put, "put"),
            (pull.stock, "stock"),
            (pull.deleted, "deleted"),
            (pull.same, "as they were"),
            (pull.left_out, "left out"),
            (pull.refused, "refused"),
            (pull.noted, "noted"),
        )
        if count
    ]
    return f"{pull.outcome}: {masked(pull.why)}{'; ' if pull.why and counts else ''}{', '.join(counts)}".rstrip(": ")


def summary_of(feed: Feed, state: State, *, running: bool) -> Iterator[str]:
    """Yield lines that say what a feed is and how its pulls went."""
    private = ", in private networks too" if feed.private and feed.is_remote else ""
    yield f"{feed.name}: {feed.shown_source} ({feed.format}{private}), every {timedelta(seconds=feed.every_s)}"
    for name, value in feed.shown_headers.items():
        yield f"  header {name}: {value}"
    if running:
        yield "  it is being pulled now"
    elif state.next_ms:
        yield f"  next pull {shown(state.next_ms)} UTC"
    for pull in state.pulls:
        took_s = (pull.ended_ms - pull.began_ms) / 1000
        yield f"  {shown(pull.began_ms)} UTC, {took_s:,.1f} s, {pull.bytes:,} bytes: {line_of(pull)}"
    last = next((pull for pull in state.pulls if pull.found), None)
    if last is not None and last.encodings:
        yield f"  encoding: {last.encodings}"
    if last is not None and last.readings:
        yield "  prices read as: " + ", ".join(f"{name} ({count:,})" for name, count in last.readings.items())


def faults_of(state: State, faults: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """Yield a line a fault."""
    for one in faults:
        page = f"page {one['page']}, " if "page" in one else ""
        where = f"{page}line {one['line']}" if one["line"] else "gateway"
        item = f" item {one['item_id']}" if "item_id" in one else ""
        yield f"  {where}:{item} {'left out: ' if one['left_out'] else ''}{masked(str(one['reason']))}"
    last = next((pull for pull in state.pulls if pull.found or pull.left_out), None)
    more = last.left_out + last.noted + last.refused - len(faults) if last is not None else 0
    if more > 0:
        yield f"  and {more:,} more: --faults shows more of them, as far as they are kept (feeds.report)"


def as_json(feed: Feed, state: State, faults: Sequence[Mapping[str, object]]) -> str:
    said = {
        "feed": {**feed.model_dump(mode="json"), "source": feed.shown_source, "headers": feed.shown_headers},
        **state.model_dump(mode="json"),
        "faults": list(faults),
    }
    return orjson.dumps(said, option=orjson.OPT_INDENT_2).decode()

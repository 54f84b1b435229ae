"""`nextclick feed`: catalogues that a shop publishes, pulled again and again."""

from __future__ import annotations

import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from connect.feeds.formats import FeedFormat
from nextclick.stack.api_key import KeyFile
from nextclick.stack.options import url_option

if TYPE_CHECKING:
    from nextclick.stack.feeds.definition import FeedFolder

console = Console()
Name = Annotated[str, typer.Argument(metavar="NAME", help="The feed's name.")]
Feeds = Annotated[Path | None, typer.Option("--feeds", help="Where feeds are kept.", show_default="`feeds.folder`")]
Url = Annotated[str | None, url_option("The gateway whose catalogue it is.")]
Source = Annotated[str, typer.Argument(metavar="URL-or-FILE", help="Its address or file; - reads it from stdin.")]
Every = Annotated[str, typer.Option("--every", metavar="PT1H", help="How often it is pulled: PT15M, PT1H, P1D.")]
Header = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="NAME:VALUE", help="Sent to the feed's own host alone; may be repeated."),
]
HeaderFile = Annotated[
    Path | None, typer.Option("--header-file", help="File of such lines: no other user of the machine sees them.")
]


def add(
    name: Name,
    source: Source,
    format: Annotated[FeedFormat, typer.Option("--format", help="What it is.")],
    every: Every = "PT1H",
    id_field: Annotated[
        str, typer.Option("--id", help="Field that holds an item's id.", show_default="the format's")
    ] = "",
    decimal: Annotated[str | None, typer.Option("--decimal", help="Mark before decimals of its prices: . or ,")] = None,
    currency: Annotated[str | None, typer.Option("--currency", help="Of prices that say none: EUR.")] = None,
    private: Annotated[bool, typer.Option("--private", help="It may be, or lead, into a private network.")] = False,
    header: Header = None,
    header_file: HeaderFile = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of a feed of this name.")] = False,
    feeds: Feeds = None,
) -> None:
    """Add a feed. Where `nextclick up` or `nextclick feed run` runs it is pulled at once, then as often as said."""
    from nextclick.stack.feeds.adding import feed_of
    from nextclick.stack.feeds.wired import folder_of
    from nextclick.stack.settings import StackSettings

    text = sys.stdin.read().strip() if source == "-" else source
    lines = [*(header or ()), *(header_file.read_text().splitlines() if header_file is not None else ())]
    feed = feed_of(
        name, text, format, every, lines, id_field=id_field, decimal=decimal, currency=currency, private=private
    )
    folder = folder_of(StackSettings(), feeds)
    folder.add(feed, replace=replace)
    where = (
        "a private network"
        if feed.private and feed.is_remote
        else "this machine"
        if not feed.is_remote
        else "the internet"
    )
    _say(f"feed {name}: {feed.shown_source} ({feed.format}, of {where}), every {timedelta(seconds=feed.every_s)}.")
    _say(
        f"A stack that runs in {folder.folder.parent} pulls it now, and when it is due; without one: nextclick feed "
        f"pull {name}. How it went: nextclick feed show {name}"
    )


def list_feeds(feeds: Feeds = None) -> None:
    """List the feeds, and how the last pull of each went."""
    from nextclick.show.feeds import table_of

    folder = _folder(feeds)
    names = folder.names()
    if not names:
        _say(f"There are no feeds in {folder.folder}: `nextclick feed add` adds one.")
        return
    console.print(table_of([(folder.read(name), folder.state(name)) for name in names]))


def show(
    name: Name,
    faults: Annotated[int, typer.Option("--faults", min=0, help="Faults of the last pull to show.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
    feeds: Feeds = None,
) -> None:
    """Show a feed, how its pulls went, and what was wrong in the last one, line by line."""
    from nextclick.show.feeds import as_json, faults_of, summary_of
    from nextclick.stack.feeds.pull import REPORT
    from nextclick.stack.feeds.report import read_report

    folder = _folder(feeds)
    feed, state = folder.read(name), folder.state(name)
    found = read_report(folder.place(name) / REPORT, faults)
    if json:
        typer.echo(as_json(feed, state, found))
        return
    for line in (*summary_of(feed, state, running=folder.is_held(name)), *faults_of(state, found)):
        _say(line)


def pull(
    name: Name,
    anew: Annotated[bool, typer.Option("--anew", help="Tell the catalogue every item again.")] = False,
    url: Url = None,
    key_file: KeyFile = None,
    feeds: Feeds = None,
) -> None:
    """Pull a feed now. Exits with 1 where it failed, or is held back."""
    _pulled("pull", name, url, key_file, feeds, anew=anew)


def confirm(name: Name, url: Url = None, key_file: KeyFile = None, feeds: Feeds = None) -> None:
    """Apply what is held back of a feed, as it was read."""
    _pulled("confirm", name, url, key_file, feeds)


def remove(
    name: Name,
    items: Annotated[bool, typer.Option("--items", help="Delete the items that it brought, too.")] = False,
    url: Url = None,
    key_file: KeyFile = None,
    feeds: Feeds = None,
) -> None:
    """Remove a feed. Its items stay in the catalogue unless told otherwise."""
    folder = _folder(feeds)
    count = 0
    if items:
        from nextclick.stack.feeds.wired import puller_of
        from nextclick.stack.settings import StackSettings, gateway_url

        with puller_of(StackSettings(), folder, gateway_url(url), _key(key_file)) as puller:
            count = puller.delete_items(name)
    folder.remove(name)
    _say(f"feed {name} is removed" + (f", and {count:,} items." if items else "; its items stay."))


def run(url: Url = None, key_file: KeyFile = None, feeds: Feeds = None) -> None:
    """Pull feeds when they are due, until Ctrl-C: for deployments where no `nextclick up` does."""
    import os
    import time

    from contracts.api_keys import VARIABLE
    from contracts.exits import or_exit
    from contracts.logs import log_as
    from contracts.observed import serve_metrics
    from nextclick.stack.feeds.figures import FIGURES, count
    from nextclick.stack.feeds.wired import schedule_of
    from nextclick.stack.settings import StackSettings, gateway_url

    log_as("feeds")
    settings = or_exit(StackSettings)
    or_exit(partial(serve_metrics, "feeds", settings.metrics, FIGURES))
    if (key := _key(key_file)) is not None:
        os.environ[VARIABLE] = key
    schedule = schedule_of(settings, gateway_url(url), {}, feeds, told=count)
    try:
        while True:
            schedule.look()
            time.sleep(1.0)
    finally:
        schedule.stop()


def _pulled(
    what: Literal["pull", "confirm"], name: str, url: str | None, key_file: Path | None, feeds: Path | None, **how: Any
) -> None:
    from nextclick.show.feed_progress import watched
    from nextclick.show.feeds import line_of
    from nextclick.stack.feeds.wired import puller_of
    from nextclick.stack.settings import StackSettings, gateway_url

    with (
        watched(console) as show,
        puller_of(StackSettings(), _folder(feeds), gateway_url(url), _key(key_file), show) as puller,
    ):
        done = puller.pull(name, **how) if what == "pull" else puller.confirm(name)
    _say(f"{name}: {line_of(done)}")
    if done.outcome not in ("applied", "unchanged"):
        raise typer.Exit(1)


def _folder(given: Path | None) -> FeedFolder:
    from nextclick.stack.feeds.wired import folder_of
    from nextclick.stack.settings import StackSettings

    return folder_of(StackSettings(), given)


def _key(key_file: Path | None) -> str | None:
    from nextclick.stack.api_key import api_key

    return None if key_file is None else api_key(key_file)


def _say(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)

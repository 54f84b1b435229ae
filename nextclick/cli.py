"""The command line: every command in one place. Rooms are imported when their command runs, so that help is quick."""

from __future__ import annotations

import logging
import os
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console

from contracts.errors import NextclickError
from contracts.settings import wrong_setting
from nextclick.stack.as_init import work_beside_init
from nextclick.stack.settings import gateway_url, up_settings

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Nextclick: a streaming, session-based recommender. One click changes the next recommendation.",
)
bench_app = typer.Typer(no_args_is_help=True, help="Measure the whole stack; what `make bench-...` calls.")
items_app = typer.Typer(no_args_is_help=True, help="Load catalogue items into a running stack.")
console = Console()

Port = Annotated[
    int | None, typer.Option(min=0, max=65535, show_default="8080", help="Port of the gateway; 0 takes a free one.")
]
Folder = Annotated[
    Path | None, typer.Option(show_default=".nextclick/stack", help="Where Redis's files and the logs go.")
]
Artifacts = Annotated[str | None, typer.Option(help="Folder of trained artifacts; without one there is no model.")]
Gateways = Annotated[int | None, typer.Option(min=1, max=64, show_default="1", help="Gateway processes.")]
Workers = Annotated[int | None, typer.Option(min=1, max=64, show_default="1", help="Processes of the sessions flow.")]
Page = Annotated[
    bool | None, typer.Option("--page/--no-page", show_default="no page", help="Serve the demo page at /.")
]
Index = Annotated[
    bool | None, typer.Option("--index/--no-index", show_default="index", help="Build index snapshots beside serving.")
]
Url = Annotated[
    str,
    typer.Option(
        default_factory=gateway_url, show_default="as NEXTCLICK_STACK__HOST and __PORT say", help="A running gateway."
    ),
]


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        console.print(f"nextclick {metadata.version('nextclick')}", highlight=False)
        raise typer.Exit


@app.command()
def demo(
    port: Port = None,
    once: Annotated[bool, typer.Option("--once", help="Show one shopper's answers and stop.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the shop and its shoppers.")] = 7,
) -> None:
    """Run a synthetic shop: a page where every click changes the recommendations."""
    from nextclick.commands.demo import run_demo

    _say_with_time()
    raise typer.Exit(run_demo(console, port=port, once=once, seed=seed))


@app.command()
def up(
    port: Port = None,
    artifacts: Artifacts = None,
    folder: Folder = None,
    gateways: Gateways = None,
    session_workers: Workers = None,
    demo_page: Page = None,
    index: Index = None,
) -> None:
    """Run the stack on this machine until Ctrl-C: Redis, the flows, the gateway.

    An option overrides its setting: `nextclick settings` lists NEXTCLICK_STACK__PORT and the others.
    """
    from nextclick.show.settings_table import unknown_settings
    from nextclick.stack.stack import Stack

    _say_with_time()
    for line in unknown_settings(os.environ):
        console.print(line, style="yellow", highlight=False)
    chosen = up_settings(
        artifacts=artifacts,
        build_index=index,
        port=port,
        folder=folder,
        gateways=gateways,
        session_workers=session_workers,
        demo_page=demo_page,
    )
    stack = Stack(chosen)
    with console.status("starting") as status:
        stack.start(status.update)
    try:
        console.print(f"Gateway   {stack.url}   (API: {stack.url}/docs)")
        console.print(f"Redis     {stack.redis_url}")
        console.print(f"Logs      {stack.folder / 'logs'}")
        console.print("Ctrl-C stops everything.")
        stack.wait_until_interrupted()
    finally:
        with console.status("stopping"):
            stack.stop()


def _say_with_time() -> None:
    """Have what the supervisor says of its parts on stderr, each line with its time."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


@app.command()
def progress() -> None:
    """Show how far the session path has come, partition by partition, counted from Redis."""
    from nextclick.stack.progress import progress_table
    from nextclick.stack.settings import StackSettings

    console.print(progress_table(StackSettings()))


@app.command()
def settings() -> None:
    """Print every setting, its default and what it does, as Markdown."""
    from nextclick.show.settings_table import settings_table

    console.print(settings_table(), markup=False, soft_wrap=True, highlight=False)


@app.command()
def features() -> None:
    """Print every feature of the re-ranker, its formula, its range and what NaN means, as Markdown."""
    from nextclick.show.features_table import features_table

    console.print(features_table(), markup=False, soft_wrap=True, highlight=False)


@items_app.command("load")
def load_items(
    path: Annotated[Path, typer.Argument(help="Items, one JSON document a line (.jsonl or .jsonl.zst).")],
    url: Url,
) -> None:
    """Load items and wait until recommendations see them."""
    from nextclick.stack.load_items import load_items_file

    load_items_file(console, path, url)


@cache
def build_app() -> typer.Typer:
    """Return the whole command line."""
    from nextclick.bench.freshness import freshness
    from nextclick.bench.globo import globo
    from nextclick.bench.index import bench_index
    from nextclick.bench.replay import replay_bench
    from nextclick.bench.replay_globo import bench_replay_globo
    from nextclick.commands.evaluate import evaluate_app
    from nextclick.commands.evaluate_impressions import impressions
    from nextclick.commands.index import index_app
    from nextclick.commands.item_images import images
    from nextclick.commands.replay import import_app, replay_app
    from nextclick.commands.train import train_app
    from nextclick.commands.train_models import models
    from nextclick.commands.train_reranker import reranker
    from nextclick.commands.tune import tune

    bench_app.command("freshness")(freshness)
    bench_app.command("globo")(globo)
    bench_app.command("index")(bench_index)
    bench_app.command("replay")(replay_bench)
    bench_app.command("replay-globo")(bench_replay_globo)
    evaluate_app.command("impressions")(impressions)
    app.add_typer(bench_app, name="bench")
    app.add_typer(evaluate_app, name="evaluate")
    app.add_typer(index_app, name="index")
    items_app.command("images")(images)
    app.add_typer(items_app, name="items")
    app.add_typer(import_app, name="import")
    app.add_typer(replay_app, name="replay")
    train_app.command("reranker")(reranker)
    train_app.command("models")(models)
    app.add_typer(train_app, name="train")
    app.command("tune")(tune)
    return app


def main() -> None:
    """Run the command line; an expected error is one message, not a traceback."""
    work_beside_init()
    try:
        build_app()()
    except NextclickError as error:
        _complain(str(error))
    except ValidationError as error:
        _complain(str(wrong_setting(error)))
    except OSError as error:
        _complain(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))


def _complain(text: str) -> NoReturn:
    shown = Console(stderr=True)
    shown.print("[bold red]error[/] ", end="")
    shown.print(text, markup=False, highlight=False, soft_wrap=True)
    sys.exit(1)

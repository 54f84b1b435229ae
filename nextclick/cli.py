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
from nextclick.stack.options import setting_option, url_option

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Nextclick: a streaming, session-based recommender. One click changes the next recommendation.",
)
items_app = typer.Typer(no_args_is_help=True, help="Load catalogue items into a running stack.")
console = Console()

Port = Annotated[int | None, setting_option("stack.port", min=0, max=65535)]
Folder = Annotated[Path | None, setting_option("stack.folder")]
Artifacts = Annotated[str | None, setting_option("artifacts")]
Gateways = Annotated[int | None, setting_option("stack.gateways", min=1, max=64)]
SessionWorkers = Annotated[int | None, setting_option("stack.session_workers", min=1, max=64)]
DemoPage = Annotated[bool | None, setting_option("stack.demo_page", "--page/--no-page")]
Index = Annotated[
    bool | None,
    setting_option("index.builder", "--index/--no-index", help="Build snapshots of the index beside serving."),
]
Url = Annotated[str | None, url_option("A running gateway.")]


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
    from nextclick.stack.demo import run_demo

    _say_with_time()
    raise typer.Exit(run_demo(console, port=port, once=once, seed=seed))


@app.command()
def up(
    port: Port = None,
    artifacts: Artifacts = None,
    folder: Folder = None,
    gateways: Gateways = None,
    session_workers: SessionWorkers = None,
    demo_page: DemoPage = None,
    index: Index = None,
) -> None:
    """Run the stack on this machine until Ctrl-C: Redis, the flows, the gateway."""
    from nextclick.show.settings_table import unknown_settings
    from nextclick.stack.settings import up_settings
    from nextclick.stack.stack import Stack

    _say_with_time()
    for line in unknown_settings(os.environ):
        console.print(line, style="yellow", highlight=False)
    given = {
        "stack.port": port,
        "stack.folder": folder,
        "stack.gateways": gateways,
        "stack.session_workers": session_workers,
        "stack.demo_page": demo_page,
        "artifacts": artifacts,
        "index.builder": index,
    }
    stack = Stack(up_settings(given))
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


@items_app.command("load")
def load_items(
    path: Annotated[Path, typer.Argument(help="Items, one JSON document a line (.jsonl or .jsonl.zst).")],
    url: Url = None,
) -> None:
    """Load items and wait until recommendations see them."""
    from nextclick.stack.load_items import load_items_file
    from nextclick.stack.settings import gateway_url

    load_items_file(console, path, gateway_url(url))


@cache
def build_app() -> typer.Typer:
    """Return the whole command line."""
    from learning.evaluate_impressions import impressions
    from nextclick.bench.globo import bench_app
    from nextclick.bench.index import bench_index
    from nextclick.bench.replay import replay_bench
    from nextclick.bench.replay_globo import bench_replay_globo
    from nextclick.commands.evaluate import evaluate_app
    from nextclick.commands.index import index_app
    from nextclick.commands.item_images import images
    from nextclick.commands.replay_play import import_app, replay_app
    from nextclick.commands.train import train_app
    from nextclick.commands.train_models import models
    from nextclick.commands.tune import tune
    from nextclick.show.training import reranker

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

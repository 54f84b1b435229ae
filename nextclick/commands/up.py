"""`nextclick up`: the whole stack on this machine."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

from rich.console import Console

from nextclick.stack.options import Port, setting_option

console = Console()
Folder = Annotated[Path | None, setting_option("stack.folder")]
Artifacts = Annotated[str | None, setting_option("artifacts")]
Gateways = Annotated[int | None, setting_option("stack.gateways", min=1, max=64)]
SessionWorkers = Annotated[int | None, setting_option("stack.session_workers", min=1, max=64)]
DemoPage = Annotated[bool | None, setting_option("stack.demo_page", "--page/--no-page")]
Index = Annotated[
    bool | None,
    setting_option("index.builder", "--index/--no-index", help="Build snapshots of the index beside serving."),
]
Quality = Annotated[
    bool | None,
    setting_option("quality.run", "--quality/--no-quality", help="Watch the data: see `nextclick quality`."),
]
Retrain = Annotated[str | None, setting_option("retrain.every", "--retrain", metavar="P1D")]


def up(
    port: Port = None,
    artifacts: Artifacts = None,
    folder: Folder = None,
    gateways: Gateways = None,
    session_workers: SessionWorkers = None,
    demo_page: DemoPage = None,
    index: Index = None,
    quality: Quality = None,
    retrain: Retrain = None,
) -> None:
    """Run the stack on this machine until Ctrl-C: Redis, the flows, the gateway."""
    from contracts.errors import Unguarded
    from contracts.exits import or_exit
    from nextclick.show.supervision import log_with_time
    from nextclick.stack.feeds.wired import schedule_of
    from nextclick.stack.settings import up_settings
    from nextclick.stack.stack import Stack
    from state.embedded import ADDRESS

    log_with_time()
    if any(name.startswith("NEXTCLICK_") for name in os.environ):
        from nextclick.show.settings_table import unknown_settings  # reads every settings class there is

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
        "quality.run": quality,
        "retrain.every": retrain,
    }
    stack = Stack(up_settings(given))
    with console.status("starting") as status:
        or_exit(partial(stack.start, status.update), Unguarded)
    try:
        console.print(f"Gateway   {stack.url}   (API: {stack.url}/docs)")
        console.print(f"Redis     {stack.redis_place}")
        console.print(f"Logs      {stack.folder / 'logs'}")
        if stack.asks_keys:
            redis = f"NEXTCLICK_REDIS__URL=$(cat {stack.redis.folder / ADDRESS}) " if stack.redis is not None else ""
            asked = f"API keys  asked of everybody; to make one: {redis}nextclick keys create --scope events"
            console.print(asked, markup=False, highlight=False, soft_wrap=True)
        console.print("Ctrl-C stops everything.")
        feeds = schedule_of(stack.settings, stack.url, stack.redis_environment)
        try:
            stack.wait_until_interrupted(feeds.look)
        finally:
            feeds.stop()
    finally:
        with console.status("stopping"):
            stack.stop()

"""`nextclick doctor`: what is wrong with this stack, and the command that mends it."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from contracts.masked import masked
from nextclick.stack.options import setting_option, url_option

console = Console(highlight=False, soft_wrap=True)


def doctor(
    folder: Annotated[Path | None, setting_option("stack.folder", help="Folder of the stack.")] = None,
    redis: Annotated[str | None, setting_option("redis.url", "--redis", help="Redis that is not the stack's.")] = None,
    url: Annotated[str | None, url_option("The gateway.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print findings as JSON.")] = False,
) -> None:
    """Say what is wrong with this stack, the most important first. Exit status 1 where something is wrong."""
    from nextclick.stack.doctor.checks import findings
    from nextclick.stack.doctor.gather import gather

    logging.getLogger().addHandler(logging.NullHandler())  # what is looked at says in the log what is said here
    facts = gather({"stack.folder": folder, "redis.url": redis}, _unknown, url)
    found = findings(facts)
    is_wrong = any(one.level == "wrong" for one in found)
    if as_json:
        looked = {"folder": str(facts.folder), "redis": facts.redis_place, "gateway": facts.url}
        document = {"healthy": not is_wrong, "looked_at": looked, "findings": [asdict(one) for one in found]}
        sys.stdout.write(masked(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()) + "\n")
    else:
        if facts.redis_place:
            own = "" if facts.embedded else " (not the stack's own)"
            places = f"the stack in {facts.folder}, Redis at {facts.redis_place}{own}, the gateway at {facts.url}"
            console.print(f"Looked at {masked(places)}.", markup=False)
        for one in found:
            console.print(f"[bold {'red' if one.level == 'wrong' else 'yellow'}]{one.level}[/] {one.name}")
            for name, text in (("expected", one.expected), ("found", one.found), ("mend", one.mend)):
                console.print(f"  {name:9} {masked(' '.join(text.split()))}", markup=False)
        if not found:
            console.print("Nothing is wrong.")
    if is_wrong:
        raise typer.Exit(1)


def _unknown() -> list[str]:
    from nextclick.show.settings_table import unknown_settings  # reads every settings class there is

    return unknown_settings(os.environ)

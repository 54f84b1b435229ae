"""`nextclick campaign run`: what a scenario picks for every user of an audience, as a file."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from nextclick.commands.option_groups import spread
from nextclick.stack.options import setting_option

if TYPE_CHECKING:
    from nextclick.campaign.work import Wanted

TOLD = 5
"""Broken rows that are named."""


@dataclass(frozen=True)
class Whom:
    """Who is picked for."""

    audience: Annotated[
        Path | None,
        typer.Option(help="Users: CSV, JSON lines or Parquet with user_id. None: all who have a document, by --where."),
    ] = None
    where: Annotated[
        str | None, typer.Option(help="Only users of whom this holds, such as 'user.region == \"eu\"'.")
    ] = None
    suppress: Annotated[
        list[Path] | None, typer.Option(help="Users to leave out: a table with user_id, or a .txt. Repeatable.")
    ] = None
    consent: Annotated[str, typer.Option(help="`unless-refused`, or `required`: only who agreed to marketing.")] = (
        "unless-refused"
    )
    most: Annotated[
        int, typer.Option(min=0, help="At most so many campaigns to a user within --within; 0: no cap.")
    ] = 0
    within: Annotated[str, typer.Option(help="The period of the cap, up to P90D.")] = "P7D"


@dataclass(frozen=True)
class What:
    """What is picked, and where to."""

    scenario: Annotated[str, typer.Option(help="A published scenario, or a placement.")] = "email"
    campaign: Annotated[str, typer.Option(help="Its name, by which caps know it. None: that of the output.")] = ""
    limit: Annotated[int, typer.Option(min=1, max=100, help="Items a user.")] = 10
    fields: Annotated[
        str, typer.Option(help="Fields of items, such as title,price,image_url; price is always there.")
    ] = ""
    impressions: Annotated[
        bool, typer.Option("--impressions", help="Log each pick as an impression, as if the site had shown it.")
    ] = False


@dataclass(frozen=True)
class How:
    """How it is run."""

    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that pick.")] = 2
    batch: Annotated[int, typer.Option(min=1, max=256, help="Users picked for at once.")] = 64
    nice: Annotated[int, typer.Option(min=0, max=19, help="How much live requests go before; 19: altogether.")] = 19
    artifacts: Annotated[str | None, setting_option("artifacts", help="Folder of the models that serve.")] = None
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew where a run was begun and not ended.")] = False


@dataclass(frozen=True)
class To:
    """Who is told."""

    webhook: Annotated[str, typer.Option(help="Address that picks are sent to, in batches, once all are made.")] = ""
    webhook_secret_file: Annotated[Path | None, typer.Option(help="Secrets that sign the calls, one a line.")] = None
    webhook_batch: Annotated[int, typer.Option(help="Picks a call.")] = 500


@spread
def run_campaign(
    out: Annotated[Path, typer.Option(help="Picks: .jsonl, .csv or .parquet.")],
    whom: Whom,
    what: What,
    how: How,
    to: To,
) -> None:
    """Pick items for every user of an audience. A run that was killed goes on when the same is typed again."""
    from contracts.settings import ServiceSettings
    from nextclick.campaign.deliver import Webhook, secrets_in
    from nextclick.campaign.run import Run, run
    from nextclick.show.campaign import summed_up, watched

    console = Console(highlight=False, soft_wrap=True)
    told: list[str] = []
    webhook = Webhook(to.webhook, secrets_in(to.webhook_secret_file), to.webhook_batch) if to.webhook else None
    asked = Run(
        out,
        _wanted(out, whom, what, how),
        whom.audience,
        tuple(whom.suppress or ()),
        how.workers,
        how.nice,
        how.artifacts or "",
        how.fresh,
        webhook,
    )
    began = time.monotonic()
    with watched(console) as show:
        found = run(asked, ServiceSettings(), show, lambda text: told.append(text) if len(told) < TOLD else None)
    for text in told:
        console.print(text, markup=False, style="yellow")
    summed_up(console, found, time.monotonic() - began)
    console.print(f"{out}", markup=False)


def _wanted(out: Path, whom: Whom, what: What, how: How) -> Wanted:
    """Return what is asked for. Raises SettingsError."""
    from campaigns.recipients import ConsentRule
    from contracts.errors import SettingsError
    from gateway.campaigner import compile_filter, expect_item_fields
    from nextclick.campaign.work import Wanted

    if whom.consent not in list(ConsentRule):
        raise SettingsError(f"--consent: expected {' or '.join(ConsentRule)}, got {whom.consent!r}")
    within_s = _seconds(whom.within)
    if whom.where is not None:
        compile_filter(whom.where)
    fields = tuple(name.strip() for name in what.fields.split(",") if name.strip())
    expect_item_fields(fields)
    return Wanted(
        campaign=what.campaign or out.stem,
        scenario=what.scenario,
        limit=what.limit,
        fields=fields,
        filter=whom.where,
        consent=ConsentRule(whom.consent),
        most=whom.most,
        within_s=within_s if whom.most else 0.0,
        impressions=what.impressions,
        batch=how.batch,
    )


def _seconds(period: str) -> float:
    from datetime import timedelta

    from pydantic import TypeAdapter, ValidationError

    from contracts.errors import SettingsError
    from state.campaign_ledger import KEPT_MS

    try:
        found = TypeAdapter(timedelta).validate_python(period).total_seconds()
    except ValidationError as error:
        raise SettingsError(f"--within: expected a period such as P7D or PT12H, got {period!r}") from error
    if not 0 < found <= KEPT_MS / 1000:
        raise SettingsError(f"--within: expected up to P90D, as long as it is kept who was written to, got {period!r}")
    return found

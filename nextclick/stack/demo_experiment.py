"""The demo's experiment: what is popular now against a homepage that knows the session, until a judge decides.

Only the demo's buyers take part (they say which device they have): whoever opens the page gets the homepage as it is.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Final

import orjson
from rich.console import Console
from rich.status import Status
from rich.text import Text

from contracts.errors import NextclickError
from nextclick.stack.client import Client
from nextclick.stack.demo_buyers import DemoBuyers
from nextclick.stack.experiment_line import Standing, experiment_line
from nextclick.stack.settings import StackSettings, with_given
from nextclick.stack.stack import Stack
from replay.engine.buying import MOST_VISITS, BuyOptions
from replay.measure.sales import Sales
from replay.synthetic.buyers import Habits
from replay.synthetic.shop import Shop
from replay.synthetic.words import DEVICES

NAME: Final = "popular-or-session"
RATE: Final = 6.0
"""Visits that begin each second."""
SECONDS: Final = 300.0
"""How long buyers come, whatever the experiment says: a demo that nobody looks at becomes quiet."""
HABITS: Final = Habits(eagerness=-5.0, fondness=1.8, persistence=0.9, stays=0.6, signed_in=0.0)
"""Buyers who look further down a list and click little that they do not like: it shows after fewer visits."""
LOOK_EVERY_S: Final = 2.0
METRIC: Final = "clicks/pages"
_OTHERS: Final = ("nearest", "covisited", "bought_together", "recent", "new", "own")
_POPULAR: Final = {"sources": {"trending": 50} | dict.fromkeys(_OTHERS, 0), "value": {"match": 0.0, "trend": 1.0}}
"""By popularity alone. More than a page of candidates: what fills a page up goes by the session."""
DOCUMENT: Final[dict[str, Any]] = {
    "description": "Is a homepage that knows the session worth it? Against it: what is popular now, for everybody.",
    "scenario": "homepage",
    "variants": [
        {"name": "popular", "share": 0.5, "patch": _POPULAR},
        {"name": "session-aware", "share": 0.5},
    ],
    "segment": f"context.device in {orjson.dumps(DEVICES).decode()}",
    "metric": METRIC,
    "planned_units": 600,
    "promote_winner": True,
    "minimum_days": 0,
}


def measuring(settings: StackSettings) -> StackSettings:
    """Return the settings with what an experiment needs beside a shop: the attribution flow, and the judge."""
    return with_given(settings, {"attribution.run": True, "judge.run": True, "judge.every": "PT5S"})


def buyers_of(stack: Stack, shop: Shop, *, rate: float, think_s: float = 0.5, seconds: float = SECONDS) -> DemoBuyers:
    """Return buyers to come, who see the homepage again after each click, as the page of the demo shows it."""
    options = BuyOptions(
        stack.url,
        "demo-buyers",
        visits=min(MOST_VISITS, max(1, round(rate * seconds))),
        rate=rate,
        seconds=seconds,
        think_s=think_s,
        first="homepage",
        then="homepage",
        key=stack.api_key or "",
        habits=HABITS,
    )
    return DemoBuyers(options, shop)


class DemoExperiment:
    """Starts what measures, publishes the experiment, lets buyers come; `look` is to be called now and then."""

    def __init__(self, console: Console, stack: Stack, client: Client, buyers: DemoBuyers) -> None:
        self._console, self._stack, self._client, self.buyers = console, stack, client, buyers
        self._status: Status | None = None
        self._began = self._looked = 0.0
        self.ended = False

    def start(self) -> None:
        """Begin. Raises GatewayRefused where the experiment cannot be published."""
        self._stack.start_also(measuring(self._stack.settings))
        self._client.put_experiment(NAME, DOCUMENT)
        self.buyers.start()
        self._began = time.monotonic()
        self._status = self._console.status("buyers come")
        self._status.start()

    def look(self) -> None:
        """Show how far it is, and what came of it once it has ended. Does nothing in between, or after the end."""
        now = time.monotonic()
        if self.ended or now - self._looked < LOOK_EVERY_S:
            return
        self._looked = now
        try:
            found = self._client.experiment(NAME)
            version = self._client.scenario("homepage")["version"] if found.get("promoted") else 0
        except NextclickError as error:  # a gateway that is away comes again
            self._show(f"the experiment: {error}")
            return
        line = experiment_line(self._so_far(found.get("report")), now - self._began)
        self._show(line)
        if found["state"] != "running" or not self.buyers.come:
            self._end(found, line, version)

    def stop(self) -> None:
        """Send the buyers away and take the line off the terminal."""
        self.buyers.stop()
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _so_far(self, report: dict[str, Any] | None) -> Standing:
        """Return what the buyers have met by now, with the interval of the judge's last report."""
        groups = self.buyers.takings.groups
        found = {one["name"]: groups.get((NAME, one["name"]), Sales()) for one in DOCUMENT["variants"]}
        figures = [one.clicks / one.pages if one.pages else None for one in found.values()]
        met = Standing(METRIC, {name: one.visits for name, one in found.items()}, figures)
        judged = met if report is None else Standing.of_report(report, METRIC)
        return replace(met, lift=judged.lift, ends=judged.ends)

    def _show(self, line: str) -> None:
        if self._status is not None:
            self._status.update(Text(line, no_wrap=True, overflow="ellipsis"))

    def _end(self, found: dict[str, Any], line: str, version: int) -> None:
        """Say what came of it, and let the shop rest."""
        self.ended = True
        self.stop()
        self._say(line)
        if decision := (found.get("report") or {}).get("decision"):
            self._say(decision)
        if version:
            self._say(f"Published as homepage version {version}. The buyers have left.")
        elif self.buyers.error is not None:
            self._say(f"The buyers ended early: {self.buyers.error!r}")
        else:
            self._say("The buyers have left; nothing was published.")

    def _say(self, text: str) -> None:
        self._console.print(f"  {text}", highlight=False, markup=False)

"""Buyers at a running gateway, in a closed loop: each asks, looks at what comes, and tells what it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from contracts.addresses import HttpAddress, is_loopback
from contracts.clock import wall_clock_ms
from contracts.errors import SettingsError
from replay.engine.http_client import HttpClient
from replay.engine.targets import JSON, GatewayTarget
from replay.measure.sales import Takings
from replay.synthetic.buyers import Habits, Visitor, places, visitors
from replay.synthetic.shop import Shop
from replay.synthetic.visits import Act, Ask, Line, Page, Seen, visit

MOST_VISITS = 1_000_000
KEPT_LINES = 20
"""Lines that a member may still send back: the newest."""

Progress = Callable[[Takings], None]


@dataclass(frozen=True, slots=True)
class BuyOptions:
    """`visits` begin at `rate` a second, `at_once` of them at most under way, and none after `seconds`. `think_s` is
    the mean time between two steps of a visit. `first` and `then` are placements or scenarios: of the page of arrival,
    and of an item's page; both bring `limit` items. `run` begins every id.
    """

    url: str
    run: str
    visits: int = 1_000
    rate: float = 20.0
    seconds: float = 600.0
    at_once: int = 100
    think_s: float = 0.5
    first: str = "homepage"
    then: str = "product"
    limit: int = 10
    seed: int = 1
    currency: str = "EUR"
    key: str = ""
    attempt_s: float = 10.0
    give_up_s: float = 30.0
    habits: Habits = field(default_factory=Habits)


async def send_buyers(
    options: BuyOptions, shop: Shop, *, progress: Progress | None = None, stop: asyncio.Event | None = None
) -> Takings:
    """Let buyers visit the gateway until all have, the time is up, or `stop`. Visits under way then end with the step
    they are at. Raises SettingsError for a gateway that is not on this machine: these buyers pay with nothing.
    """
    expect_own_gateway(options.url)
    if not 1 <= options.visits <= MOST_VISITS:
        raise SettingsError(f"expected 1 to {MOST_VISITS:,} visits, got {options.visits:,}")
    async with HttpClient(
        options.url, connections=options.at_once, attempt_s=options.attempt_s, key=options.key
    ) as http:
        crowd = _Crowd(options, shop, http, stop or asyncio.Event(), progress)
        await crowd.come()
    return crowd.takings


def expect_own_gateway(url: str) -> None:
    """Raise SettingsError for an address that is not of this machine."""
    host = HttpAddress.of(url).host
    if not is_loopback(host):
        raise SettingsError(
            f"expected a gateway on this machine, such as http://127.0.0.1:8080, got host {host!r:.100}: "
            "synthetic orders would count as sales there"
        )


class _Crowd:
    """All visits of a run. A member's next visit begins when the one before has ended."""

    def __init__(
        self, options: BuyOptions, shop: Shop, http: HttpClient, stop: asyncio.Event, progress: Progress | None
    ) -> None:
        self.options, self.shop, self.stop = options, shop, stop
        self.where = places(shop)
        self.takings = Takings()
        self.http, self.target = http, GatewayTarget(http, give_up_s=options.give_up_s)
        self.heads = {
            name: http.head("POST", f"/api/recommendations/{name}", JSON) for name in (options.first, options.then)
        }
        self._progress = progress
        self._free = asyncio.Semaphore(options.at_once)
        self._turns: dict[int, asyncio.Lock] = {}
        self._bought: dict[int, list[Line]] = {}

    async def come(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        ends = loop.call_later(self.options.seconds, self.stop.set)
        try:
            async with asyncio.TaskGroup() as visits:
                for visitor in visitors(self.options.visits, self.options.habits, self.options.seed):
                    await self.pause(began + visitor.number / self.options.rate - loop.time())
                    await self._free.acquire()
                    if self.stop.is_set():
                        break
                    visits.create_task(self._come(visitor))
        finally:
            ends.cancel()

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until the run ends."""
        if seconds > 0 and not self.stop.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self.stop.wait()
            except TimeoutError:
                pass

    async def _come(self, visitor: Visitor) -> None:
        try:
            if visitor.member is None:
                await _Visiting(self, visitor).walk([])
            else:
                async with self._turns.setdefault(visitor.member, asyncio.Lock()):
                    bought = self._bought.get(visitor.member, [])
                    kept = await _Visiting(self, visitor).walk(bought)
                    self._bought[visitor.member] = kept[-KEPT_LINES:]
        finally:
            self._free.release()
        if self._progress is not None:
            self._progress(self.takings)


class _Visiting:
    """One visit at the gateway."""

    def __init__(self, crowd: _Crowd, visitor: Visitor) -> None:
        self._crowd, self._options, self._visitor = crowd, crowd.options, visitor
        run, taste = crowd.options.run, visitor.taste
        self._session = f"{run}-s{visitor.number}"
        self._user = None if visitor.member is None else f"{run}-u{visitor.member}"
        self._context = {"device": taste.device, "region": taste.region}
        self._events = 0
        self._token: str | None = None
        self._groups: dict[tuple[str, str], None] = {}
        self._ordered: dict[tuple[str, str], None] = {}

    async def walk(self, bought: list[Line]) -> list[Line]:
        """Make the visit; returns what the visitor has bought and not sent back, oldest first."""
        crowd, options = self._crowd, self._options
        rng = np.random.default_rng([options.seed, 3, self._visitor.number])
        thoughts = np.random.default_rng([options.seed, 4, self._visitor.number])
        steps = visit(
            crowd.shop,
            crowd.where,
            self._visitor.taste,
            options.habits,
            rng,
            order_id=f"{self._session}-order",
            bought=bought,
        )
        kept, page = list(bought), None
        while not crowd.stop.is_set():
            try:
                step = steps.send(page)
            except StopIteration:
                break
            page = None
            if isinstance(step, Ask):
                page = await self._ask(step)
            elif isinstance(step, Seen):
                await self._see(step)
                await crowd.pause(thoughts.exponential(options.think_s))
            elif await self._do(step):
                if step.kind == "purchase":
                    kept.append(step.line)
                elif step.kind == "return":
                    kept.remove(step.line)
        self._left()
        return kept

    async def _ask(self, step: Ask) -> Page | None:
        options, takings = self._options, self._crowd.takings
        question: dict[str, Any] = {
            "session_id": self._session,
            "limit": options.limit,
            "context": self._context,
            "fields": ["price"],
        }
        more = {"user_id": self._user, "item_id": step.item_id, "after": self._token}
        question |= {name: value for name, value in more.items() if value is not None}
        head = self._crowd.heads[options.first if step.item_id is None else options.then]
        try:
            answer = await self._crowd.http.request(head, orjson.dumps(question))
            if answer.status != 200:
                takings.unanswered[f"status {answer.status}"] += 1
                return None
            page = page_of(answer.body)
        except OSError as error:
            takings.unanswered[type(error).__name__] += 1
            return None
        except (ValueError, KeyError, TypeError):
            takings.unanswered["unreadable answer"] += 1
            return None
        self._groups[page.experiment, page.variant] = None
        takings.unknown += sum(item_id not in self._crowd.where for item_id in page.items)
        for sales in takings.of((page.experiment, page.variant)):
            sales.pages += 1
            sales.shown_at.update(range(1, len(page.items) + 1))
        return page

    async def _see(self, step: Seen) -> None:
        page = step.page
        if await self._tell(type="impression", items=list(page.items[: step.depth]), request_id=page.request_id):
            for sales in self._crowd.takings.of((page.experiment, page.variant)):
                sales.looked_at += step.depth

    async def _do(self, step: Act) -> bool:
        line, page = step.line, step.line.page
        fields: dict[str, Any] = {"type": step.kind, "item_id": line.item_id, "request_id": page.request_id}
        if step.kind in ("purchase", "return"):
            fields |= {"value": line.value, "quantity": line.quantity, "currency": self._options.currency}
            fields["order_id"] = line.order_id
        if not await self._tell(**fields):
            return False
        self._count(step)
        return True

    def _count(self, step: Act) -> None:
        line, group = step.line, (step.line.page.experiment, step.line.page.variant)
        cents = round(line.value * 100)
        for sales in self._crowd.takings.of(group):
            match step.kind:
                case "view":
                    sales.clicked_at[line.position] += 1
                case "cart":
                    sales.carts += 1
                case "purchase":
                    sales.lines += 1
                    sales.pieces += line.quantity
                    sales.bought_cents += cents
                    self._ordered[group] = None
                case "return":
                    sales.returns += 1
                    sales.returned_cents += cents

    async def _tell(self, **fields: Any) -> bool:
        """Send one event; says whether it is in the log."""
        event = {
            "v": 1,
            "event_id": f"{self._session}-e{self._events}",
            "session_id": self._session,
            "ts": wall_clock_ms(),
            "context": self._context,
            **fields,
        }
        if self._user is not None:
            event["user_id"] = self._user
        self._events += 1
        taken = await self._crowd.target.send([event])
        self._crowd.takings.rejected += taken.rejected
        self._crowd.takings.failed += taken.failed
        self._token = taken.token or self._token
        return taken.accepted == 1

    def _left(self) -> None:
        takings = self._crowd.takings
        for sales in takings.of(*self._groups):
            sales.visits += 1
        for sales in takings.of(*self._ordered) if self._ordered else ():
            sales.orders += 1
        takings.members += self._visitor.member is not None


def page_of(body: bytes) -> Page:
    """Read an answer of status 200. Raises ValueError, KeyError or TypeError for what is none."""
    answer = orjson.loads(body)
    shown = answer["recommendations"]
    return Page(
        str(answer["request_id"]),
        tuple(str(one["item_id"]) for one in shown),
        tuple(_price_of(one.get("item")) for one in shown),
        answer.get("experiment_id") or "",
        answer.get("variant") or "",
    )


def _price_of(item: Any) -> float | None:
    price = item.get("price") if isinstance(item, dict) else None
    return float(price) if isinstance(price, int | float) else None

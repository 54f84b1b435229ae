"""A stack whose gateways read trends by a relay: it is killed while clicks come, and who asks sees nothing of it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from urllib.request import urlopen

import pytest

from contracts.codec import decode_showings
from contracts.ids import item_key
from contracts.keys import SHOWINGS, TRENDS
from contracts.settings import RelayOptions
from nextclick.stack.client import Client
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.stack import Stack
from state.tables import TableReader
from tests.nextclick.test_stack_faults import view
from tests.processes import wait_for

pytestmark = pytest.mark.slow

GATEWAYS = 2
TABLES = ("trends", "showings", "ended")
CLICKED_BEFORE, CLICKED_WITHOUT, CLICKED_AFTER = (range(first, first + 10) for first in (0, 10, 20))
"""Items that are clicked while the relay is there, just after it was killed, and once it is back."""
SHOWN = re.compile(r'^nextclick_gateway_(table_by_relay|table_rows)\{table="(\w+)"\} (\S+)$', re.MULTILINE)
STARTED = re.compile(r"^process_start_time_seconds (\S+)$", re.MULTILINE)

Shown = dict[tuple[str, str], float]
"""What a gateway shows of its tables, by metric and table."""


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    options = StackOptions(port=0, folder=tmp_path_factory.mktemp("stack"), gateways=GATEWAYS)
    with Stack(StackSettings(stack=options, relay=RelayOptions(run=True))) as running:
        yield running


def every_gateway(stack: Stack) -> list[Shown]:
    """Return what each gateway shows. They share a port: which one answers a new connection is the kernel's choice."""
    found: dict[str, Shown] = {}
    while len(found) < GATEWAYS:
        with urlopen(f"{stack.url}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        [started] = STARTED.findall(text)
        found[started] = {(metric, table): float(value) for metric, table, value in SHOWN.findall(text)}
    return list(found.values())


def by_relay(stack: Stack) -> list[bool]:
    return [all(shown["table_by_relay", table] == 1 for table in TABLES) for shown in every_gateway(stack)]


def trends_of(items: Sequence[int], stack: Stack) -> Callable[[], bool]:
    """Return what tells whether these items have trends, and every gateway holds as many items as Redis: those with
    trends, and those that were shown alone.
    """
    wanted, redis = {item_key(f"p{item}") for item in items}, stack.running_settings.redis

    def all_there() -> bool:
        with closing(TableReader(redis, TRENDS)) as trends, closing(TableReader(redis, SHOWINGS)) as showings:
            clicked = set(trends.keys().tolist())
            blocks = [decode_showings(row).keys.tolist() for page in showings.rows() for _, row in page]
        held = len(clicked.union(*blocks))
        return wanted <= clicked and all(shown["table_rows", "trends"] == held for shown in every_gateway(stack))

    return all_there


def click(client: Client, session: str, items: Sequence[int]) -> None:
    client.send_events([view(f"{session}-{n}", f"p{n}") for n in items])


@dataclass
class Traffic:
    """Somebody who clicks one item again and again, and asks after each click."""

    url: str
    answers: int = 0
    failures: list[Exception] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.over.wait(0.02):
            try:
                with Client(self.url) as client:  # a new connection, so that both gateways are asked
                    client.send_events([view("visitor", "p0")])
                    assert client.recommend("homepage", "visitor", limit=5)["recommendations"]
                self.answers += 1
            except Exception as error:
                self.failures.append(error)

    @contextmanager
    def coming(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        yield
        self.over.set()
        thread.join()


def test_a_relay_that_is_killed_fails_no_answer_and_gateways_come_back_to_it(stack: Stack) -> None:
    relay, traffic = stack.child("relay"), Traffic(stack.url)
    with Client(stack.url) as client:
        items = [b'{"item_id":"p%d","title":"Trail boot %d","category":"shoes"}' % (n, n) for n in range(50)]
        assert client.put_items(items)["visible"] is True
        wait_for(lambda: by_relay(stack) == [True] * GATEWAYS)
        click(client, "before", CLICKED_BEFORE)
        wait_for(trends_of(CLICKED_BEFORE, stack))
        with traffic.coming():
            wait_for(lambda: traffic.answers > 20)
            assert relay.process is not None
            relay.process.kill()
            relay.process.wait()
            click(client, "without", CLICKED_WITHOUT)
            wait_for(trends_of(CLICKED_WITHOUT, stack))
            wait_for(lambda: relay.restarts == 1 and relay.running)
            wait_for(lambda: by_relay(stack) == [True] * GATEWAYS)
            click(client, "after", CLICKED_AFTER)
            wait_for(trends_of(CLICKED_AFTER, stack))
        assert traffic.failures == []
    for n in range(GATEWAYS):
        said = (stack.folder / "logs" / f"gateway-{n}.log").read_text()
        left = re.findall(r"the relay does not bring (\w+) now: Redis is asked itself", said)
        assert set(left) == set(TABLES), said
        assert said.rindex("the relay brings") > said.rindex("the relay does not bring")
        assert "Traceback" not in said

"""One scenario: a stack of its own, traffic all the while, fault after fault, everything compared at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from contracts.errors import LogUnavailable, StateUnavailable
from contracts.ids import murmur2, partition_of
from replay.reference.compare import Reference, compare
from replay.reference.differences import Differences
from tests.chaos.faults import Arena, Fault, small_disk
from tests.chaos.probe import Probe
from tests.chaos.running import PARTITIONS, GaveUp, Running
from tests.chaos.traffic import Sender, Traffic
from tests.kafka_broker import KafkaBroker
from tests.small_disk import SmallDisk

SETTLED_WITHIN_S = 60.0
"""After the last fault: until all is applied, and rows are written that the flows write in their own time."""
A_DAY_MS = 86_400_000
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`moments` faults, drawn from `faults`, at random times while at least `events` events are sent, about `rate` a
    second. `disk_megabytes`: the stack's files are on a disk of that size.
    """

    name: str
    faults: Sequence[Fault]
    moments: int
    events: int
    rate: float = 1000.0
    pause_s: tuple[float, float] = (0.2, 1.0)
    disk_megabytes: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """A fault that was done, and how long what it hit was away after it was over."""

    fault: str
    recovery_s: float
    by_itself: bool = True


@dataclass(slots=True)
class Outcome:
    """What came of a scenario."""

    scenario: str
    log: str
    moments: list[Moment] = field(default_factory=list)
    events: int = 0
    sent_again: int = 0
    lost: int = 0
    twice: int = 0
    settled_s: float = 0.0
    wrong: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def held(self) -> bool:
        return not (self.lost or self.twice or self.wrong)


def run_scenario(
    scenario: Scenario, folder: Path, seed: int, broker: KafkaBroker | None, tell: Tell = lambda _: None
) -> Outcome:
    """Run it in an empty folder. What goes wrong is in the outcome."""
    outcome = Outcome(scenario.name, "kafka" if broker is not None else "redis")
    if not scenario.disk_megabytes:
        _Run(scenario, folder, seed, broker, outcome, tell).run()
        return outcome
    with small_disk(folder / "disk", scenario.disk_megabytes) as disk:
        if disk is None:
            outcome.skipped = "mounting a small disk is refused here"
        else:
            _Run(scenario, disk.folder, seed, broker, outcome, tell, disk).run()
    return outcome


class _Run:
    def __init__(
        self,
        scenario: Scenario,
        folder: Path,
        seed: int,
        broker: KafkaBroker | None,
        outcome: Outcome,
        tell: Tell,
        disk: SmallDisk | None = None,
    ) -> None:
        self._scenario, self._outcome, self._tell = scenario, outcome, tell
        self._random, self._seed = Random(seed), seed
        self._running = Running(folder, broker, topic_prefix=f"chaos{seed}-{murmur2(scenario.name.encode()):x}.")
        self._done, self._stop = threading.Event(), threading.Event()
        self._sender = Sender(lambda: self._running.address, self._stop)
        self._disk = disk
        self._traffic = Traffic(seed, ["none"] * 12, 0)

    def run(self) -> None:
        try:
            self._running.start()
            items = self._running.load_items()
            self._traffic = Traffic(self._seed, items, time.time_ns() // 1_000_000 - A_DAY_MS)
            with closing(Probe(self._running, lambda: self._traffic.now_ms, items[0])) as probe:
                self._play(probe)
                self._compare(probe)
        except (GaveUp, AssertionError) as error:
            self._outcome.wrong.append(str(error))
        finally:
            self._stop.set()
            self._sender.close()
            self._running.stop()

    def _play(self, probe: Probe) -> None:
        sending = threading.Thread(target=self._send, name="traffic")
        sending.start()
        try:
            self._do_all(probe)
        except BaseException:
            self._stop.set()
            raise
        finally:
            self._done.set()
            sending.join()

    def _send(self) -> None:
        """Send at about the scenario's rate while faults are done, and the rest as fast as it goes."""
        began_s, sent = time.monotonic(), 0
        while (not self._done.is_set() or sent < self._scenario.events) and not self._stop.is_set():
            body = list(self._traffic.events(self._random_size()))
            self._sender.send(body)
            sent += len(body)
            due_s = began_s + sent / self._scenario.rate
            self._done.wait(max(0.0, due_s - time.monotonic()))

    def _random_size(self) -> int:
        return 1 + murmur2(b"%d %d" % (self._seed, self._sender.sent)) % 100

    def _do_all(self, probe: Probe) -> None:
        def forget() -> None:
            self._sender.forget()
            probe.sender.forget()

        arena = Arena(self._running, self._sender, self._step_clock, self._random, forget, self._disk)
        least = list(self._scenario.faults)  # each once, and then any
        for number in range(self._scenario.moments):
            time.sleep(self._random.uniform(*self._scenario.pause_s))
            fault = least.pop(0) if least else self._random.choice(self._scenario.faults)
            over_s = fault.do(arena)
            for recovered in fault.recovered:
                recovered(probe)
            took_s = time.monotonic() - over_s
            self._outcome.moments.append(Moment(fault.name, took_s, fault.by_itself))
            self._tell(f"{number + 1} of {self._scenario.moments}: {fault.name}, {took_s:.1f} s")

    def _step_clock(self, step_ms: int) -> None:
        self._traffic.now_ms += step_ms

    def _compare(self, probe: Probe) -> None:
        """Send the last clicks, which end every session, and compare until nothing is different, or for a minute."""
        self._tell("comparing")
        self._sender.send(self._traffic.last(PARTITIONS, partition_of))
        acknowledged = {**self._sender.acknowledged, **probe.sender.acknowledged}
        self._outcome.events, self._outcome.sent_again = len(acknowledged), self._sender.again + probe.sender.again
        self._outcome.wrong += [*self._sender.odd, *probe.sender.odd][:20]
        began_s = time.monotonic()
        reference = Reference.of(self._running.settings)
        self._outcome.lost += len(acknowledged.keys() - reference.event_ids)
        found = self._differences(reference)
        while found and time.monotonic() - began_s < SETTLED_WITHIN_S:
            time.sleep(1.0)
            found = self._differences(reference)
        self._outcome.settled_s = time.monotonic() - began_s
        self._outcome.lost += found.lost
        self._outcome.twice += found.twice
        self._outcome.wrong += found.said

    def _differences(self, reference: Reference) -> Differences:
        try:
            faults = self._scenario.faults
            return compare(
                reference,
                self._running.settings,
                trends=all(fault.trends_spared for fault in faults),
                states=all(fault.states_spared for fault in faults),
            )
        except (StateUnavailable, LogUnavailable) as error:
            found = Differences()
            found.say(str(error))
            return found

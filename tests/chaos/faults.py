"""What is done to a stack. Each returns when it was over (`time.monotonic`): from then on recovery is timed."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import redis

from tests.chaos.probe import Probe
from tests.chaos.running import WORKERS, GaveUp, Running, signal_all, started_beside, wait_for
from tests.chaos.traffic import Sender
from tests.redis_cut import append_only_file
from tests.small_disk import SmallDisk

Recovered = Callable[[Probe], None]
"""Returns once what the fault hit does its work again."""


@dataclass(frozen=True, slots=True)
class Arena:
    """What a fault may reach."""

    running: Running
    sender: Sender
    step_clock: Callable[[int], None]
    """Moves the clock of all visitors, in milliseconds."""
    random: Random
    forget: Callable[[], None]
    """Nothing that was acknowledged before is looked for."""
    disk: SmallDisk | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """Recovery is timed until all of `recovered` have returned. Where `trends` or `states` are not spared, what Redis
    holds of them is not compared."""

    name: str
    do: Callable[[Arena], float]
    recovered: tuple[Recovered, ...]
    logs: tuple[str, ...] = ("redis", "kafka")
    trends_spared: bool = True
    states_spared: bool = True
    by_itself: bool = True


def _clicks(probe: Probe) -> None:
    probe.clicks_are_applied()


def _trends(probe: Probe) -> None:
    probe.trends_are_counted()


def _profiles(probe: Probe) -> None:
    probe.profiles_are_learnt()


def _figures(probe: Probe) -> None:
    probe.figures_are_counted()


def _items(probe: Probe) -> None:
    probe.items_are_visible()


def _builder(probe: Probe) -> None:
    probe.is_there("builder")


_RECOVERED: dict[str, Recovered] = {
    "sessions": _clicks,
    "trends": _trends,
    "items": _items,
    "profiles": _profiles,
    "attribution": _figures,
    "builder": _builder,
    "gateway": _clicks,
    "redis": _clicks,
}


def _kill(part: str) -> Callable[[Arena], float]:
    """Kill one process of a part."""

    def do(arena: Arena) -> float:
        pid = _one_of(arena, part)
        signal_all([pid], signal.SIGKILL)
        return time.monotonic()

    return do


def _stop(part: str) -> Callable[[Arena], float]:
    """Hold one process of a part still, for up to two seconds."""

    def do(arena: Arena) -> float:
        pid = _one_of(arena, part)
        signal_all([pid], signal.SIGSTOP)
        time.sleep(arena.random.uniform(0.2, 2.0))
        signal_all([pid], signal.SIGCONT)
        return time.monotonic()

    return do


def _one_of(arena: Arena, part: str) -> int:
    wait_for(lambda: bool(arena.running.pids(part)), 60, f"a process of {part}")
    return arena.random.choice(arena.running.pids(part))


def _kill_all_workers(arena: Arena) -> float:
    signal_all([pid for part in WORKERS for pid in arena.running.pids(part)], signal.SIGKILL)
    return time.monotonic()


def _kill_everything(arena: Arena) -> float:
    """All but the supervisor: workers, gateways and Redis at one moment."""
    signal_all([pid for part in (*WORKERS, "gateway", "redis") for pid in arena.running.pids(part)], signal.SIGKILL)
    return time.monotonic()


def _kill_supervisor(arena: Arena) -> float:
    arena.running.kill_supervisor()
    over_s = time.monotonic()  # whoever started it starts it again
    arena.running.start()
    return over_s


def _cut_redis(arena: Arena) -> float:
    """Kill Redis, and take from its file what the last second wrote, as the death of the machine might. Clients send
    again what was answered since: no more is promised of such a death.
    """
    running, aof = arena.running, append_only_file(arena.running.redis_folder)
    since_s, size = time.monotonic(), aof.stat().st_size
    time.sleep(arena.random.uniform(0.3, 1.0))
    supervisor = running.process
    assert supervisor is not None
    supervisor.send_signal(signal.SIGSTOP)
    [server] = running.pids("redis")
    signal_all([server], signal.SIGKILL)
    wait_for(lambda: not running.pids("redis"), 10, "Redis to be gone")
    arena.sender.send_again_since(since_s)
    left = arena.random.randrange(64)  # a record is cut in the middle as well
    with aof.open("r+b") as file:
        file.truncate(min(aof.stat().st_size, size + left))
    supervisor.send_signal(signal.SIGCONT)
    return time.monotonic()


def _second_worker(flow: str) -> Callable[[Arena], float]:
    """Run another worker on the same partitions for some seconds, and kill it."""

    def do(arena: Arena) -> float:
        running = arena.running
        command = ["-m", "bytewax.run", f"flows.{flow}:flow"]
        beside = started_beside(command, running.worker_environment, running.folder / f"beside-{flow}.log")
        time.sleep(arena.random.uniform(5.0, 8.0))
        if beside.poll() is not None:
            raise GaveUp(f"expected a second worker of {flow} to live, it ended: see {running.folder}")
        beside.kill()
        beside.wait()
        return time.monotonic()

    return do


def _fill_disk(arena: Arena) -> float:
    assert arena.disk is not None
    arena.disk.fill()
    time.sleep(arena.random.uniform(1.0, 3.0))
    arena.disk.clear()
    return time.monotonic()


def _fill_disk_and_kill_redis(arena: Arena) -> float:
    assert arena.disk is not None
    arena.disk.fill()
    time.sleep(1.0)
    signal_all(arena.running.pids("redis"), signal.SIGKILL)
    time.sleep(1.0)
    arena.disk.clear()
    return time.monotonic()


def _fill_redis(arena: Arena) -> float:
    with _client(arena.running) as client:
        before = {name: client.config_get(name)[name] for name in ("maxmemory", "maxmemory-policy")}
        client.config_set("maxmemory-policy", "noeviction")  # what is set lets sessions go: that is no fault
        client.config_set("maxmemory", "1")
        time.sleep(arena.random.uniform(1.0, 3.0))
        for name, value in before.items():
            client.config_set(name, value)
    return time.monotonic()


def _empty_redis(arena: Arena) -> float:
    """What was promised went with it where the log is Redis: nothing before that is looked for."""
    with arena.sender.still(), _client(arena.running) as client:
        client.flushall()
        if arena.running.broker is None:
            arena.forget()
        return time.monotonic()


@contextmanager
def _client(running: Running) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(running.settings.redis.url) as client:
        yield client


def _kill_broker(arena: Arena) -> float:
    broker = arena.running.broker
    assert broker is not None
    broker.kill()
    time.sleep(arena.random.uniform(0.2, 2.0))
    broker.start()
    return time.monotonic()


def _step_clock(arena: Arena) -> float:
    arena.step_clock(300_000)
    return time.monotonic()


def _rescale(arena: Arena) -> float:
    """From as many processes as there are to three, to one, and back, with traffic all the while."""
    running = arena.running
    before = running.session_workers
    over_s = time.monotonic()
    for workers in (3, 1, before):
        running.stop()
        running.session_workers = workers
        running.start()
        over_s = time.monotonic()
    return over_s


KILLS = [Fault(f"kill {part}", _kill(part), (recovered,)) for part, recovered in _RECOVERED.items()]
STOPS = [Fault(f"stop {part}", _stop(part), (recovered,)) for part, recovered in _RECOVERED.items()]
ALL_WORKERS = Fault("kill all workers", _kill_all_workers, (_clicks, _trends, _items))
EVERYTHING = Fault("kill all but the supervisor", _kill_everything, (_clicks, _trends, _items))
SUPERVISOR = Fault("kill the supervisor", _kill_supervisor, (_clicks, _trends), by_itself=False)
CUT = Fault("kill redis, cut its last second off", _cut_redis, (_clicks,))
SECOND = [
    Fault("two workers on one partition, sessions", _second_worker("sessions"), (_clicks,)),
    Fault("two workers on one partition, items", _second_worker("items"), (_items,)),
    Fault("two workers on one partition, attribution", _second_worker("attribution"), (_figures,)),
]
DISK = [
    Fault("disk full", _fill_disk, (_clicks, _trends), logs=("redis",)),
    Fault("disk full, and kill redis", _fill_disk_and_kill_redis, (_clicks, _trends), logs=("redis",)),
]
MEMORY = Fault("redis full", _fill_redis, (_clicks, _trends))
EMPTIED = Fault("redis emptied", _empty_redis, (_clicks,), trends_spared=False, states_spared=False)
BROKER = Fault("kill the broker", _kill_broker, (_clicks, _trends), logs=("kafka",))
CLOCK = Fault("clock steps", _step_clock, (_clicks,))
RESCALE = Fault("rescale to 3, 1, and back", _rescale, (_clicks, _trends))


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk | None]:
    """Mount a tmpfs there; None where that is refused."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-o", f"size={megabytes}m,mode=700"]
    tried = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True, check=False)
    if tried.returncode:
        yield None
        return
    try:
        yield SmallDisk(folder)
    finally:
        with suppress(OSError):
            subprocess.run(["umount", "--lazy", str(folder)], check=False)

"""What is wrong, judged from the facts alone. The order of the checks is that of importance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from nextclick.stack.doctor.facts import Facts

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 12)
OLDEST_REDIS = (6, 2)
LITTLE_DISK, NO_DISK = 0.05, 0.01
"""Shares of a disk that are free: few, and too few to go on."""
FULL_MEMORY = 0.9
MOST_AHEAD_MS = 2000
"""Clocks further apart than this make events look late, or of the future."""
MUCH_BEHIND = 10_000
"""Records that a flow may be behind before it is said, while it reads on."""
LONG_WANTED_S = 600.0
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """`wrong` is to be mended now, `warning` is to be looked at."""

    name: str
    level: Literal["wrong", "warning"]
    expected: str
    found: str
    mend: str


def findings(facts: Facts) -> list[Finding]:
    """Return all that is wrong, the most important first. What follows from another finding is left out."""
    return [one for check in CHECKS for one in check(facts)]


def _wrong(name: str, expected: str, found: str, mend: str) -> Finding:
    return Finding(name, "wrong", expected, found, mend)


def _warning(name: str, expected: str, found: str, mend: str) -> Finding:
    return Finding(name, "warning", expected, found, mend)


def _installed(facts: Facts) -> Iterator[Finding]:
    major, minor = facts.python
    if not OLDEST_PYTHON <= facts.python <= NEWEST_PYTHON:
        yield _wrong("python", "Python 3.11 or 3.12", f"{major}.{minor}", "make a new environment: make serving")
    if facts.missing_packages:
        names = ", ".join(facts.missing_packages[:_SHOWN])
        yield _wrong("packages", "every package that Nextclick needs", f"no {names}", "pip install nextclick")


def _settings(facts: Facts) -> Iterator[Finding]:
    if facts.bad_settings is not None:
        yield _wrong("settings", "settings that can be read", facts.bad_settings, "nextclick settings")
    if facts.two_redis is not None:
        mend = "unset NEXTCLICK_REDIS__URL, or name its Redis with --redis"
        yield _wrong("redis", "one Redis to look at", facts.two_redis, mend)


def _disk(facts: Facts) -> Iterator[Finding]:
    disk = facts.disk
    if disk is None or not disk.total_bytes or disk.free_bytes >= LITTLE_DISK * disk.total_bytes:
        return
    say = _wrong if disk.free_bytes < NO_DISK * disk.total_bytes else _warning
    found = f"{disk.free_bytes / 1e6:,.0f} MB of {disk.total_bytes / 1e6:,.0f} MB at {disk.place}"
    yield say("disk", f"{LITTLE_DISK:.0%} of the disk free", found, f"du -xh {disk.place} | sort -h | tail")


def _runs(facts: Facts) -> Iterator[Finding]:
    gateway = facts.gateway
    if facts.bad_settings is not None or facts.two_redis is not None:
        return  # nothing else was looked at
    if gateway is not None and gateway.listens and not gateway.answers:
        port = gateway.url.rpartition(":")[2]
        found = f"another program: {gateway.why}"
        yield _wrong("port", f"a gateway, or nothing, at {gateway.url}", found, f"ss -ltnp 'sport = :{port}'")
    if facts.embedded and not facts.runs:
        start = f"nextclick up --folder {facts.folder}"
        found = "none" if facts.made else "a folder that no stack made, or none"
        mend = start if facts.made else f"name the stack's folder (--folder), or make a stack there: {start}"
        yield _wrong("stack", f"a stack that runs in {facts.folder}", found, mend)


def _redis(facts: Facts) -> Iterator[Finding]:
    if facts.redis_away is not None and not _is_down(facts):
        log = f"tail {facts.folder / 'redis' / 'redis.log'}"
        mend = log if facts.embedded else "start Redis, or mend NEXTCLICK_REDIS__URL"
        yield _wrong("redis", f"a Redis that answers at {facts.redis_place}", facts.redis_away, mend)


def _redis_keeps(facts: Facts) -> Iterator[Finding]:
    redis = facts.redis
    if redis is None:
        return
    if redis.restoring is not None:
        mend = "wait for `nextclick restore`, or run it again with --replace"
        yield _wrong("restore", "a whole deployment in Redis", redis.restoring, mend)
    version = tuple(int(part) for part in redis.version.split(".")[:2] if part.isdigit())
    if version and version < OLDEST_REDIS:
        yield _wrong("redis version", "Redis 6.2 or newer", redis.version, "install a newer Redis")
    if redis.refuses is not None:
        mend = (
            "raise NEXTCLICK_STACK__REDIS_MAX_BYTES, and start again"
            if facts.embedded
            else f"raise its maxmemory: {_redis_cli(facts)} INFO memory"
        )
        is_full = "OOM" in redis.refuses or "maxmemory" in redis.refuses
        mend = mend if is_full else f"{_redis_cli(facts)} INFO"
        yield _wrong("redis writes", "a Redis that takes writes", redis.refuses, mend)
    elif redis.fullness > FULL_MEMORY:
        found = f"{redis.used_bytes / 1e6:,.0f} MB of {redis.max_bytes / 1e6:,.0f} MB"
        mend = "NEXTCLICK_STACK__REDIS_MAX_BYTES" if facts.embedded else "maxmemory of Redis"
        yield _warning("redis memory", f"less than {FULL_MEMORY:.0%} of its memory used", found, f"raise {mend}")
    if redis.unsynced is not None:
        yield _wrong("redis files", "files that reach the disk", redis.unsynced, f"df -h {facts.folder}")
    if redis.policy is not None and redis.policy.startswith("allkeys"):
        mend = f"{_redis_cli(facts)} CONFIG SET maxmemory-policy volatile-lru"
        yield _wrong("redis policy", "maxmemory-policy noeviction or volatile-lru", redis.policy, mend)
    if redis.keeps_file is False:
        found = "none: what it takes is gone when it ends"
        mend = f"{_redis_cli(facts)} CONFIG SET appendonly yes"
        yield _warning("redis file", "an append-only file", found, mend)
    if abs(redis.ahead_ms) > MOST_AHEAD_MS:
        found = f"{redis.ahead_ms / 1000:+,.1f} s"
        expected = f"Redis's clock within {MOST_AHEAD_MS / 1000:.0f} s of this machine's"
        yield _wrong("clock", expected, found, "timedatectl set-ntp true, on both machines")


def _log(facts: Facts) -> Iterator[Finding]:
    if facts.log_away is not None:
        yield _wrong("log", "a Kafka that answers", facts.log_away, "start Kafka, or mend NEXTCLICK_LOG__KAFKA")
    for topic in facts.topics:
        if topic.partitions not in (0, facts.partitions):
            yield _wrong(
                "partitions",
                f"{facts.partitions} partitions (log.partitions) of {topic.name}",
                str(topic.partitions),
                f"set NEXTCLICK_LOG__PARTITIONS={topic.partitions}, or another NEXTCLICK_LOG__TOPIC_PREFIX",
            )
    if facts.redis is not None and facts.redis.partitions > facts.partitions:
        yield _wrong(
            "partitions",
            f"state of {facts.partitions} partitions (log.partitions)",
            f"{facts.redis.partitions} in Redis",
            f"set NEXTCLICK_LOG__PARTITIONS={facts.redis.partitions}, which is fixed for a deployment's life",
        )


def _parts(facts: Facts) -> Iterator[Finding]:
    if facts.parts is None or not facts.runs:
        return
    for part in sorted(facts.wanted_parts - facts.parts):
        if part == "redis" and facts.redis_away is not None:
            continue
        log = facts.folder / "logs" / f"{part}*.log"
        yield _wrong(f"part {part}", "it runs", "no process of it", f"tail -n 20 {log}")


def _flows(facts: Facts) -> Iterator[Finding]:
    missing = facts.wanted_parts - facts.parts if facts.parts is not None else frozenset[str]()
    for flow in facts.flows:
        look = f"tail -n 20 {facts.folder / 'logs' / f'{flow.name}*.log'}" if facts.embedded else "see the flow's log"
        if flow.behind and not flow.moved and flow.name not in missing and not _refuses(facts):
            yield _wrong(f"flow {flow.name}", "it reads on", f"{flow.behind:,} records behind, and none read", look)
        elif flow.behind > MUCH_BEHIND and flow.moved:
            found = f"{flow.behind:,} records behind"
            mend = "nextclick flow sessions --workers 2" if flow.name == "sessions" else look
            yield _warning(f"flow {flow.name}", f"less than {MUCH_BEHIND:,} records behind", found, mend)
        if flow.lost:
            found = f"{flow.lost:,} were trimmed before it read them"
            yield _warning(f"flow {flow.name} lost", "every record read", found, "raise NEXTCLICK_LOG__WAIT_BYTES")


def _gateway(facts: Facts) -> Iterator[Finding]:
    gateway = facts.gateway
    if gateway is None or (facts.embedded and not facts.runs):
        return
    if not gateway.listens:
        if facts.parts is None or "gateway" in facts.parts:
            mend = f"tail -n 20 {facts.folder / 'logs' / 'gateway*.log'}" if facts.embedded else "python -m gateway"
            yield _wrong("gateway", f"a gateway at {gateway.url}", f"nothing: {gateway.why}", mend)
    elif gateway.answers and gateway.ready is False:
        yield _wrong("gateway ready", "a gateway that is ready", gateway.why, f"curl {gateway.url}/readyz")


def _models(facts: Facts) -> Iterator[Finding]:
    models = facts.models
    if models is None:
        return
    for name, why in models.damaged.items():
        say = _wrong if name == models.serving else _warning
        mend = "nextclick models rollback" if name == models.serving else "copy it again: nextclick models add"
        yield say(f"model {name}", "files as they were added", why, mend)
    if models.broken is not None and models.serving not in models.damaged:
        mend = "nextclick train models, or nextclick models rollback"
        yield _wrong("artifacts", f"models that load from {models.artifacts}", models.broken, mend)
    told = facts.gateway.version if facts.gateway is not None else None
    if told is not None and models.serving is not None and told != models.serving:
        expected = f"version {models.serving}, which was published"
        yield _warning("model that serves", expected, f"{told} in a gateway", "nextclick index build, or a new start")


def _index(facts: Facts) -> Iterator[Finding]:
    index = facts.index
    if index is None:
        return
    if index.broken is not None:
        mend = f"nextclick index rollback, or remove {index.folder} and start again"
        yield _wrong("index", f"a whole snapshot in {index.folder}", index.broken, mend)
    elif index.wanted_s is not None and index.wanted_s > LONG_WANTED_S:
        found = f"asked for {index.wanted_s / 60:,.0f} minutes ago"
        yield _warning("index age", "a new snapshot soon after it was asked for", found, "nextclick index build")


def _letters(facts: Facts) -> Iterator[Finding]:
    if facts.letters_last_hour:
        total = sum(facts.letters_last_hour.values())
        most = max(facts.letters_last_hour, key=lambda reason: facts.letters_last_hour[reason])
        found = f"{total:,}, most of them {most}"
        mend = f"{_at_redis(facts)}nextclick dead-letters list --since 1h --reason {most}"
        yield _warning("dead letters", "none in the last hour", found, mend)


def _feeds(facts: Facts) -> Iterator[Finding]:
    for feed in facts.feeds:
        if feed.outcome == "held":
            mend = f"nextclick feed show {feed.name}, then nextclick feed confirm {feed.name}"
            yield _warning(f"feed {feed.name}", "a feed that keeps most of its items", feed.why, mend)
        elif feed.outcome in ("failed", "waiting"):
            mend = f"nextclick feed show {feed.name}"
            yield _warning(f"feed {feed.name}", "a feed that can be pulled and applied", feed.why, mend)


def _who_may(facts: Facts) -> Iterator[Finding]:
    if facts.other_host is not None and facts.keys_setting == "open-to-anyone":
        found = f"NEXTCLICK_GATEWAY__KEYS=open-to-anyone on {facts.other_host}"
        mend = "set NEXTCLICK_GATEWAY__KEYS=required, and make keys: nextclick keys create"
        yield _wrong("keys", "an API key for who comes from elsewhere", found, mend)
    elif facts.other_host is not None and facts.keys == 0:
        found = f"none, and {facts.other_host} is reached by others"
        mend = f"{_at_redis(facts)}nextclick keys create --name site --scope events --scope recommend"
        yield _wrong("keys", "an API key", found, mend)
    if facts.open_files:
        found = ", ".join(str(path) for path in facts.open_files[:_SHOWN])
        yield _wrong("private files", "files that this user alone reads", found, f"chmod -R go= {facts.open_files[0]}")


def _rest(facts: Facts) -> Iterator[Finding]:
    for line in facts.odd_settings:
        yield _warning("settings together", "settings that fit each other", line, "nextclick settings")
    if facts.leftovers:
        found = ", ".join(str(path) for path in facts.leftovers[:_SHOWN])
        mend = f"rm -r {' '.join(str(path) for path in facts.leftovers[:_SHOWN])}"
        yield _warning("leftovers", "nothing of commands that were killed", found, mend)
    for what, why in facts.untold.items():
        yield _warning(what, "something to look at", f"it could not be looked at: {why}", "nextclick doctor, again")


def _redis_cli(facts: Facts) -> str:
    """Return how to ask this Redis by hand."""
    return f'redis-cli -u "$(cat {facts.folder / "redis" / "url"})"' if facts.embedded else "redis-cli -u URL"


def _at_redis(facts: Facts) -> str:
    """Return what stands before a command that is to find a stack's own Redis."""
    return f"NEXTCLICK_REDIS__URL=$(cat {facts.folder / 'redis' / 'url'}) " if facts.embedded else ""


def _is_down(facts: Facts) -> bool:
    return facts.embedded and not facts.runs


def _refuses(facts: Facts) -> bool:
    return facts.redis is None or facts.redis.refuses is not None


CHECKS = (
    *(_installed, _settings, _disk, _runs, _redis, _redis_keeps, _log, _parts, _flows, _gateway, _models, _index),
    *(_feeds, _who_may, _letters, _rest),
)

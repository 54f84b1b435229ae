"""Gathers facts of a stack. Each look is one function; one that fails unforeseen is told, not raised."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from contracts.addresses import is_loopback
from contracts.clock import wall_clock_ms
from contracts.errors import LogUnavailable, NextclickError, SettingsError, StateUnavailable
from contracts.settings import RedisSettings
from nextclick.stack.backup.which_redis import expect_one_redis, is_embedded, own_address, stack_is_running
from nextclick.stack.client import Client, GatewayRefused, GatewayUnreachable, NoGateway
from nextclick.stack.doctor.facts import Facts, FeedFacts, GatewayFacts, TopicFacts
from nextclick.stack.doctor.look_files import disk_at, index_at, leftovers, models_at, open_files
from nextclick.stack.doctor.look_flows import flow_facts
from nextclick.stack.settings import StackSettings, with_given
from nextclick.stack.stack_folder import LOCK
from nextclick.stack.stack_processes import stack_processes
from state.health import redis_health

_ASK_MS = 2000
_HOUR_MS = 3_600_000
_NAME = re.compile(r"[A-Za-z0-9._-]+")
T = TypeVar("T")


class Gathering:
    """The facts so far, and what could not be looked at."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def take(self, **found: Any) -> None:
        self.facts = replace(self.facts, **found)

    def look(self, what: str, ask: Callable[[], T]) -> T | None:
        """Return what a look finds; None, and told, where it fails."""
        try:
            return ask()
        except Exception as error:  # a doctor that falls over the patient is of no use
            said = str(error) if isinstance(error, NextclickError | OSError) else f"{type(error).__name__}: {error}"
            self.take(untold={**self.facts.untold, what: said})
            return None


def gather(given: Mapping[str, object], unknown: Callable[[], list[str]] = list, url: str | None = None) -> Facts:
    """Look at everything, with settings as they are and what options gave. Changes nothing, and raises nothing.

    `unknown` returns a line for each variable that nothing reads.
    """
    folder = Path(str(given.get("stack.folder") or ".nextclick/stack"))
    start = Facts(folder.absolute(), url or "", (sys.version_info[0], sys.version_info[1]))
    gathering = Gathering(replace(start, missing_packages=missing_packages()))
    try:
        settings = with_given(StackSettings(), given)
        _all_settings()
    except Exception as error:
        said = str(error) if isinstance(error, NextclickError) else f"{type(error).__name__}: {error}"
        gathering.take(bad_settings=said)
        return gathering.facts
    try:
        expect_one_redis(settings, folder=_path(given.get("stack.folder")), redis=_text(given.get("redis.url")))
    except SettingsError as error:
        gathering.take(two_redis=str(error))
        return gathering.facts
    _look_at_stack(gathering, settings, unknown, url)
    return gathering.facts


def _path(given: object) -> Path | None:
    return None if given is None else Path(str(given))


def _text(given: object) -> str | None:
    return None if given is None else str(given)


def missing_packages(name: str = "nextclick") -> tuple[str, ...]:
    """Return the packages that an installation asks for and does not have; none where it is not installed itself."""
    try:
        asked = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return ()
    missing = []
    for line in asked:
        found = _NAME.match(line)
        if found is None or ";" in line:  # an extra, or of another system
            continue
        try:
            metadata.version(found[0])
        except metadata.PackageNotFoundError:
            missing.append(found[0])
    return tuple(missing)


def _all_settings() -> None:
    """Read what each service reads. Raises SettingsError."""
    from flows.settings import FlowSettings
    from gateway.settings import GatewaySettings

    GatewaySettings()
    FlowSettings()


def _look_at_stack(
    gathering: Gathering, settings: StackSettings, unknown: Callable[[], list[str]], url: str | None
) -> None:
    folder = settings.stack.folder.absolute()
    # NEXTCLICK_REDIS__URL=$(cat .../redis/url), as the pages write it, names the stack's own
    embedded = is_embedded(settings) or settings.redis.url == own_address(settings)
    runs = bool(gathering.look("stack", lambda: stack_is_running(folder)))
    found = gathering.look("processes", lambda: stack_processes(folder)) if runs else None
    started = found.gateway if found is not None else {}
    artifacts = started.get("NEXTCLICK_ARTIFACTS", settings.artifacts)
    gathering.take(
        folder=folder,
        embedded=embedded,
        made=(folder / LOCK).is_file(),
        runs=runs,
        parts=found.parts if found is not None else None,
        wanted_parts=wanted_parts(settings, embedded=embedded, builds=bool(started.get("NEXTCLICK_INDEX__FOLDER"))),
        url=url or settings.own_url(int(started.get("NEXTCLICK_GATEWAY__PORT", settings.stack.port))),
        partitions=settings.log.partitions,
        odd_settings=(*(gathering.look("variables", unknown) or ()), *odd_settings(settings)),
        disk=gathering.look("disk", lambda: disk_at(folder)),
        open_files=gathering.look("private files", lambda: open_files(folder)) or (),
        leftovers=gathering.look("leftovers", lambda: leftovers(folder)) or (),
        feeds=gathering.look("feeds", lambda: feeds_at(settings)) or (),
        models=gathering.look("artifacts", lambda: models_at(artifacts, settings.text_model)),
    )
    index = started.get("NEXTCLICK_INDEX__FOLDER", settings.index.folder)
    if index:
        gathering.take(index=gathering.look("index", lambda: index_at(Path(index), time.time())))
    gathering.take(gateway=gathering.look("gateway", lambda: gateway_at(gathering.facts.url)))
    _look_at_log(gathering, settings)
    _look_at_redis(gathering, settings)


def wanted_parts(settings: StackSettings, *, embedded: bool, builds: bool) -> frozenset[str]:
    """Return the names of the processes that `nextclick up` starts with these settings."""
    wanted = {"items", "sessions", "trends", "gateway"}
    asked = {
        "redis": embedded,
        "profiles": settings.profile.learn,
        "attribution": settings.attribution.run,
        "judge": settings.judge.run,
        "quality": settings.quality.run,
        "index": builds and settings.index.builder,
        "index-shard": bool(settings.index.shards) and not settings.index.shard_addresses,
        "relay": settings.relay.run,
        "retrain": bool(settings.retrain.every),
    }
    return frozenset(wanted | {name for name, is_asked in asked.items() if is_asked})


def odd_settings(settings: StackSettings) -> list[str]:
    """Return a line for each pair of settings that do not fit."""
    lines = []
    if settings.judge.run and not settings.attribution.run:
        lines.append("judge.run is on and attribution.run off: the judge has no figures to look at")
    if settings.profile.keep < settings.profile.half_life:
        lines.append("profile.keep is less than profile.half_life: profiles go before they fade")
    if settings.attribution.keep < settings.attribution.purchase_window:
        lines.append("attribution.keep is less than attribution.purchase_window: purchases miss their pages")
    return lines


def feeds_at(settings: StackSettings) -> tuple[FeedFacts, ...]:
    """Return how the last pull of every feed went; one that was not pulled yet is no fact."""
    from nextclick.stack.feeds.wired import folder_of

    folder = folder_of(settings)
    last = {name: folder.state(name).last for name in folder.names()}
    return tuple(FeedFacts(name, pull.outcome, pull.why) for name, pull in last.items() if pull is not None)


def gateway_at(url: str) -> GatewayFacts:
    """Ask whatever listens at an address whether it is a gateway, and ready."""
    try:
        with Client(url, timeout_s=_ASK_MS / 1000) as client:
            told = client.readiness()
    except GatewayRefused as refused:
        is_ours = refused.status in (401, 403, 503)
        return GatewayFacts(url, True, is_ours, False if refused.status == 503 else None, str(refused))
    except NoGateway as other:
        return GatewayFacts(url, True, False, None, str(other))
    except GatewayUnreachable as away:
        return GatewayFacts(url, _listens(url), False, None, str(away))
    models = told.get("models")
    if not isinstance(models, dict):
        return GatewayFacts(url, True, False, None, "an answer that is no gateway's")
    return GatewayFacts(url, True, True, True, version=models.get("version"))


def _listens(url: str) -> bool:
    from nextclick.stack.client import expect_listening

    try:
        expect_listening(url)
    except GatewayUnreachable:
        return False
    return True


def _look_at_redis(gathering: Gathering, settings: StackSettings) -> None:
    redis = _redis_of(settings)
    gathering.take(redis_place=redis.place)
    try:
        health = redis_health(redis)
    except StateUnavailable as away:
        gathering.take(redis_away=str(away))
        return
    except Exception as error:
        gathering.take(redis_away=f"{type(error).__name__}: {error}")
        return
    gathering.take(redis=health)
    here = settings.model_copy(update={"redis": redis})
    facts = gathering.facts
    if facts.log_away is None and all(topic.partitions == facts.partitions for topic in facts.topics):
        wanted = facts.wanted_parts & {"items", "sessions", "trends", "profiles", "attribution", "quality"}
        if facts.runs or not facts.embedded:
            gathering.take(flows=gathering.look("flows", lambda: flow_facts(here, sorted(wanted))) or ())
        letters = gathering.look("dead letters", lambda: _letters_last_hour(here))
        gathering.take(letters_last_hour=letters or {})
    _look_at_keys(gathering, here)


def _redis_of(settings: StackSettings) -> RedisSettings:
    asked = {"timeout_ms": min(settings.redis.timeout_ms, _ASK_MS)}
    address = own_address(settings) if is_embedded(settings) else None
    own = {"url": address, "tls_ca": "", "tls_certificate": "", "tls_key": ""} if address else {}
    return settings.redis.model_copy(update={**asked, **own})


def _look_at_log(gathering: Gathering, settings: StackSettings) -> None:
    if settings.log.kind != "kafka":
        return
    from eventlog.kafka_client import found_topics

    try:
        topics = found_topics(settings.log)
    except (LogUnavailable, NextclickError) as error:
        gathering.take(log_away=str(error))
        return
    gathering.take(topics=tuple(TopicFacts(name, count) for name, count in topics.items()))


def _letters_last_hour(settings: StackSettings) -> dict[str, int]:
    from eventlog.letter_choice import Choice, count_by_reason
    from eventlog.open_log import open_dead_letters

    with closing(open_dead_letters(settings.log, settings.redis)) as reader:
        return dict(count_by_reason(reader, Choice(since_ms=wall_clock_ms() - _HOUR_MS)))


def _look_at_keys(gathering: Gathering, settings: StackSettings) -> None:
    from gateway.settings import GatewaySettings
    from state.key_store import KeyStore

    options = GatewaySettings().gateway
    if is_loopback(settings.stack.host):
        return

    def held() -> int:
        with closing(KeyStore(settings.redis)) as store:
            return sum(key.revoked_ms is None for key in store.listed())

    gathering.take(
        other_host=settings.stack.host or "all addresses",
        keys_setting=options.keys,
        keys=gathering.look("keys", held),
    )

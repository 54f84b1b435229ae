"""Feeds with a deployment's settings: where they are, and the gateway that they change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from contracts.clock import wall_clock_ms
from contracts.feed_status import FeedPull as Pull
from contracts.settings import RedisSettings
from nextclick.stack.api_key import api_key
from nextclick.stack.feeds.apply import GatewayDoor, Timing
from nextclick.stack.feeds.definition import FeedFolder
from nextclick.stack.feeds.pull import Puller, Show
from nextclick.stack.feeds.schedule import Schedule
from nextclick.stack.feeds.telling import Telling
from nextclick.stack.settings import StackSettings

KEY_NAME: Final = "feeds (their own)"
_REDIS: Final = "NEXTCLICK_REDIS__"


def folder_of(settings: StackSettings, given: Path | None = None) -> FeedFolder:
    """Return where feeds are kept: the given folder, or the setting's, or the stack's own."""
    own = Path(settings.feeds.folder) if settings.feeds.folder else settings.stack.folder / "feeds"
    return FeedFolder((given or own).absolute())


@contextmanager
def puller_of(
    settings: StackSettings,
    folder: FeedFolder,
    url: str,
    key: str | None = None,
    show: Show = lambda _reached: None,
) -> Iterator[Puller]:
    """Give what pulls feeds into a gateway, which is asked with the given key, or that of the environment; where it
    asks for one and there is none, with one that is made in Redis.
    """

    def make_key() -> str:
        from judge.own_key import own_key

        return own_key(settings.redis, wall_clock_ms, KEY_NAME)

    door = GatewayDoor(url, api_key() if key is None else key, make_key)
    try:
        yield Puller(folder, settings.feeds, door, wall_clock_ms, Timing(time.monotonic, time.sleep), show)
    finally:
        door.close()


def schedule_of(
    settings: StackSettings,
    url: str,
    redis: Mapping[str, str],
    given: Path | None = None,
    told: Callable[[str, Pull], None] = lambda _name, _pull: None,
) -> Schedule:
    """Return what pulls feeds when they are due. `redis`: variables by which a pull finds the Redis that runs; `told`
    is called with each pull that ended.
    """
    log = settings.stack.folder.absolute() / "logs" / "feeds.log"
    env = {**os.environ, **redis, "PYTHONUNBUFFERED": "1"}
    telling = Telling(lambda: _redis_of(settings, redis))
    return Schedule(folder_of(settings, given), url, log, wall_clock_ms, env, told, telling)


def _redis_of(settings: StackSettings, variables: Mapping[str, str]) -> RedisSettings:
    named = {name.removeprefix(_REDIS).lower(): value for name, value in variables.items() if name.startswith(_REDIS)}
    return RedisSettings.model_validate({**settings.redis.model_dump(), **named})

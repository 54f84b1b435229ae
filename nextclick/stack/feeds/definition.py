"""Feeds on disk: what each is, and how its pulls went. A folder a feed, which only this user may read."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connect.feeds.formats import FeedFormat
from contracts.errors import NextclickError
from contracts.feed_status import Count
from contracts.feed_status import FeedPull as Pull
from contracts.masked import MASK, masked

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
SHORTEST: Final = timedelta(seconds=10)
FEED, STATE = "feed.json", "state.json"
MOST_PULLS: Final = 20
"""Pulls that are remembered."""


class FeedError(NextclickError):
    """A feed is not there, cannot be made like that, or is being pulled."""


class Feed(BaseModel):
    """What a feed is. `source`: an http(s) address, or the absolute path of a file. `headers` go to the feed's own
    origin alone. `private`: its address, and those that it redirects to, may be of a private network.
    """

    model_config = ConfigDict(frozen=True)
    name: str = Field(pattern=NAME.pattern)
    source: str = Field(min_length=1, max_length=4000)
    format: FeedFormat
    every_s: Annotated[float, Field(ge=SHORTEST.total_seconds(), le=366 * 86_400)]
    private: bool = False
    headers: dict[str, str] = {}
    id_field: str = Field(default="", max_length=100)
    decimal: Literal[".", ","] | None = None
    currency: str | None = Field(default=None, pattern="^[A-Z]{3}$")

    @property
    def is_remote(self) -> bool:
        return "://" in self.source

    @property
    def shown_source(self) -> str:
        """The source for people: without what opens it."""
        return masked(self.source)

    @property
    def shown_headers(self) -> dict[str, str]:
        return dict.fromkeys(self.headers, MASK)


class State(BaseModel):
    """What is known of a feed between pulls. `etag` and `modified` are those of the pull that was applied last;
    `well_ms`: when it was applied last, or was as it had been.
    """

    model_config = ConfigDict(frozen=True)
    next_ms: Count = 0
    etag: str = ""
    modified: str = ""
    well_ms: Count = 0
    pulls: tuple[Pull, ...] = ()

    @property
    def last(self) -> Pull | None:
        return self.pulls[0] if self.pulls else None

    def after(self, pull: Pull, next_ms: int, **seen: Any) -> Self:
        """Return the state after a pull."""
        well_ms = pull.ended_ms if pull.outcome in ("applied", "unchanged") else self.well_ms
        pulls = (pull, *self.pulls)[:MOST_PULLS]
        return self.model_copy(update={"pulls": pulls, "next_ms": next_ms, "well_ms": well_ms, **seen})


class FeedFolder:
    """The feeds of a deployment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def marker(self) -> Path:
        """A file whose time changes with every change here: what a schedule looks at."""
        return self.folder / "changed"

    def names(self) -> list[str]:
        return sorted(path.parent.name for path in self.folder.glob(f"*/{FEED}"))

    def place(self, name: str) -> Path:
        """Return a feed's folder. Raises FeedError for what is no name."""
        if not NAME.fullmatch(name):
            raise FeedError(f"expected a feed's name of small letters, digits, - and _, got {name!r:.80}")
        return self.folder / name

    def read(self, name: str) -> Feed:
        """Raises FeedError where there is none, or it cannot be read."""
        path = self.place(name) / FEED
        try:
            return Feed.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            there = ", ".join(self.names()) or "none"
            raise FeedError(f"no feed {name!r} in {self.folder}; there are: {there}") from error
        except ValidationError as error:
            raise FeedError(f"{path}: expected a feed, got something else: remove it and add it again") from error

    def add(self, feed: Feed, *, replace: bool) -> None:
        """Keep a feed. Raises FeedError where one of its name is there and is not to be replaced."""
        place = self.place(feed.name)
        if (place / FEED).exists() and not replace:
            raise FeedError(f"feed {feed.name!r} is there: remove it first, or add it with --replace")
        for path in (self.folder, place):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(place / FEED, feed.model_dump_json(indent=1))
        self.write_state(feed.name, self.state(feed.name).model_copy(update={"next_ms": 0, "etag": "", "modified": ""}))

    def remove(self, name: str) -> None:
        """Forget a feed, and all that was seen of it."""
        self.read(name)
        with self.alone(name):
            shutil.rmtree(self.place(name))
            self._mark()

    def state(self, name: str) -> State:
        """Return what is known of a feed; what cannot be read is taken for nothing: the next pull makes it anew."""
        try:
            return State.model_validate_json((self.place(name) / STATE).read_bytes())
        except (OSError, ValidationError):
            return State()

    def write_state(self, name: str, state: State) -> None:
        _write(self.place(name) / STATE, state.model_dump_json())
        self._mark()

    def _mark(self) -> None:
        _write(self.marker, "")

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Hold a feed: two pulls of one would apply each other's halves. Raises FeedError where somebody holds it."""
        with (self.place(name) / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FeedError(
                    f"feed {name!r} is being pulled: wait until that ends (`nextclick feed show`)"
                ) from error
            yield

    def is_held(self, name: str) -> bool:
        """Tell whether a feed is being pulled."""
        try:
            with self.alone(name):
                return False
        except FeedError:
            return True


def _write(path: Path, text: str) -> None:
    """Write a file that only this user reads, at once: whoever reads it meets the old one or the new one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    os.replace(aside, path)

"""What visitors were shown, as it bears on what they are shown next: fatigue, and frequency caps of placements."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from contracts.api import FrequencyCap, Placement
from contracts.errors import StateUnavailable
from contracts.ids import ItemKey
from contracts.scenarios import Fatigue
from contracts.sessions import Session
from state.exposures import Exposures, Shown, tired_of

CAP_UNAVAILABLE: Final = "cap_unavailable"
FATIGUE_UNAVAILABLE: Final = "fatigue_unavailable"


class ShownPages:
    """Reads and counts pages by visitor. What could not be had is named in `degraded`."""

    def __init__(self, exposures: Exposures, caps: Mapping[Placement, FrequencyCap], clock: Callable[[], int]) -> None:
        self._exposures, self._caps, self._clock = exposures, caps, clock
        self._noting: set[asyncio.Task[None]] = set()

    async def tired_of(
        self, visitor: str, fatigue: Fatigue, session: Session | None, degraded: list[str]
    ) -> tuple[int, ...]:
        """Return the keys of what a visitor was shown too often."""
        try:
            pages = await self._exposures.of(visitor)
        except (StateUnavailable, TimeoutError):
            degraded.append(FATIGUE_UNAVAILABLE)
            return ()
        clicked = set() if session is None else set(session.window["item"].tolist())
        since_ms = self._clock() - _ms(fatigue.within.total_seconds())
        return tired_of(pages, shown=fatigue.shown, since_ms=since_ms, clicked=clicked)

    def caps(self, placement: Placement) -> bool:
        """Whether a placement has a frequency cap."""
        return placement in self._caps

    async def take(self, visitor: str, placement: Placement, degraded: list[str], *, counts: bool) -> Shown | None:
        """Count a page of a placement; return what `give_back` takes, None where its cap allows no more.

        Where that cannot be had the page is given, and not counted. `counts`: not where nobody sees the page.
        """
        cap, now_ms = self._caps[placement], self._clock()
        since_ms, page = now_ms - _ms(cap.within.total_seconds()), Shown(now_ms, [secrets.randbits(64)])
        try:
            if counts:
                taken = await self._exposures.take(visitor, placement.value, page, since_ms=since_ms, most=cap.pages)
            else:
                before = await self._exposures.of(visitor, placement.value)
                taken = sum(one.at_ms > since_ms for one in before) < cap.pages
        except (StateUnavailable, TimeoutError):
            degraded.append(CAP_UNAVAILABLE)
            return page
        return page if taken else None

    def give_back(self, visitor: str, placement: Placement, page: Shown) -> None:
        """Count a page no more, in the background: nobody got it."""
        self._in_background(self._exposures.give_back(visitor, placement.value, page))

    def note(self, visitor: str, now_ms: int, keys: Sequence[ItemKey]) -> None:
        """Remember, in the background, what a visitor is shown."""
        self._in_background(self._exposures.note(visitor, Shown(now_ms, list(keys))))

    async def close(self) -> None:
        await asyncio.gather(*self._noting)
        await self._exposures.close()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_quietly(work))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    with suppress(StateUnavailable, TimeoutError):
        await work


def _ms(seconds: float) -> int:
    return round(seconds * 1000)

"""The demo's buyers: a thread of synthetic visits at a steady rate, which ends with the demo."""

from __future__ import annotations

import asyncio
import threading

from replay.engine.buying import BuyOptions, send_buyers
from replay.measure.sales import Takings
from replay.synthetic.shop import Shop

STOP_S = 5.0
"""How long a visit under way may take to end."""


class DemoBuyers:
    """Visits that begin once it is started. `takings` is what they have come to so far."""

    def __init__(self, options: BuyOptions, shop: Shop) -> None:
        self._options, self._shop = options, shop
        self.takings = Takings()
        self.error: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._run, name="buyers", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._listens.wait(STOP_S)

    @property
    def come(self) -> bool:
        """Whether visits still begin or go on."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Let nobody in any more, and return when those inside have left, or after STOP_S."""
        if self._loop is not None and self._stop is not None and self.come:
            try:
                self._loop.call_soon_threadsafe(self._stop.set)
            except RuntimeError:  # it has just ended
                return
            self._thread.join(STOP_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._visits())
        except Exception as error:  # the demo goes on without them, and says so
            self.error = error
        finally:
            self._listens.set()

    async def _visits(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._listens.set()
        self.takings = await send_buyers(self._options, self._shop, progress=self._count, stop=self._stop)

    def _count(self, takings: Takings) -> None:
        self.takings = takings

"""Settings of the trends flow."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from contracts.settings import TrendOptions
from flows.settings import FlowSettings


class TrendSettings(TrendOptions):
    emit_interval_ms: int = Field(default=1000, ge=0, description="An item's trends are written at most this often.")
    forget_after: timedelta = Field(
        default=timedelta(days=7), description="An item without events for this long loses its trends."
    )
    catalogue_from_clicks: bool = Field(
        default=False, description="The first click on an item puts it into the catalogue, bare, if it is not there."
    )

    @property
    def forget_after_ms(self) -> int:
        return int(self.forget_after.total_seconds() * 1000)


class TrendFlowSettings(FlowSettings):
    """What the trends flow reads."""

    trend: TrendSettings = TrendSettings()

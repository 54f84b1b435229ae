"""What trackers of others send, as our events: one file a vendor. Pure; the gateway's door and imports use the same."""

from collections.abc import Mapping
from typing import Final

from connect.adapters import cloudevents, ga4, matomo, segment, snowplow
from connect.adapters.mapped import Adapter, Mapped

ADAPTERS: Final[Mapping[str, Adapter]] = {
    adapter.vendor: adapter
    for adapter in (ga4.ADAPTER, segment.ADAPTER, snowplow.ADAPTER, cloudevents.ADAPTER, matomo.ADAPTER)
}
"""By the name that stands in `/api/collect/NAME` and `nextclick import NAME`."""

__all__ = ["ADAPTERS", "Adapter", "Mapped"]

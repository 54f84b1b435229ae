"""Whether this process shares its flow's partitions with processes elsewhere: those that `nextclick flow` starts do."""

from __future__ import annotations

from flows.settings import FlowSettings
from state.flow_members import FlowMembers


def members_of(flow: str, settings: FlowSettings) -> FlowMembers | None:
    """Return this process among those of its flow; None for one that has all partitions, or those Bytewax gives it."""
    name = settings.flow.member
    return FlowMembers(settings.redis, flow, name, settings.log.partitions) if name else None

"""Who asks, and on what, as the optional features read it: for requests that serve and for those of a replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import msgspec
import numpy as np

from contracts.ids import ItemKey
from rerank.features.parts import Parts
from rerank.query import Query
from retrieval.candidates import Contexts
from retrieval.groups import device_group, region_group


class Visitor(TypedDict):
    """The fields of a Query that say who asks."""

    device_group: ItemKey
    region_group: ItemKey


def visitor_in(context: Mapping[str, Any] | None) -> Visitor:
    """Return what an event's `context` says of its visitor."""
    said = context or {}
    return Visitor(device_group=device_group(said.get("device")), region_group=region_group(said.get("region")))


def with_visitors(contexts: Contexts, queries: Sequence[Query], parts: Parts) -> Contexts:
    """Return contexts that say who asks, where a ranker's parts read it."""
    if not parts.read_visitors:
        return contexts
    visitors = np.array([(query.device_group, query.region_group) for query in queries], np.uint64).reshape(-1, 2)
    return msgspec.structs.replace(contexts, visitors=visitors)

"""Sums of what candidates answered: whatever is in their keys, they can be read, and are added to again."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.settings import RedisSettings
from contracts.shadow_means import OF, means
from state.client import connect
from state.shadow_sums import ShadowSums

NAME = "20261129T045300-1f3a9c2e"
ONE = {"answers": 2.0, "overlap": 1.0, "correlation": 0.5, "correlated": 1.0, "difference": 0.25, "common": 1.0}


@pytest.mark.parametrize("damage", ["string", "list", "nan", "words", "huge"])
def test_a_damaged_key_is_read_as_nothing_and_added_to_afresh(redis_settings: RedisSettings, damage: str) -> None:
    redis, key = connect(redis_settings), f"{redis_settings.prefix}:shadow:{NAME}"
    plant: dict[str, Any] = {
        "string": lambda: redis.set(key, "x"),
        "list": lambda: redis.lpush(key, "x"),
        "nan": lambda: redis.hset(key, "answers", "nan"),
        "words": lambda: redis.hset(key, mapping={"answers": "many", "overlap": "1"}),
        "huge": lambda: redis.hset(key, mapping={"answers": "1e308", "overlap": "-1e300"}),
    }
    plant[damage]()
    sums = ShadowSums(redis_settings)
    assert means(sums.read(NAME)) == {"answers": 0.0, **dict.fromkeys(OF)}
    sums.add(NAME, ONE)
    if damage != "huge":
        assert sums.read(NAME) == ONE
    redis.close()
    sums.close()


@given(st.dictionaries(st.sampled_from(sorted(ONE)), st.floats(-(2.0**53), 2.0**53)))
def test_means_of_whatever_was_kept_are_numbers_or_none(kept: dict[str, float]) -> None:
    assert all(one is None or math.isfinite(one) for one in means(kept).values())

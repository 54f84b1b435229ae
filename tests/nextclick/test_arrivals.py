"""A user who comes back to the synthetic shop finds what they looked at before, before the first click."""

from __future__ import annotations

import pytest

from nextclick.bench.arrivals import arrivals, hit_rate, query_of
from nextclick.bench.shop_pipeline import synthetic_shop
from rerank.query import PipelineSettings


@pytest.mark.slow
def test_own_items_on_arrival_find_more_of_the_first_clicks_than_the_profile_alone() -> None:
    served = synthetic_shop(3_000)
    asked = arrivals(served, 16_000)
    with_own, without = served.pipeline(), served.pipeline(PipelineSettings(own=0))
    assert len(asked) > 400
    assert hit_rate(served, with_own, asked) > hit_rate(served, without, asked) + 0.01
    shown = with_own.recommend([query_of(served, one) for one in asked[:20]])
    reasons = [item.reason for answer in shown for item in answer.items]
    assert reasons.count("you looked at this on an earlier visit") > 100

"""Answers under a deadline: what is left out, and how the pipeline climbs again."""

from __future__ import annotations

from collections.abc import Iterator

from rerank.pipeline import Query
from tests.rerank.shop import NOW, Shop, Ticking, session
from tests.rerank.test_ranker import ranker


def rung(deadline_s: float, step_s: float = 1e-4) -> list[str]:
    shop = Shop()
    shop.covisit("games-3", {"lamps-9": 4.0})
    pipeline = shop.pipeline(ranker=ranker(), clock=Ticking(step_s))
    [answer] = pipeline.recommend([Query(NOW, session=session("games-3"), limit=5, deadline=deadline_s)])
    assert len(answer.items) == 5
    return answer.degraded


def test_the_less_time_there_is_the_more_is_left_out() -> None:
    assert rung(1.0) == []
    assert rung(0.0015) == ["retrieval_order"]
    assert rung(0.0012) == ["co_visitation"]
    assert rung(0.0) == ["trending"]


def test_the_tightest_deadline_of_a_batch_counts() -> None:
    pipeline = Shop().pipeline(ranker=ranker(), clock=Ticking(1e-4))
    answers = pipeline.recommend([Query(NOW, deadline=None), Query(NOW, deadline=0.0), Query(NOW, deadline=9.0)])
    assert [answer.degraded for answer in answers] == [["trending"]] * 3


def test_a_pipeline_that_was_held_up_climbs_again_once_it_is_fast() -> None:
    def steps() -> Iterator[float]:
        now = 0.0
        while True:
            now += 0.02 if now < 20 else 1e-5
            yield now

    clock = steps()
    pipeline = Shop().pipeline(ranker=ranker(), clock=lambda: next(clock))
    for _ in range(100):
        pipeline.recommend([Query(NOW, session=session("games-3"))])

    def within_5_ms() -> list[str]:
        query = Query(NOW, session=session("games-3"), deadline=next(clock) + 0.005)
        return pipeline.recommend([query])[0].degraded

    while next(clock) < 20:
        pass
    assert within_5_ms() == ["trending"]
    for _ in range(300):
        within_5_ms()
    assert within_5_ms() == []

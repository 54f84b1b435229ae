"""Answers under a deadline: what is left out, and how the pipeline climbs again."""

from __future__ import annotations

from collections.abc import Iterator

from rerank.ladder import Ladder, Rung
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


def test_what_a_query_costs_alone_says_nothing_of_a_batch() -> None:
    ladder = Ladder()
    for _ in range(200):
        ladder.searched(0.005, 1)
        ladder.searched(0.010, 16)
        ladder.finished(0.0005, 1)
        ladder.finished(0.002, 16)
        ladder.ranked(0.005, 1)
        ladder.ranked(0.010, 16)
    assert ladder.retrieve_up_to(0.030, 16) is Rung.RERANKED
    assert ladder.may_rank(0.020, 16)
    assert ladder.retrieve_up_to(0.012, 16) is Rung.CO_VISITATION
    assert ladder.retrieve_up_to(0.030, 1) is Rung.RERANKED
    assert ladder.retrieve_up_to(0.006, 1) is Rung.CO_VISITATION


def test_a_batch_larger_than_any_before_is_judged_by_the_next_smaller_one() -> None:
    ladder = Ladder(search_s=0.001, finish_s=0.0)
    assert ladder.retrieve_up_to(0.007, 4) is Rung.RERANKED
    assert ladder.retrieve_up_to(0.005, 4) is Rung.CO_VISITATION

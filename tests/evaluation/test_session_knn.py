"""Session neighbours, by hand, against published outputs, and in a stream."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evaluation.metrics import mrr
from evaluation.next_item import ranks_of
from evaluation.session_knn import VMIS_KNN, VS_KNN, KnnSettings, SessionKnn, linear, one_over
from evaluation.sessions import Sessions, cases_of
from evaluation.stream_knn import StreamKnn
from tests.evaluation.recordings import read_click_tables, recording, sessions
from tests.evaluation.test_item_rules import published, yoochoose

LETTERS = "abcdefgh"


def votes(train: Sessions, prefix: str, settings: KnnSettings) -> dict[str, float]:
    items, scores = SessionKnn(train, settings).scores(np.array([LETTERS.index(one) for one in prefix], np.int32))
    return {LETTERS[item]: score for item, score in zip(items.tolist(), scores.tolist(), strict=True)}


def test_neighbours_vote_by_the_place_of_what_they_share() -> None:
    train = sessions("ac", "bd", "ef")
    assert votes(train, "ab", KnnSettings()) == pytest.approx({"a": 0.25, "b": 1.0, "c": 0.25, "d": 1.0})
    squared = votes(train, "ab", KnnSettings(place_power=2.0))
    assert squared["c"] == pytest.approx(0.125)
    assert votes(train, "ab", KnnSettings(step_weight=linear))["d"] == pytest.approx(0.9)
    assert linear(np.array([1, 10, 30])).tolist() == pytest.approx([0.9, 0.0, 0.0])
    assert one_over(np.array([1, 4])).tolist() == [1.0, 0.25]


def test_a_session_counts_once_however_many_items_it_shares() -> None:
    assert votes(sessions("abc"), "ab", KnnSettings()) == pytest.approx({"a": 1.5, "b": 1.5, "c": 1.5})


def test_only_the_newest_sessions_are_compared_and_only_the_most_alike_vote() -> None:
    train = sessions("ac", "ad", "ae")
    assert set(votes(train, "a", KnnSettings(recent=2))) == {"a", "d", "e"}
    assert set(votes(train, "a", KnnSettings(neighbours=1))) == {"a", "e"}
    assert set(votes(sessions("abc", "bd"), "ab", KnnSettings(neighbours=1))) == {"a", "b", "c"}


def test_only_the_last_items_count() -> None:
    train = sessions("ac", "bd")
    assert set(votes(train, "ab", KnnSettings(last_items=1))) == {"b", "d"}
    assert "b" not in votes(train, "ab", KnnSettings(leave_out_last=True))


def test_rare_items_weigh_more() -> None:
    train = sessions("ab", "ac", "c", "c")
    rare = votes(train, "a", KnnSettings(idf_base=0.0, idf=2.0))
    assert rare == pytest.approx({"a": 2 * 2 * np.log(2), "b": 2 * np.log(4), "c": 2 * np.log(4 / 3)})


def test_answers_are_best_first_and_empty_beyond_the_votes() -> None:
    answers = SessionKnn(sessions("ab", "ac", "ac"), KnnSettings()).answer(cases_of(sessions("ah", "ha")), 5)
    assert answers.tolist() == [[0, 2, 1, -1, -1], [-1] * 5]


def test_vs_knn_comes_near_the_published_outputs() -> None:
    """Of 387 lists 301 agree to every score, and their first 20 items overlap by .997."""
    train, later = yoochoose()
    place = {item: at for at, item in enumerate(train.item_ids)}
    knn = SessionKnn(train, VS_KNN)
    overlap, exact = [], 0
    for session, position, wanted in published("vsknn"):
        prefix = [place[item] for item in later[session][: position + 1]]
        items, scores = knn.scores(np.array(prefix, np.int32))
        best = dict(zip((train.item_ids[item] for item in items), (scores / scores.max()).tolist(), strict=True))
        first = sorted(best, key=lambda item: -best[item])[:20]
        theirs = list(wanted)[:20]
        overlap.append(len(set(first) & set(theirs)) / len(theirs))
        exact += all(best.get(item, 0.0) == pytest.approx(score, abs=1e-5) for item, score in wanted.items())
    assert len(overlap) == 387
    assert np.mean(overlap) > 0.99
    assert exact > 280


@pytest.mark.parametrize(("part", "reported"), [("valid", 0.3197), ("test", 0.3401)])
def test_vmis_knn_reaches_what_serenade_reports(part: str, reported: float) -> None:
    train, later = read_click_tables([recording("serenade-toy", f"{name}.txt") for name in ("train", part)])
    cases = cases_of(later)
    found = mrr(ranks_of(SessionKnn(train, VMIS_KNN).answer(cases, 20), cases.targets), 20)
    assert found == pytest.approx(reported, abs=0.005)
    without_idf = SessionKnn(train, replace(VMIS_KNN, idf_base=1.0, idf=0.0))
    assert mrr(ranks_of(without_idf.answer(cases, 20), cases.targets), 20) != pytest.approx(found, abs=1e-4)


def test_a_streaming_knn_knows_a_click_as_soon_as_it_has_learnt_it() -> None:
    knn = StreamKnn(recent=4, sessions=8)
    assert knn.predict(["a"], 0, 3) == []
    for session, items in enumerate(("ab", "ac", "ac")):
        for item in items:
            knn.learn(str(session), item, 0)
    assert knn.predict(["a"], 0, 3) == ["a", "c", "b"]
    assert knn.predict(["x", "a"], 0, 1) == ["a"]


def test_a_streaming_knn_forgets_the_oldest_sessions() -> None:
    knn = StreamKnn(recent=2, sessions=4)
    for session, items in enumerate(("ab", "ac", "ad")):
        for item in items:
            knn.learn(str(session), item, 0)
    assert set(knn.predict(["a"], 0, 9)) == {"a", "c", "d"}

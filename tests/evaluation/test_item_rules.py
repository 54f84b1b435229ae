"""Baselines of single items, by hand and against published outputs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from evaluation.item_rules import ItemRules, divided, popularity, session_popularity
from evaluation.sessions import Sessions, cases_of
from tests.evaluation.recordings import read_click_tables, recording, sessions


def rules_of(rules: ItemRules, item: int) -> dict[int, float]:
    held = rules.others[item] >= 0
    weights: list[float] = rules.weights[item][held].tolist()
    return dict(zip(rules.others[item][held].tolist(), weights, strict=True))


def test_popularity_answers_the_most_clicked_to_everybody() -> None:
    answers = popularity(sessions("aab", "bb", "c"), 2)(cases_of(sessions("cd", "ef")))
    assert answers.tolist() == [[1, 0], [1, 0]]


def test_session_popularity_answers_the_sessions_own_items_first() -> None:
    answers = session_popularity(sessions("aaabbc"), 3)(cases_of(sessions("cbba")))
    assert answers.tolist() == [[2, 0, 1], [1, 2, 0], [1, 2, 0]]


def test_association_rules_count_pairs_of_a_session_both_ways() -> None:
    rules = ItemRules.association(sessions("abc", "ab", "aa"))
    assert rules_of(rules, 0) == {1: 2.0, 0: 2.0, 2: 1.0}
    assert rules_of(rules, 2) == {0: 1.0, 1: 1.0}


def test_sequential_rules_weigh_by_the_square_of_the_distance() -> None:
    rules = ItemRules.sequential(sessions("abcd", "ad"), steps=3)
    assert rules_of(rules, 0) == pytest.approx({3: 1 + 1 / 9, 1: 1.0, 2: 0.25})
    assert rules_of(rules, 3) == {}
    assert rules_of(ItemRules.sequential(sessions("abc"), steps=1), 0) == {1: 1.0}
    assert rules_of(ItemRules.sequential(sessions("abc"), weight=divided), 0) == {1: 1.0, 2: 0.5}


def test_co_visitation_forgets_by_half_lives_and_leaves_the_item_itself_out() -> None:
    learnt = sessions("ab", "aac")  # a session begins every 100 minutes, its last click is the one that counts from
    forever = ItemRules.co_visitation(learnt, backward=0.5)
    assert rules_of(forever, 0) == pytest.approx({2: 1.5, 1: 1.0})
    halved = ItemRules.co_visitation(learnt, half_life_ms=101 * 60_000)
    assert rules_of(halved, 0)[1] == pytest.approx(0.5, abs=0.01)


def test_only_the_strongest_rules_are_kept() -> None:
    assert rules_of(ItemRules.sequential(sessions("abc", "ac", "ad"), kept=1), 0) == {2: 1.25}
    assert ItemRules.sequential(sessions("ab"), kept=2).answer(cases_of(sessions("ac")), 2).tolist() == [[1, -1]]


def published(name: str) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Session, position, and the items with a score above 0, of a published output."""
    with open(recording("yoochoose-100k", f"recoms_rsc15_100k_{name}.csv"), newline="") as file:
        for row in csv.DictReader(file, delimiter=";"):
            scores = zip(row["Recommendations"].split(","), map(float, row["Scores"].split(",")), strict=True)
            yield row["SessionId"], int(row["Position"]), {item: score for item, score in scores if score > 0}


def clicked(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            found.setdefault(row["SessionId"], []).append(row["ItemId"])
    return found


def yoochoose() -> tuple[Sessions, dict[str, list[str]]]:
    train, test = (recording("yoochoose-100k", f"yoochoose-clicks-100k_{part}.txt") for part in ("train_full", "test"))
    return read_click_tables([train, test])[0], clicked(test)


@pytest.mark.parametrize("name", ["ar", "sr"])
def test_rules_are_those_that_were_published(name: str) -> None:
    """All 387 lists, to the score; of equal scores at the end of a list of 20, any may be in it."""
    train, later = yoochoose()
    rules = ItemRules.association(train) if name == "ar" else ItemRules.sequential(train, steps=20)
    place = {item: at for at, item in enumerate(train.item_ids)}
    compared = 0
    for session, position, wanted in published(name):
        mine = rules_of(rules, place[later[session][position]])
        best = max(mine.values(), default=1.0)
        scores = {train.item_ids[item]: weight / best for item, weight in mine.items()}
        least = min(wanted.values(), default=0.0)
        assert sorted(scores.values()) == pytest.approx(sorted(wanted.values()), abs=1e-6)
        assert {item for item, score in scores.items() if score > least + 1e-6} == {
            item for item, score in wanted.items() if score > least + 1e-6
        }
        compared += 1
    assert compared == 387
    assert np.all(rules.weights >= 0)

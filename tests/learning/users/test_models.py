"""User models as they serve, on numbers worked out by hand, and lists made one."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from learning.users.catalogue_side import price_band
from learning.users.fusion import best_items, fuse
from learning.users.known import FACTS, Known
from learning.users.models import Autoencoder, Factors, OwnItems, Profile, Space, Tower, blended, in_common, pairs

EYE = np.eye(3, dtype=np.float32)
SPACE = Space(np.vstack([EYE, np.zeros((1, 3), np.float32)]), np.array([True, True, True, False]))
NOWHERE = -np.inf


def known(history: list[float], session: list[float], profile: list[float], query: list[float]) -> Known:
    return Known(
        users=np.array([0]),
        history=csr_matrix(np.array([history], np.float32)),
        session=csr_matrix(np.array([session], np.float32)),
        profile=np.array([profile], np.float32),
        query=np.array([query], np.float32),
        facts=np.zeros((1, FACTS), np.float32),
    )


ARRIVING = known([2, 1, 0, 0], [0, 0, 0, 0], [0.8, 0.6, 0], [0, 0, 0])
LOOKING = known([2, 1, 0, 0], [0, 0, 1, 0], [0.8, 0.6, 0], [0, 0, 1])


def test_own_items_come_by_decayed_clicks_and_no_others_come() -> None:
    assert OwnItems().scores(ARRIVING).tolist() == [[2, 1, NOWHERE, NOWHERE]]


def test_the_profile_answers_alone_on_arrival_and_has_its_share_later() -> None:
    assert np.allclose(blended(ARRIVING.profile, ARRIVING.query, 0.25), [[0.8, 0.6, 0]])
    length = np.hypot(0.25, 0.75)
    assert np.allclose(blended(LOOKING.profile, LOOKING.query, 0.25), [[0.2 / length, 0.15 / length, 0.75 / length]])
    assert Profile(SPACE, 0.25).scores(LOOKING)[0].argmax() == 2
    assert Profile(SPACE, 0.25).scores(LOOKING)[0][3] == NOWHERE


def test_a_visitor_of_whom_nothing_is_known_gets_no_list() -> None:
    nobody = known([0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0], [0, 0, 0])
    assert best_items(Profile(SPACE, 0.3).scores(nobody), 3).tolist() == [[-1, -1, -1]]


def test_a_tower_that_learnt_nothing_is_the_blend() -> None:
    still = Tower(SPACE, 0.25, (np.zeros((6 + FACTS, 3), np.float32),), (np.zeros(3, np.float32),))
    assert np.allclose(still.scores(LOOKING), Profile(SPACE, 0.25).scores(LOOKING))


def test_als_folds_a_visitor_in_by_own_clicks() -> None:
    items = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.float32)
    found = Factors(items, regularization=1.0, confidence=10.0).scores(known([1, 0, 0, 0], [0] * 4, [0] * 3, [0] * 3))
    assert np.allclose(found[0][:3], [11 / 13, 11 / 13, 0.0])  # (2 + 1 + 10) x = 11
    assert found[0][3] == NOWHERE


def test_the_autoencoder_reads_unit_rows() -> None:
    model = Autoencoder(
        into=np.array([[1, 0], [0, 1]], np.float32),
        into_bias=np.zeros(2, np.float32),
        out=np.eye(2, dtype=np.float32),
        out_bias=np.array([0, 0.5], np.float32),
        trained=np.array([True, True]),
    )
    found = model.scores(known([3, 4], [0, 0], [0] * 3, [0] * 3))
    assert np.allclose(found, [[np.tanh(0.6), np.tanh(0.8) + 0.5]])


def test_what_a_visitor_and_an_item_have_in_common() -> None:
    groups = np.array([[0, 1, 0, -1]])
    popularity = np.array([1, 0.5, 0.25, 0], np.float32)
    found = in_common(LOOKING, SPACE.vectors, groups, popularity, np.array([2, 3]))[:, 0]
    assert np.allclose(found, [[0, 0], [np.log(2), 0], [0, 0], [1, 0], [2 / 3, 0], [0.25, 0]])


def test_pairs_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=(7, 3)).astype(np.float32)
    out = rng.normal(size=3).astype(np.float32)
    plain = [[float(np.maximum(a + b, 0) @ out) for b in right] for a in left]
    assert np.allclose(pairs(left, right, out), plain, atol=1e-5)


def test_best_items_keep_the_earlier_of_equals() -> None:
    scores = np.array([[1, 3, 3, NOWHERE, 2]], np.float32)
    assert best_items(scores, 2).tolist() == [[1, 2]]
    assert best_items(scores, 9).tolist() == [[1, 2, 4, 0, -1]]


def test_a_list_of_weight_0_is_not_asked() -> None:
    first, second = np.array([[4, 2, 9]], np.int32), np.array([[9, 7, -1]], np.int32)
    assert fuse(first, second, 0.0, 2).tolist() == [[4, 2]]


def test_what_both_lists_hold_comes_first_and_once() -> None:
    first, second = np.array([[4, 2, 9]], np.int32), np.array([[9, 7, -1]], np.int32)
    assert fuse(first, second, 1.0, 5).tolist() == [[9, 4, 2, 7, -1]]
    assert fuse(first, second, 0.01, 5).tolist() == [[4, 2, 9, 7, -1]]


def test_price_bands_double_every_two() -> None:
    assert [price_band(price) for price in (1.0, 1.5, 2.0, 100.0, 0.0, None)] == [0, 1, 2, 13, None, None]

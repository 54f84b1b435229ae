"""User models learn: a taste that lasts, the same model from the same seed, an artifact that says whose it is."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import orjson
import pytest

from contracts.errors import ArtifactError
from contracts.items import Item
from learning.replay import Towers
from learning.users.catalogue_side import ItemSide
from learning.users.fusion import best_items
from learning.users.known import Knowing
from learning.users.learn import lessons_of, user_model
from learning.users.lessons import Lessons
from learning.users.models import Space, Tower
from learning.users.settings import EVERY, ModelName, UserSettings
from learning.users.tower_artifact import USER_TOWER, load_tower, save_tower
from learning.users.visits import Moments, Visits, learnt_sessions, moments_between, read_visits
from session_model.item_tower import ItemTower
from tests.learning.users.visitors import GAP_MS, OneHot, encoder, visits_of

pytestmark = pytest.mark.torch
ITEMS = "abcdefgh"
SMALL = UserSettings(
    factors=4, embedding=8, bottleneck=8, hidden=(16,), dense=(16, 8), batch=32, train_epochs=40, learning_rate=1e-2
)
END_MS = 2**62


def visits() -> Visits:
    """Twenty visitors, six days: those with an even number look at items a to d, the others at e to h."""
    rng = np.random.default_rng(1)
    rows = []
    for day in range(6):
        for user in range(20):
            taste = ITEMS[:4] if user % 2 == 0 else ITEMS[4:]
            rows.append((f"s{day}-{user}", f"u{user}", "".join(rng.permutation(list(taste))[:3]), day + user / 100))
    return read_visits(visits_of(*rows), GAP_MS)


@pytest.fixture(scope="module")
def learnt() -> tuple[Visits, Knowing, Lessons]:
    import learning.users.fitting  # torch takes seconds to import, and no test's own

    assert learning.users.fitting
    held = visits()
    knowing = Knowing(held, Towers(encoder(8), cast(ItemTower, OneHot(8))), {}, SMALL)
    side = ItemSide.of(learnt_sessions(held, END_MS), {"a": Item(title="a", category="x", price=3.0)})
    return held, knowing, lessons_of(held, knowing, side, END_MS, SMALL, 1)


@pytest.mark.parametrize("name", EVERY)
def test_every_model_gives_an_arriving_visitor_the_items_of_their_taste(
    name: ModelName, learnt: tuple[Visits, Knowing, Lessons]
) -> None:
    held, knowing, lessons = learnt
    model = user_model(name, lessons, SMALL, 1, lambda done, total: None)
    last = moments_between(held, int(held.began_ms[100]), END_MS)
    arrivals = last.pick(last.known == 0)
    lists = best_items(model.scores(knowing.of(arrivals)), 4)
    ids = held.sessions.item_ids
    right = [
        (ids[item] in ITEMS[:4]) == (held.users[session] % 2 == 0)
        for session, row in zip(arrivals.session, lists, strict=True)
        for item in row.tolist()
    ]
    assert len(right) == 80
    assert sum(right) >= 76


@pytest.mark.parametrize("name", [name for name in EVERY if name not in ("own", "profile")])
def test_the_same_seed_gives_the_same_scores(name: ModelName, learnt: tuple[Visits, Knowing, Lessons]) -> None:
    _, knowing, lessons = learnt
    known = knowing.of(Moments(np.array([100, 101]), np.array([0, 2]), np.array([0, 0], np.int32)))
    quick = SMALL.model_copy(update={"train_epochs": 2})
    first, again, other = (user_model(name, lessons, quick, seed, lambda *_: None).scores(known) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_als_as_it_serves_agrees_with_the_library(learnt: tuple[Visits, Knowing, Lessons]) -> None:
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    _, knowing, lessons = learnt
    model = user_model("als", lessons, SMALL, 1, lambda *_: None)
    known = knowing.of(Moments(np.array([110]), np.array([1]), np.array([0], np.int32)))
    clicked = known.both
    clicked.data = 1.0 + SMALL.confidence * clicked.data
    with threadpool_limits(1, "blas"):
        library = AlternatingLeastSquares(
            factors=SMALL.factors, regularization=SMALL.regularization, alpha=1.0, num_threads=1, random_state=1
        )
        library.item_factors = model.items  # type: ignore[attr-defined]
        user = library.recalculate_user([0], clicked)
    assert np.allclose(model.scores(known), user @ library.item_factors.T, atol=1e-4)


SPACE = Space(np.eye(3, dtype=np.float32), np.ones(3, np.bool_))


def tower() -> Tower:
    rng = np.random.default_rng(2)
    weights = tuple(rng.normal(size=shape).astype(np.float32) for shape in ((11, 4), (4, 3)))
    return Tower(SPACE, 0.25, weights, (np.ones(4, np.float32), np.ones(3, np.float32)))


def test_saving_and_loading_does_not_change_the_tower(tmp_path: Path) -> None:
    made = tower()
    manifest = save_tower(tmp_path / USER_TOWER, made, 77, {"seed": 1})
    found = load_tower(tmp_path / USER_TOWER, SPACE, 77)
    assert found.share == 0.25
    for one, two in zip((*made.weights, *made.biases), (*found.weights, *found.biases), strict=True):
        assert np.array_equal(one, two)
    assert manifest.kind == "user_tower"
    assert sorted(path.suffix for path in (tmp_path / USER_TOWER).iterdir()) == [".json", *[".npy"] * 6]


def test_a_tower_of_another_session_model_is_refused(tmp_path: Path) -> None:
    save_tower(tmp_path / USER_TOWER, tower(), 77, {})
    with pytest.raises(ArtifactError, match=r"expected a user tower of session model 0+4e, got one of 0+4d"):
        load_tower(tmp_path / USER_TOWER, SPACE, 78)


def test_a_damaged_tower_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / USER_TOWER
    save_tower(folder, tower(), 77, {})
    raw = bytearray((folder / "weight_0.npy").read_bytes())
    raw[-1] ^= 1
    (folder / "weight_0.npy").write_bytes(raw)
    with pytest.raises(ArtifactError, match="expected SHA-256"):
        load_tower(folder, SPACE, 77)


def test_the_manifest_says_what_it_came_from(tmp_path: Path) -> None:
    save_tower(tmp_path / USER_TOWER, tower(), 77, {"seed": 5, "hidden": [4]})
    document = orjson.loads((tmp_path / USER_TOWER / "manifest.json").read_bytes())
    assert document["created_from"] == {"seed": 5, "hidden": [4]}
    assert document["dim"] == 3

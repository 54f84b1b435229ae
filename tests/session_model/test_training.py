"""Training: torch and numpy say the same, the same seed makes the same artifact, and what is there is learnt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import ArtifactError
from contracts.events import Event
from contracts.ids import item_key
from contracts.items import Item
from contracts.sessions import CLICK
from eventlog.files import write_events, write_items
from session_model import artifact
from session_model.encoder import SessionEncoder
from session_model.item_tower import TOWER_ARRAYS, ItemTower
from tests.session_model.test_encoder import Vectors

torch = pytest.importorskip("torch", reason="needs the train extra")

from session_model import training  # noqa: E402
from session_model.histories import from_events  # noqa: E402
from session_model.model import TwoTowers  # noqa: E402
from session_model.quality import compare, split_by_time  # noqa: E402
from session_model.training import Step, TrainingSettings, read_content, train  # noqa: E402

pytestmark = pytest.mark.torch

SMALL = TrainingSettings(
    dim=16, train_epochs=3, batch_sessions=16, negatives=32, check_share=0.2, learning_rate=0.02, input_dropout=0.2
)
GROUPS = 6
IN_GROUP = 8


def group_events(sessions: int, seed: int) -> Iterator[Event]:
    """Visitors who stay in one of six groups of eight items: g0-0 to g5-7."""
    rng = np.random.default_rng(seed)
    for session in range(sessions):
        group = int(rng.integers(GROUPS))
        for at, item in enumerate(rng.permutation(IN_GROUP)[: int(rng.integers(2, 6))]):
            yield Event(
                v=1,
                event_id=f"e{session}-{at}",
                type="cart" if at == 1 else "view",
                session_id=f"s{session}",
                item_id=f"g{group}-{item}",
                ts=session * 60_000 + at * 1000,
            )


def group_items() -> dict[str, Item]:
    return {
        f"g{group}-{item}": Item(title=f"thing kind{group}", category=f"all/group{group}", price=10.0 + group)
        for group in range(GROUPS)
        for item in range(IN_GROUP)
    }


def make_model(images: int = 0, memory: int = 0) -> tuple[TwoTowers, list[str], dict[str, Item]]:
    items = {
        name: item.model_copy(update={"image_vector": [float(at), 1.0, -1.0][:images] or None})
        for at, (name, item) in enumerate(group_items().items())
    }
    ids = sorted(items)
    torch.manual_seed(0)
    content = read_content(ids, items, np.ones(len(ids), np.bool_), SMALL)
    model = TwoTowers(content, 16, id_dropout=0.3, input_dropout=0.5, memory=memory, memory_dropout=0.5)
    with torch.no_grad():  # as if trained: nothing is zero, nothing is one
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.eval()
    return model, ids, items


@pytest.mark.parametrize("memory", [0, 8], ids=["gated mean alone", "with a memory"])
def test_the_numpy_encoder_agrees_with_torch(memory: int, tmp_path: Path) -> None:
    model, _, _ = make_model(memory=memory)
    arrays = model.export(np.arange(48, dtype=np.uint64), np.ones(48, np.bool_))
    artifact.save(tmp_path / "m", kind=artifact.SESSION_MODEL, dim=16, arrays=arrays, created_from={})
    encoder = SessionEncoder.load(tmp_path / "m")
    assert (encoder.dim, encoder.width) == (16, 16 + memory)
    rng = np.random.default_rng(2)
    vectors = torch.nn.functional.normalize(torch.randn(5, 9, 16), dim=2)
    codes = rng.integers(1, 4, size=(5, 9))
    with torch.no_grad():
        expected = model.states(vectors, torch.from_numpy(codes))
        queries = model.queries(expected).numpy()
    states = encoder.empty(5)
    for at in range(9):
        states = encoder.step(states, vectors[:, at].numpy(), codes[:, at].astype(np.uint8))
        np.testing.assert_allclose(states, expected[:, at].numpy(), atol=1e-5)
        np.testing.assert_allclose(encoder.query(states), queries[:, at], atol=1e-5)


@pytest.mark.parametrize("images", [0, 3])
def test_the_numpy_tower_agrees_with_torch(images: int) -> None:
    model, ids, items = make_model(images)
    keys = np.array([item_key(item_id) for item_id in ids], np.uint64)
    arrays = model.export(keys, np.ones(len(ids), np.bool_))
    order = np.argsort(keys)
    arrays["id_table"] = model.id_table.detach().numpy()[order]  # before they are stored as float16
    arrays["token_table"] = model.token_table.detach().numpy()
    tower = ItemTower(**{name: arrays[name] for name in TOWER_ARRAYS}, version=1)
    with torch.no_grad():
        expected = model.item_vectors(np.arange(len(ids))).numpy()
    vectors, known = tower.embed(ids, [items[item_id] for item_id in ids])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert known.all()
    assert len(arrays["image_projection"]) == images


def test_storing_tables_as_float16_moves_a_vector_by_less_than_a_thousandth() -> None:
    model, ids, items = make_model()
    arrays = model.export(np.array([item_key(item_id) for item_id in ids], np.uint64), np.ones(len(ids), np.bool_))
    tower = ItemTower(**{name: arrays[name] for name in TOWER_ARRAYS}, version=1)
    with torch.no_grad():
        expected = model.item_vectors(np.arange(len(ids))).numpy()
    vectors, _ = tower.embed(ids, [items[item_id] for item_id in ids])
    assert float(np.linalg.norm(vectors - expected, axis=1).max()) < 1e-3


def test_training_from_files_makes_an_artifact_that_serves(tmp_path: Path) -> None:
    write_events(tmp_path / "events.jsonl.zst", group_events(300, 1))
    write_items(tmp_path / "items.jsonl.zst", group_items().items())
    steps: list[Step] = []
    trained = train(
        tmp_path / "events.jsonl.zst",
        tmp_path / "items.jsonl.zst",
        SMALL,
        tmp_path / "m",
        seed=1,
        progress=steps.append,
    )
    encoder, tower = SessionEncoder.load(tmp_path / "m"), ItemTower.load(tmp_path / "m")
    assert encoder.version == tower.version == int(trained.version, 16)
    assert encoder.dim == tower.dim == 16
    assert trained.items == 48
    assert trained.sessions == 300
    assert {step.stage for step in steps} == {"read", "train", "check", "settle"}
    assert steps[-1].done == steps[-1].total
    manifest = artifact.read_manifest(tmp_path / "m", "session_model")
    assert manifest.created_from["settings"]["dim"] == 16
    assert manifest.created_from["seed"] == 1


def test_the_same_seed_gives_the_same_artifact_and_another_seed_another(tmp_path: Path) -> None:
    versions = [
        train(group_events(120, 1), group_items(), SMALL, tmp_path / f"m{at}", seed=seed).version
        for at, seed in enumerate((5, 5, 6))
    ]
    assert versions[0] == versions[1]
    assert versions[0] != versions[2]


def test_training_leaves_torchs_own_random_state_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    train(group_events(60, 1), None, SMALL, tmp_path / "m", seed=5)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_memory_learns_what_comes_next_where_the_mean_cannot(tmp_path: Path) -> None:
    """Visitors walk a ring of 12 items one way: what comes next is as near to the last item as what came before."""
    random = np.random.default_rng(0)
    walks = [
        Event(
            v=1,
            event_id=f"{session}-{at}",
            type="view",
            session_id=f"s{session}",
            item_id=f"ring-{(start + at) % 12}",
            ts=session * 1_000_000 + at * 1000,
        )
        for session, start in enumerate(random.integers(0, 12, 600).tolist())
        for at in range(4)
    ]
    settings = SMALL.model_copy(update={"train_epochs": 8, "learning_rate": 0.01})
    found = {}
    for memory in (0, 16):
        asked = settings.model_copy(update={"memory": memory})
        trained = train(walks, None, asked, tmp_path / f"m{memory}", seed=1)
        found[memory] = trained.mrr
    assert found[0] < 0.8
    assert found[16] > 0.95


@pytest.mark.parametrize("items", [None, group_items()], ids=["ids alone", "with content"])
def test_after_clicks_in_one_group_that_group_is_nearest(tmp_path: Path, items: dict[str, Item] | None) -> None:
    train(group_events(600, 1), items, SMALL.model_copy(update={"train_epochs": 6}), tmp_path / "m", seed=1)
    encoder, tower = SessionEncoder.load(tmp_path / "m"), ItemTower.load(tmp_path / "m")
    catalogue = items or {name: Item(title=name) for name in group_items()}
    ids = sorted(catalogue)
    vectors, known = tower.embed(ids, [catalogue[item_id] for item_id in ids])
    assert known.all()
    for group in range(GROUPS):
        state = encoder.empty(1)
        for item in (0, 1):
            row = ids.index(f"g{group}-{item}")
            state = encoder.step(state, vectors[[row]], np.array([1], np.uint8))
        nearest = np.argsort(-(encoder.query(state) @ vectors.T)[0])[:IN_GROUP]
        assert {ids[row].split("-")[0] for row in nearest} == {f"g{group}"}


def test_a_new_item_stands_by_its_content_where_its_kind_stands(tmp_path: Path) -> None:
    train(group_events(600, 1), group_items(), SMALL.model_copy(update={"train_epochs": 6}), tmp_path / "m", seed=1)
    tower = ItemTower.load(tmp_path / "m")
    ids = sorted(group_items())
    vectors, _ = tower.embed(ids, [group_items()[item_id] for item_id in ids])
    fresh, known = tower.embed(["never-seen"], [Item(title="thing kind3", category="all/group3", price=13.0)])
    assert known.tolist() == [True]
    nearest = np.argsort(-(fresh @ vectors.T)[0])[:IN_GROUP]
    assert {ids[row].split("-")[0] for row in nearest} == {"g3"}


def test_items_seen_only_in_the_sessions_kept_aside_are_learnt_in_the_last_pass(tmp_path: Path) -> None:
    late = [
        Event(v=1, event_id=f"x{session}-{at}", type="view", session_id=f"x{session}", item_id=f"late-{at}", ts=ts)
        for session in range(40)
        for at, ts in enumerate(range(10**9 + session * 60_000, 10**9 + session * 60_000 + 3))
    ]
    trained = train([*group_events(300, 1), *late], None, SMALL, tmp_path / "m", seed=1)
    tower = ItemTower.load(tmp_path / "m")
    assert trained.items == len(tower.id_keys) == 51
    ids = ["late-0", "late-1", *(f"g{group}-0" for group in range(GROUPS))]
    vectors, known = tower.embed(ids, [Item(title=item_id) for item_id in ids])
    assert known.all()
    assert int(np.argmax(vectors[1:] @ vectors[0])) == 0  # late-1 is nearest


def test_too_little_traffic_is_refused(tmp_path: Path) -> None:
    lonely = [Event(v=1, event_id=f"e{at}", type="view", session_id=f"s{at}", item_id="a", ts=at) for at in range(20)]
    with pytest.raises(ArtifactError, match="at least 2 sessions of 2 clicks or more to train on, got 0 of 20"):
        train(lonely, None, SMALL, tmp_path / "m", seed=1)
    with pytest.raises(ArtifactError, match="got 0 of 0"):
        train([], None, SMALL, tmp_path / "m", seed=1)


def test_the_comparison_with_co_visitation_counts_the_same_cases(tmp_path: Path) -> None:
    past = from_events(group_events(500, 1), idle_gap_ms=60_000, max_clicks=50)
    learnt, later = split_by_time(past, 0.2)
    trained = training.train_on(learnt, {}, SMALL, tmp_path / "m", seed=1)
    found = compare(learnt, later, trained.folder, {}, max_cases=100)
    assert [row.name for row in found] == ["session model", "session model, last item too", "co-visitation"]
    assert {row.cases for row in found} == {100}
    assert found[0].hit_rate > 0.9  # seven others in the group, twenty answers
    assert found[2].hit_rate > 0.9
    assert found[0].mrr > found[1].mrr  # the last item is always nearest, and never right here


def test_unknown_items_take_no_part() -> None:
    vectors = Vectors()
    window = np.zeros(1, CLICK)
    window["item"], window["code"] = 99, 1
    encoder = SessionEncoder(
        weight=np.zeros((6, 6), np.float32), bias=np.zeros(6, np.float32), shift=np.zeros((4, 6), np.float32), version=1
    )
    states, incomplete = encoder.encode([window], vectors)
    assert incomplete.tolist() == [True]
    assert not states.any()

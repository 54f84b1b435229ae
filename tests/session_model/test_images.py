"""Image files become unit vectors, by weights that are there; what is not there is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from contracts.errors import ArtifactError
from contracts.items import Item
from eventlog.files import read_items, write_items
from session_model.images import LENGTH, ImageEncoder

torch = pytest.importorskip("torch", reason="needs the train extra")
torchvision = pytest.importorskip("torchvision", reason="needs the image extra")
pillow = pytest.importorskip("PIL.Image", reason="needs the image extra")

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, in a file as torchvision's own."""
    path: Path = tmp_path_factory.mktemp("weights") / "efficientnet_b0.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = torchvision.models.efficientnet_b0(weights=None).train()
        for layer in network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 1.0
        with torch.no_grad():  # as if trained: what layers put out is neither zero nor boundless
            network(torch.randn(4, 3, 64, 64))
        torch.save(network.state_dict(), path)
    return path


def picture(path: Path, seed: int, mode: str = "RGB") -> Path:
    noise = np.random.default_rng(seed).integers(0, 256, size=(40, 30, 3), dtype=np.uint8)
    pillow.fromarray(noise).convert(mode).save(path)
    return path


def test_pictures_of_any_size_and_mode_become_unit_vectors(weights: Path, tmp_path: Path) -> None:
    paths = [picture(tmp_path / "a.png", 1), picture(tmp_path / "b.jpg", 2, "L"), picture(tmp_path / "c.png", 1)]
    vectors, readable = ImageEncoder.load(weights).vectors_of(paths)
    assert readable.tolist() == [True, True, True]
    assert vectors.shape == (3, LENGTH) == (3, 1280)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-4)
    assert float(np.abs(vectors[0] - vectors[1]).max()) > 0.01


@pytest.mark.slow
def test_the_vector_is_what_the_network_pools(weights: Path, tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", 1)
    network = torchvision.models.efficientnet_b0(weights=None)
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.classifier = torch.nn.Identity()
    prepare = torchvision.models.EfficientNet_B0_Weights.IMAGENET1K_V1.transforms()
    with torch.inference_mode(), pillow.open(path) as opened:
        expected = network.eval()(prepare(opened)[None])[0]
    found, _ = ImageEncoder.load(weights).vectors_of([path])
    np.testing.assert_allclose(found[0], (expected / expected.norm()).numpy(), atol=1e-4)


def test_a_broken_or_missing_picture_is_told_apart(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    vectors, readable = ImageEncoder.load(weights).vectors_of([tmp_path / "broken.png", tmp_path / "none.png"])
    assert readable.tolist() == [False, False]
    assert not vectors.any()


def test_missing_or_other_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"expected EfficientNetB0 weights in .*none\.pth, found no such file"):
        ImageEncoder.load(tmp_path / "none.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ArtifactError, match=r"other\.pth holds no EfficientNetB0 weights"):
        ImageEncoder.load(tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ArtifactError, match=r"text\.pth holds no EfficientNetB0 weights"):
        ImageEncoder.load(tmp_path / "text.pth")


def test_the_command_gives_items_with_a_picture_on_disk_their_vector(weights: Path, tmp_path: Path) -> None:
    from nextclick.cli import build_app

    picture(tmp_path / "a.png", 1)
    held = {
        "a": Item(title="A", image_url="a.png"),
        "b": Item(title="B", image_url="https://shop.example/b.png"),
        "c": Item(title="C", image_url="c.png"),
        "d": Item(title="D", image_url="a.png", image_vector=[1.0, 0.0]),
    }
    write_items(tmp_path / "items.jsonl", held.items())
    words = ["items", "images", tmp_path / "items.jsonl", "--weights", weights, "--out", tmp_path / "out.jsonl"]
    done = CliRunner().invoke(build_app(), list(map(str, words)), env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "1 of 4 items have an image vector now; 1 images could not be read." in done.output
    found = dict(read_items(tmp_path / "out.jsonl"))
    assert list(found) == ["a", "b", "c", "d"]
    assert len(found["a"].image_vector or ()) == 1280
    assert found["b"].image_vector is None
    assert found["d"].image_vector == [1.0, 0.0]

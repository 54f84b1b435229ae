"""Image files to vectors by EfficientNetB0 (Tan and Le, ICML 2019): preparation of a catalogue, never serving.

The weights are the user's: a state file as torchvision publishes it, `.pth`, read as tensors alone. Needs the `image`
extra. What it makes is an item's `image_vector`, which the item tower projects.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from contracts.errors import ArtifactError

LENGTH: Final = 1280
"""Numbers of an image vector."""
_AT_ONCE: Final = 16


class ImageEncoder:
    """Turns pictures into unit vectors of LENGTH numbers."""

    def __init__(self, network: Any, prepare: Any) -> None:
        self._network, self._prepare = network, prepare

    @classmethod
    def load(cls, weights: Path) -> Self:
        """Load EfficientNetB0 with the weights of a state file. Raises ArtifactError, saying what is missing."""
        missing = [name for name in ("torch", "torchvision", "PIL") if find_spec(name) is None]
        if missing:
            raise ArtifactError(f"image vectors need {', '.join(missing)}: install the `image` extra")
        import torch
        from torchvision.models import EfficientNet_B0_Weights, efficientnet_b0

        if not weights.is_file():
            raise ArtifactError(
                f"expected EfficientNetB0 weights in {weights}, found no such file: name the `.pth` that torchvision "
                "publishes, or one that you trained"
            )
        network = efficientnet_b0(weights=None)
        try:
            network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        except Exception as error:  # what a file of something else raises depends on its bytes
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ArtifactError(f"{weights} holds no EfficientNetB0 weights: {first}") from error
        return cls(network.eval(), EfficientNet_B0_Weights.IMAGENET1K_V1.transforms())

    def vectors_of(self, paths: Sequence[Path]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the unit vectors of image files (n, LENGTH), and which of them could be read (n,)."""
        import torch

        vectors = np.zeros((len(paths), LENGTH), np.float32)
        pictures = [self._read(path) for path in paths]
        readable = np.array([picture is not None for picture in pictures], np.bool_)
        rows = np.flatnonzero(readable)
        with torch.inference_mode():
            for at in range(0, len(rows), _AT_ONCE):
                some = rows[at : at + _AT_ONCE]
                stacked = torch.stack([pictures[row] for row in some])  # (b, 3, 224, 224)
                pooled = self._network.avgpool(self._network.features(stacked)).flatten(1)  # (b, LENGTH)
                vectors[some] = torch.nn.functional.normalize(pooled, dim=1).numpy()
        return vectors, readable

    def _read(self, path: Path) -> Any:
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(path) as picture:
                return self._prepare(picture.convert("RGB"))  # (3, 224, 224)
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
            return None

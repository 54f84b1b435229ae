"""Where a service finds its session model: `<artifacts>/session_model`; without artifacts, the general model."""

from __future__ import annotations

from pathlib import Path

from contracts.errors import ArtifactError
from session_model import artifact
from session_model.encoder import SessionEncoder
from session_model.general import general_encoder, general_tower
from session_model.item_tower import ItemTower


def model_folder(artifacts: str) -> Path | None:
    """Return the session model's folder, or None when no artifacts are set. Raises ArtifactError if it is missing."""
    if not artifacts:
        return None
    folder = Path(artifacts) / "session_model"
    if not (folder / "manifest.json").exists():
        raise ArtifactError(
            f"expected a trained session model in {folder}, found none: run `nextclick train models`, "
            "or leave `artifacts` empty to serve with the general model"
        )
    return folder


def load_encoder(artifacts: str) -> SessionEncoder:
    """Load the session encoder of an artifacts folder; the general one when `artifacts` is empty."""
    folder = model_folder(artifacts)
    return SessionEncoder.load(folder) if folder else general_encoder()


def load_image_length(artifacts: str) -> int:
    """Return how many numbers an image vector has for the tower of an artifacts folder, without loading the tower; 0
    where it knows none, or there is none. Raises ArtifactError."""
    folder = model_folder(artifacts)
    if folder is None:
        return 0
    manifest = artifact.read_manifest(folder, artifact.SESSION_MODEL)
    return len(artifact.read_arrays(folder, manifest, ("image_projection",))["image_projection"])


def load_tower(artifacts: str, text_model: str = "") -> ItemTower:
    """Load the item tower of an artifacts folder, with the text model that it may need; the general one when
    `artifacts` is empty.

    Raises ArtifactError, also when the text model that it was trained with is not there.
    """
    folder = model_folder(artifacts)
    return ItemTower.load(folder, text_model) if folder else general_tower()

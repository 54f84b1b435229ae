"""The trained models that this process serves with; each may be missing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from registry.folder import version_of
from rerank.ranker import Ranker
from session_model.encoder import SessionEncoder
from session_model.general import general_encoder
from session_model.serving import load_image_length

log = logging.getLogger("nextclick.gateway")


@dataclass(frozen=True, slots=True)
class Models:
    """`image_length` is how many numbers the item tower wants in an image vector; 0: it takes none. `name` is the
    version of a registry that these are; None where the artifacts are of none.
    """

    encoder: SessionEncoder | None
    ranker: Ranker | None
    image_length: int = 0
    name: str | None = None

    @property
    def version(self) -> str:
        """The encoder's version, 16 hex digits, or `none`."""
        return "none" if self.encoder is None else f"{self.encoder.version:016x}"


def load_models(artifacts: str) -> Models:
    """Load what the artifacts folder holds; the general model where none is named. Of a folder that is a link, all is
    read where it leads now: models of two versions never come together.

    Raises ArtifactError for what is there but cannot be loaded.
    """
    if not artifacts:
        return Models(general_encoder(), None)
    artifacts = str(Path(artifacts).resolve())
    encoder = _folder(artifacts, "session_model")
    ranker = _folder(artifacts, "reranker")
    found = Models(
        SessionEncoder.load(encoder) if encoder else None,
        Ranker.load(ranker) if ranker else None,
        load_image_length(artifacts) if encoder else 0,
        version_of(artifacts),
    )
    _say_what_does_not_belong_together(found, artifacts)
    return found


def _say_what_does_not_belong_together(models: Models, artifacts: str) -> None:
    if models.ranker is None:
        return
    trained_with = f"{models.ranker.model_version:016x}" if models.ranker.model_version else "none"
    if trained_with != models.version:
        serves = "it is left out (no_ranker)" if "none" in (trained_with, models.version) else "it serves all the same"
        log.warning(
            "%s: the re-ranker was trained with session model %s, got %s: %s, and ranks worse than its own would; "
            "`nextclick train models` trains two that belong together",
            artifacts,
            trained_with,
            models.version,
            serves,
        )


def _folder(artifacts: str, name: str) -> Path | None:
    folder = Path(artifacts) / name
    if folder.is_dir() and any(folder.iterdir()):
        return folder
    log.warning("no %s in %s: serving without it", name, artifacts)
    return None

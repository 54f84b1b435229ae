"""The re-ranker: gradient-boosted trees over the features, and its artifact folder. The only module that loads one.

Folder: `ranker.ubj` (XGBoost's own binary form) beside `manifest.json`, which names the feature schema, the model whose
vectors the features were computed with, and the file's checksum. A ranker with features of the context names their
parts there (`context`), with a `calendar.npz` where one of them reads the clock. `baseline` there is what the features
and scores were like in training (`rerank.drift`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from contracts.errors import ArtifactError
from contracts.outputs import FolderKind, made_aside, read_document
from rerank.calendar import Calendar, decoded
from rerank.drift import SCORE, Baseline
from rerank.features import FEATURES, NO_PARTS, SCHEMA_HASH, Parts
from rerank.features.parts import expected_parts
from rerank.trees import trees_of
from rerank.ubj import decode

if TYPE_CHECKING:
    import xgboost as xgb

FORMAT: Final = "nextclick-reranker"
FORMAT_VERSION: Final = 1
_TREES = "ranker.ubj"
_MANIFEST = "manifest.json"
_CALENDAR = "calendar.npz"
_VERSION = re.compile(r"[0-9a-f]{16}")


def _owns(folder: Path) -> frozenset[str] | None:
    document = read_document(folder / _MANIFEST)
    if document is None or document.get("format") != FORMAT:
        return None
    return frozenset((_MANIFEST, _TREES, _CALENDAR) if document.get("context") else (_MANIFEST, _TREES))


RANKER = FolderKind("a re-ranker", _owns)
"""What is replaced by a re-ranker: one of any release, and nothing that lies beside it."""


class Ranker:
    """Scores candidates. Holds the trees only; `rank_scores` may be called from several threads.

    `booster` may be what XGBoost wrote of one (`save_raw("ubj")`): XGBoost, which takes 0.3 s to import, is then loaded
    only for trees that have no layout of ours.

    `model_version` is the session model that it belongs to: the one that the training features came from, or one that
    was trained as that one (`put_beside`), 0 for none. `version` is the first 16
    hex digits of the trees' SHA-256. `parts` are the features that it reads beside FEATURES. `baseline` is what those
    and the scores were like in training, None where that is not known.
    """

    def __init__(
        self,
        booster: xgb.Booster | bytes,
        *,
        model_version: int,
        version: str = "",
        parts: Parts = NO_PARTS,
        baseline: Baseline | None = None,
    ) -> None:
        self._model = booster if isinstance(booster, bytes) else bytes(booster.save_raw("ubj"))
        self._trees = trees_of(self._model)
        self._booster = None if self._trees is not None else _opened(booster)
        self.model_version: Final = model_version
        self.version: Final = version
        self.parts: Final = parts
        self.baseline: Final = baseline

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features that it reads, (f,), in the order of their columns."""
        return (*FEATURES, *self.parts.features)

    def rank_scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a score for each row of features (c, f), (c,): higher is better, within one request only."""
        if not len(features):
            return np.zeros(0, np.float32)
        if self._trees is not None:
            return self._trees.scores(features.T)
        assert self._booster is not None
        scores: NDArray[np.float32] = self._booster.inplace_predict(
            features, predict_type="margin", validate_features=False
        )
        return scores

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load from the folder that holds `manifest.json`.

        Raises ArtifactError when a file is missing or damaged, or when the trees were trained on other features.
        """
        manifest = _read_manifest(folder)
        if manifest.get("schema_hash") != SCHEMA_HASH:
            raise ArtifactError(
                f"{folder}: expected a ranker of feature schema {SCHEMA_HASH}, got {manifest.get('schema_hash')}: "
                "train one with this release (`nextclick train reranker`, or `nextclick train shop` for the demo's)"
            )
        trees = _read(folder / _TREES)
        digest = hashlib.sha256(trees).hexdigest()
        if digest != manifest.get("sha256"):
            raise ArtifactError(
                f"{folder / _TREES}: expected SHA-256 {manifest.get('sha256')}, got {digest}: copy the folder again"
            )
        version, parts = _model_version(folder, manifest), _parts(folder, manifest)
        try:
            loaded = cls(
                trees, model_version=version, version=digest[:16], parts=parts, baseline=_baseline(manifest, parts)
            )
        except ValueError as error:  # of XGBoost too
            raise ArtifactError(f"{folder / _TREES}: expected trees that XGBoost wrote ({error!s:.200})") from error
        if loaded._trees is not None and loaded._trees.features != len(loaded.features):
            got = loaded._trees.features
            raise ArtifactError(
                f"{folder / _TREES}: expected trees over {len(loaded.features)} features, got {got}: train it again"
            )
        return loaded

    def save(self, folder: Path, *, notes: Mapping[str, Any] | None = None) -> None:
        """Write the folder; `notes` (how it was trained, what it measured) go into the manifest beside the facts.

        Raises OutputRefused where `folder` holds anything else than a re-ranker.
        """
        trees, parts = self._model, self.parts
        calendar = parts.calendar.encoded() if parts.calendar is not None and parts.cycles else None
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "schema_hash": SCHEMA_HASH,
            "features": FEATURES,
            "model_version": f"{self.model_version:016x}",
            "sha256": hashlib.sha256(trees).hexdigest(),
            "notes": dict(notes or {}),
        }
        if self.baseline is not None:
            manifest["baseline"] = self.baseline.as_json()
        if parts.names:
            digest = None if calendar is None else hashlib.sha256(calendar).hexdigest()
            manifest["context"] = {"parts": parts.names, "schema_hash": parts.schema, "calendar_sha256": digest}
        with made_aside(folder, RANKER) as aside:
            (aside / _TREES).write_bytes(trees)
            if calendar is not None:
                (aside / _CALENDAR).write_bytes(calendar)
            (aside / _MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")


def put_beside(folder: Path, session_model: int) -> None:
    """Say in a re-ranker's manifest that it belongs to another session model: one that was trained as the one that its
    features came from, on more of the same recording. Raises ArtifactError where there is no manifest to read.
    """
    manifest = _read_manifest(folder) | {"model_version": f"{session_model:016x}"}
    (folder / _MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")


def _opened(booster: xgb.Booster | bytes) -> xgb.Booster:
    if isinstance(booster, bytes):
        document = decode(booster)  # XGBoost does not survive what is none of its models
        if not isinstance(document, dict) or "learner" not in document:
            raise ValueError("got no model")
        import xgboost as xgb

        booster = xgb.Booster(model_file=bytearray(booster))
    booster.set_param({"nthread": 1})
    return booster


def _parts(folder: Path, manifest: Mapping[str, Any]) -> Parts:
    """Return the parts that a manifest's `context` names; none where it has none, as older ones do."""
    context = manifest.get("context")
    if context is None:
        return NO_PARTS
    path = folder / _MANIFEST
    try:
        names = tuple(expected_parts(context["parts"]))
        cycles = Parts.cycles_among(names)
        parts = Parts(names, _calendar(folder, context.get("calendar_sha256"), cycles) if cycles else None)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(f"{path}: expected a context with parts ({error!s:.200}): copy the folder again") from error
    if context.get("schema_hash") != parts.schema:
        raise ArtifactError(
            f"{folder}: expected context features of schema {parts.schema}, got {context.get('schema_hash')!r:.60}: "
            "train a re-ranker with this release (`nextclick train reranker`)"
        )
    return parts


def _baseline(manifest: Mapping[str, Any], parts: Parts) -> Baseline | None:
    """Return the baseline of a manifest; None where it has none, or one that does not fit: serving needs none."""
    try:
        baseline = Baseline.from_json(manifest["baseline"])
    except (KeyError, ValueError):
        return None
    return baseline if baseline.names == (*FEATURES, *parts.features, SCORE) else None


def _calendar(folder: Path, digest: object, cycles: tuple[str, ...]) -> Calendar:
    content = _read(folder / _CALENDAR)
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ArtifactError(f"{folder / _CALENDAR}: expected SHA-256 {digest}, got {found}: copy the folder again")
    return decoded(content, cycles, folder / _CALENDAR)


def _model_version(folder: Path, manifest: Mapping[str, Any]) -> int:
    given = manifest.get("model_version")
    if not isinstance(given, str) or _VERSION.fullmatch(given) is None:
        raise ArtifactError(
            f"{folder / _MANIFEST}: expected a model_version of 16 hex digits, got {given!r:.60}: copy the folder again"
        )
    return int(given, 16)


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = orjson.loads(_read(folder / _MANIFEST))
    except orjson.JSONDecodeError as error:
        raise ArtifactError(f"{folder / _MANIFEST}: expected JSON, got {error}: copy the folder again") from error
    if not isinstance(manifest, dict):
        raise ArtifactError(
            f"{folder / _MANIFEST}: expected {FORMAT} version {FORMAT_VERSION}, got a {type(manifest).__name__}: "
            "copy the folder again"
        )
    found = (manifest.get("format"), manifest.get("format_version"))
    if found != (FORMAT, FORMAT_VERSION):
        raise ArtifactError(f"{folder}: expected {FORMAT} version {FORMAT_VERSION}, got {found}: train it again")
    return manifest


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"cannot read {path} ({error.strerror}): train the re-ranker or name its folder") from error

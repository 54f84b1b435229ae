"""Training the session model: recorded events and items in, an artifact folder out. The only door to torch.

Both towers are trained together to tell a session's next click from other items: softmax over unit vectors with a
temperature, on candidates that are shared by a batch, corrected for how they were sampled. The latest sessions are
kept aside and decide which train epoch was best; a last pass from there takes them in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from contracts.errors import ArtifactError
from contracts.events import Event
from contracts.ids import item_key
from contracts.items import Item
from contracts.outputs import expect_replaceable
from evaluation.metrics import PLACES
from eventlog.files import read_events
from eventlog.item_tables import ItemTable, of_table
from session_model import artifact, content, histories
from session_model.fitting import Check, fit
from session_model.histories import Histories
from session_model.model import ItemContent, TwoTowers
from session_model.text import TEXT_IDENTITY, TextEncoder, folder_of, open_text, text_rows
from session_model.training_settings import Progress, Step, TrainingSettings

__all__ = ["Progress", "Step", "Trained", "TrainingSettings", "read_content", "train", "train_on"]


@dataclass(frozen=True, slots=True)
class Trained:
    """What training made. `mrr` and `hit_rate` (at PLACES) are those of the latest sessions before the last pass took
    them in, all items ranked but the one clicked last.
    """

    folder: Path
    version: str
    items: int
    sessions: int
    train_epoch: int
    mrr: float
    hit_rate: float


def train(
    events: Path | Sequence[Path] | Iterable[Event],
    items: Path | ItemTable | Mapping[str, Item] | None,
    settings: TrainingSettings,
    out: Path,
    *,
    seed: int,
    progress: Progress = lambda step: None,
) -> Trained:
    """Train on recorded events (`.jsonl.zst` files, or events) and an items file, and write the artifact to `out`.

    `items` may also be a mapping from item id, or None: ids alone. The same input, settings and seed give the same
    artifact. Raises ArtifactError when there is nothing to learn from, ImportFormatError for a broken file,
    OutputRefused where `out` holds anything else than a session model.
    """
    past = histories.from_events(
        _events(events),
        idle_gap_ms=settings.session.idle_gap_ms,
        max_clicks=settings.session.max_events,
        progress=lambda count: progress(Step("read", count, 0)),
    )
    known = dict(of_table(items).read()) if isinstance(items, Path | ItemTable) else dict(items or {})
    return train_on(past, known, settings, out, seed=seed, progress=progress)


def train_on(
    past: Histories,
    items: Mapping[str, Item],
    settings: TrainingSettings,
    out: Path,
    *,
    seed: int,
    progress: Progress = lambda step: None,
) -> Trained:
    """Train on sessions already built. As `train` otherwise."""
    expect_replaceable(out, artifact.folder_kind(artifact.SESSION_MODEL))
    learn, check = _split(past, settings)
    clicked = np.bincount(past.items, minlength=len(past.item_ids)) > 0
    encoder = open_text(folder_of(settings.text)) if settings.text else None
    tower_content = read_content(past.item_ids, items, clicked, settings, encoder)
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = TwoTowers(
                tower_content,
                settings.dim,
                id_dropout=settings.id_dropout,
                input_dropout=settings.input_dropout,
                memory=settings.memory,
                memory_dropout=settings.memory_dropout,
                neighbour_dropout=settings.neighbour_dropout,
            )
            best = fit(model, learn, check, past, settings, np.random.default_rng(seed), progress)
    finally:
        torch.set_num_threads(threads)
    keys = np.array([item_key(item_id) for item_id in past.item_ids], np.uint64)
    manifest = artifact.save(
        out,
        kind=artifact.SESSION_MODEL,
        dim=settings.dim,
        arrays={**model.export(keys, clicked), **({TEXT_IDENTITY: encoder.mark} if encoder is not None else {})},
        created_from=_provenance(settings, seed, past, best),
    )
    return Trained(
        folder=out,
        version=manifest.version,
        items=int(clicked.sum()),
        sessions=len(past),
        train_epoch=best.train_epoch,
        mrr=best.mrr,
        hit_rate=best.hit_rate,
    )


def read_content(
    item_ids: Sequence[str],
    items: Mapping[str, Item],
    clicked: NDArray[np.bool_],
    settings: TrainingSettings,
    text: TextEncoder | None = None,
) -> ItemContent:
    """Read the content of the items that were clicked; the vocabulary is made of theirs alone."""
    blank = Item.model_construct(title="")
    known = [items.get(item_id, blank) if was else blank for item_id, was in zip(item_ids, clicked, strict=True)]
    tokens = content.tokens_of(known)
    keys, place, counts = np.unique(tokens.keys, return_inverse=True, return_counts=True)
    frequent = np.flatnonzero(counts >= settings.min_token_items)
    kept = np.sort(frequent[np.argsort(-counts[frequent], kind="stable")][: settings.max_tokens])
    row_of = np.full(len(keys), -1, np.int64)
    row_of[kept] = np.arange(len(kept))
    row = row_of[place]
    used = row >= 0
    owner, fields = tokens.items[used], tokens.fields[used]
    lengths = np.bincount(owner, minlength=len(known))
    image_length = max((len(item.image_vector) for item in known if item.image_vector), default=0)
    images = np.zeros((len(known), image_length), np.float32)
    if image_length:
        with_image, vectors = content.image_rows(known, image_length)
        images[with_image] = vectors
    texts = np.zeros((len(known), text.dim if text is not None else 0), np.float32)
    if text is not None:
        with_text, vectors = text_rows(text, item_ids, known)
        texts[with_text] = vectors
    return ItemContent(
        token_keys=keys[kept],
        tokens=row[used],
        fields=fields,
        weights=content.bag_weights(owner, fields),
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        images=images,
        texts=texts,
        any_content=(lengths > 0) | np.any(images != 0.0, axis=1) | np.any(texts != 0.0, axis=1),
    )


def _split(past: Histories, settings: TrainingSettings) -> tuple[Histories, Histories]:
    """Split off the latest sessions that have something to predict."""
    usable = np.add.reduceat(past.targets(), past.starts[:-1]) > 0 if len(past) else np.zeros(0, np.bool_)
    if int(usable.sum()) < 2:
        raise ArtifactError(
            f"expected at least 2 sessions of 2 clicks or more to train on, got {int(usable.sum())} "
            f"of {len(past)} sessions: record more traffic, or check the idle gap"
        )
    first = max(int(len(past) * (1.0 - settings.check_share)), 1)
    first = min(first, int(np.flatnonzero(usable)[-1]))
    learn = past.pick(np.arange(first))
    if not learn.targets().any():
        raise ArtifactError("expected sessions of 2 clicks or more before the latest ones: record more traffic")
    late = first + np.flatnonzero(usable[first:])
    return learn, past.pick(late[np.linspace(0, len(late) - 1, min(len(late), settings.check_sessions)).astype(int)])


def _events(events: Path | Sequence[Path] | Iterable[Event]) -> Iterable[Event]:
    if isinstance(events, Path):
        yield from read_events(events)
        return
    for one in events:
        if isinstance(one, Path):
            yield from read_events(one)
        else:
            yield one


def _provenance(settings: TrainingSettings, seed: int, past: Histories, best: Check) -> dict[str, Any]:
    return {
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "sessions": len(past),
        "clicks": len(past.items),
        "last_ms": int(past.ended_ms[-1]),
        "train_epoch": best.train_epoch,
        f"mrr@{PLACES}": round(best.mrr, 4),
        f"hit_rate@{PLACES}": round(best.hit_rate, 4),
    }

"""`nextclick items images`: image files that an items file names become image vectors, before the items are loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from contracts.outputs import expect_outputs
from nextclick.show.training_bar import TrainingBar

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from contracts.items import Item
    from session_model.images import ImageEncoder

console = Console()
_AT_ONCE = 64
_DIGITS = 5


@dataclass(slots=True)
class ImageCounts:
    """What was met so far. Mutable: counts grow."""

    items: int = 0
    embedded: int = 0
    unreadable: int = 0


def images(
    items: Annotated[Path, typer.Argument(exists=True, help="Items file (.jsonl or .jsonl.zst).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Items file to write, image vectors added.")],
    weights: Annotated[Path, typer.Option(help="EfficientNetB0 weights as torchvision publishes them (.pth).")],
    folder: Annotated[
        Path | None, typer.Option(help="What paths in `image_url` start from; none: the items file's folder.")
    ] = None,
) -> None:
    """Give items whose `image_url` is a file's path an image vector (needs the `image` extra)."""
    from eventlog.files import ITEMS, read_items, write_items
    from session_model.images import ImageEncoder

    expect_outputs((out, ITEMS), inputs=[items, weights])
    encoder = ImageEncoder.load(weights)
    counts = ImageCounts()
    with TrainingBar(console, "images") as bar:
        read = with_vectors(
            read_items(items), encoder, folder or items.parent, counts, lambda: bar.update("images", counts.items)
        )
        write_items(out, read)
    console.print(
        f"{counts.embedded:,} of {counts.items:,} items have an image vector now; {counts.unreadable:,} images could "
        f"not be read. Written to {out}",
        soft_wrap=True,
    )


def with_vectors(
    items: Iterator[tuple[str, Item]],
    encoder: ImageEncoder,
    folder: Path,
    counts: ImageCounts,
    tell: Callable[[], None],
) -> Iterator[tuple[str, Item]]:
    """Yield the items, those with a picture of their own on disk with its vector. A given vector is kept."""
    while some := list(islice(items, _AT_ONCE)):
        waiting = [at for at, (_, item) in enumerate(some) if item.image_vector is None and _is_path(item.image_url)]
        vectors, readable = encoder.vectors_of([folder / str(some[at][1].image_url) for at in waiting])
        for at, vector, is_readable in zip(waiting, vectors, readable.tolist(), strict=True):
            if is_readable:
                rounded = [round(number, _DIGITS) for number in vector.tolist()]
                some[at] = (some[at][0], some[at][1].model_copy(update={"image_vector": rounded}))
        counts.items, counts.embedded = counts.items + len(some), counts.embedded + int(readable.sum())
        counts.unreadable += len(waiting) - int(readable.sum())
        tell()
        yield from some


def _is_path(image: str | None) -> bool:
    return image is not None and "://" not in image and not image.startswith("data:")

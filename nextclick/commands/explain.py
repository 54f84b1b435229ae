"""`nextclick explain`: a past answer made again, what made it, and why an item was not in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from nextclick.commands.models_options import FolderOption, registry_at
from nextclick.commands.moments import shown

if TYPE_CHECKING:
    from gateway.explained import Explained
    from registry.version import DataRange
    from rerank.ranker import Ranker
    from rerank.why_not import WhyNot

console = Console(highlight=False, soft_wrap=True)


def explain(
    request_id: Annotated[str, typer.Argument(help="The `request_id` of an answer.")],
    kept: Annotated[
        Path | None, typer.Option("--from", help="The folder of kept answers; none: that of NEXTCLICK_ANSWERS__TO.")
    ] = None,
    item: Annotated[list[str] | None, typer.Option(help="Say why this item was not there. Repeatable.")] = None,
    folder: FolderOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print the answer as it was given, and nothing else.")] = False,
) -> None:
    """Make a past answer again, byte for byte, and say what made it. Exit status 1 when it is not the same."""
    from contracts.errors import NextclickError
    from gateway.explained import explained
    from gateway.settings import GatewaySettings

    settings = GatewaySettings()
    where = kept or (Path(settings.answers.to) if settings.answers.to else None)
    if where is None:
        raise NextclickError("expected a folder of kept answers: set NEXTCLICK_ANSWERS__TO, or name it by --from")
    if not where.is_dir():
        raise NextclickError(f"expected a folder of kept answers, found none at {where}: name it by --from")
    found = explained(where, request_id, lambda version: _ranker(version, settings.artifacts, folder))
    if json:
        typer.echo(found.body.decode())
        return
    _print_lineage(found, folder)
    _print_page(found)
    for item_id in item or ():
        _print_why_not(found.why_not(item_id))
    if not found.is_same:
        console.print(f"Made again, it is not the same: {', '.join(found.differs()) or 'the order of its fields'}")
        raise typer.Exit(1)
    how = ", its scores by the re-ranker read back (it is in no folder here)" if found.reads_scores_back else ""
    console.print(f"Made again: the same, {len(found.body):,} bytes{how}.")


def _ranker(version: str, artifacts: str, folder: Path | None) -> Ranker | None:
    """Return the re-ranker of a version: of the artifacts, of those that scenarios name, or of the registry."""
    from contracts.errors import ArtifactError
    from rerank.ranker import Ranker

    registry = registry_at(folder)
    places = [Path(artifacts)] if artifacts else []
    for name in registry.names():
        try:
            if registry.read(name).reranker == version:
                places.append(registry.path_of(name))
        except ArtifactError:
            continue
    for place in places:
        for one in (place / "reranker", *sorted((place / "rerankers").glob("*"))):
            try:
                loaded = Ranker.load(one)
            except ArtifactError:
                continue
            if loaded.version == version:
                return loaded
    return None


def _print_lineage(found: Explained, folder: Path | None) -> None:
    answer, models = found.answer, found.about["models"]
    table = Table(show_header=False)
    scenario = answer["scenario"]
    rows: list[tuple[str, Any]] = [
        ("request", found.request_id),
        ("asked at", f"{shown(found.pages[0].query.now_ms)} UTC"),
        ("scenario", f"{scenario['name']}, version {scenario['version']}"),
        ("experiment", answer["experiment_id"] and f"{answer['experiment_id']}, variant {answer['variant']}"),
        ("code", found.about["code_version"]),
        ("session model", models["session_model"]),
        ("re-ranker", models["reranker"]),
        ("version of the models", models["version"] or "of no registry"),
        *_made_of(models["version"], folder),
    ]
    for name, value in rows:
        if value is not None:
            table.add_row(name, str(value))
    console.print(table)


def _made_of(version: str | None, folder: Path | None) -> list[tuple[str, Any]]:
    """Return what a version of the registry was made of; nothing where it is not here."""
    from contracts.errors import ArtifactError

    if version is None:
        return []
    try:
        one = registry_at(folder).read(version)
    except ArtifactError as error:
        return [("made of", f"not known here: {error}; --folder names another registry")]
    data = one.data
    return [
        ("  parent", one.parent),
        ("  code that trained", one.code_version or None),
        ("  learnt from", ", ".join(data.sources) or None),
        ("  events", data.events),
        ("  offsets", data.offsets or None),
        ("  from, to", _span(data)),
        ("  settings", one.settings or None),
        ("  figures", one.figures or None),
    ]


def _span(data: DataRange) -> str | None:
    """Return from when to when a version learnt, as it is shown; None where that is not known."""
    if data.first_ms is None or data.last_ms is None:
        return None
    return f"{shown(data.first_ms)} to {shown(data.last_ms)} UTC"


def _print_page(found: Explained) -> None:
    table = Table("place", "item", "score", "reason")
    for one in found.answer["recommendations"]:
        table.add_row(str(one["position"]), one["item_id"], f"{one['score']:.4g}", one["reason"])
    console.print(table)


def _print_why_not(told: WhyNot) -> None:
    console.print(f"{told.item_id}: {told.says}", markup=False)
    for change in told.changes:
        console.print(f"  it would have been there with: {'; '.join(step.says for step in change)}", markup=False)

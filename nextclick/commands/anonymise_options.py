"""The options that replace ids by keyed hashes, for imports and recordings."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from replay.engine.anonymise import Anonymiser

Anonymise = Annotated[bool, typer.Option("--anonymise", help="Replace ids by keyed hashes.")]
Key = Annotated[
    str,
    typer.Option(
        envvar="NEXTCLICK_ANONYMISE_KEY", help="Key of the hashes, 16 characters or more; left out: a new one."
    ),
]
KeepItems = Annotated[bool, typer.Option("--keep-items", help="With --anonymise: leave item ids as they are.")]


def anonymiser_of(anonymise: bool, key: str, keep_items: bool) -> Anonymiser | None:
    """Return what anonymises, None when it was not asked for. Without a key the hashes are this run's own."""
    from replay.engine.anonymise import Anonymiser

    if not anonymise:
        return None
    return Anonymiser(key.encode() if key else secrets.token_bytes(32), keep_items=keep_items)

"""`nextclick keys create | list | rotate | revoke`: who may call the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from contracts.api_keys import Scope, key_named, new_key, revoked, rotated, with_key
from contracts.clock import wall_clock_ms
from nextclick.commands.key_options import Name, Redis, keys_of, note, redis_of
from nextclick.commands.moments import shown, span_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contracts.api_keys import ApiKey, Made
    from state.key_store import Change

console, aside = Console(), Console(stderr=True)

Scopes = Annotated[list[Scope], typer.Option("--scope", help="What it opens; may be repeated.")]
Public = Annotated[bool, typer.Option("--public", help="A key that pages may show: events and recommend only.")]
Origins = Annotated[
    list[str] | None, typer.Option("--origin", help="Of a public key: whose pages may use it; may be repeated.")
]
KeyName = Annotated[
    str, typer.Option("--name", help="What it is for, to tell it from the others; left out: its scopes.")
]
Overlap = Annotated[str, typer.Option(help="How long the secret of before still works: 30m, 24h, 7d; 0s ends it now.")]


def create(
    scope: Scopes, name: KeyName = "", public: Public = False, origin: Origins = None, redis: Redis = None
) -> None:
    """Make an API key and print it: it is shown this once. Every gateway takes it within a second."""
    settings, now_ms = redis_of(redis), wall_clock_ms()
    made = new_key(name or " ".join(scope), scope, origin or (), public=public, now_ms=now_ms)
    with keys_of(settings) as store:
        store.change(lambda keys: ((made.key,), with_key(keys, made.key)))
    note(settings, f"keys create {made.key.id} {made.key.name!r}: {_opens(made.key)}")
    _hand_over(made)


def list_keys(redis: Redis = None) -> None:
    """List the API keys. What is kept of one does not open anything."""
    with keys_of(redis_of(redis)) as store:
        keys, now_ms = store.listed(), wall_clock_ms()
    if not keys:
        console.print("There are no API keys: `nextclick keys create` makes one.")
        return
    table = Table("id", "name", "kind", "scopes", "origins", "made (UTC)", "state")
    table.columns[0].no_wrap = True
    for key in keys:
        kind, scopes = "public" if key.public else "secret", ", ".join(key.scopes)
        cells = (key.id, key.name, kind, scopes, ", ".join(key.origins), shown(key.created_ms), _state(key, now_ms))
        table.add_row(*map(Text, cells))
    console.print(table)


def rotate(key: Name, overlap: Overlap = "24h", redis: Redis = None) -> None:
    """Give a key another secret and print it. The one of before works until the overlap is over."""
    settings, now_ms, overlap_ms = redis_of(redis), wall_clock_ms(), span_ms("--overlap", overlap)
    made: list[Made] = []

    def change(keys: Sequence[ApiKey]) -> Change:
        made[:] = [rotated(key_named(keys, key), overlap_ms, now_ms=now_ms)]
        return (made[0].key,), ()

    with keys_of(settings) as store:
        store.change(change)
    note(settings, f"keys rotate {made[0].key.id} {made[0].key.name!r}, overlap {overlap}")
    _hand_over(made[0])
    aside.print(f"The one of before works until {shown(now_ms + overlap_ms)} UTC.", highlight=False)


def revoke(key: Name, redis: Redis = None) -> None:
    """End a key for good. Every gateway refuses it within a second."""
    settings, now_ms = redis_of(redis), wall_clock_ms()
    ended: list[ApiKey] = []

    def change(keys: Sequence[ApiKey]) -> Change:
        ended[:] = [revoked(key_named(keys, key), now_ms=now_ms)]
        return tuple(ended), ()

    with keys_of(settings) as store:
        store.change(change)
    note(settings, f"keys revoke {ended[0].id} {ended[0].name!r}")
    console.print(f"{ended[0].id} ({ended[0].name}) is revoked.", markup=False, highlight=False)


def _hand_over(made: Made) -> None:
    """Print the key alone on stdout, for a file or a variable; the rest is for people."""
    console.print(made.text, markup=False, highlight=False, soft_wrap=True)
    aside.print(f"{made.key.id} ({made.key.name}): {_opens(made.key)}. Keep it: it is not shown again.", markup=False)


def _opens(key: ApiKey) -> str:
    scopes = ", ".join(key.scopes)
    return f"public, {scopes}, for {', '.join(key.origins)}" if key.public else f"secret, {scopes}"


def _state(key: ApiKey, now_ms: int) -> str:
    if key.revoked_ms is not None:
        return f"revoked {shown(key.revoked_ms)}"
    until_ms = key.overlaps_until(now_ms)
    return "works" if until_ms is None else f"works, a secret of before until {shown(until_ms)}"

"""`nextclick settings`: the reference of settings."""

from __future__ import annotations

from rich.console import Console

console = Console()


def settings() -> None:
    """Print every setting, its default and what it does, as Markdown."""
    from nextclick.show.settings_table import settings_table

    console.print(settings_table(), markup=False, soft_wrap=True, highlight=False)

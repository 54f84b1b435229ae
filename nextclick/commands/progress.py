"""`nextclick progress`: how far the session path has come."""

from __future__ import annotations

from rich.console import Console

console = Console()


def progress() -> None:
    """Show how far the session path has come, partition by partition, counted from Redis."""
    from nextclick.stack.progress import progress_table
    from nextclick.stack.settings import StackSettings

    console.print(progress_table(StackSettings()))

"""`nextclick replay show`: what an event-log file holds."""

from __future__ import annotations

from nextclick.commands.replay_options import Recording
from nextclick.show.replay import console


def show(recording: Recording) -> None:
    """Show what an event-log file holds."""
    from eventlog.files import read_header
    from nextclick.show.replay_tables import header_table

    console.print(header_table(recording, read_header(recording)))

"""Recordings without the sessions that no human has: what training learns from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from contracts.errors import ImportFormatError
from contracts.events import Rejection
from contracts.plain_events import PlainEvent, decode_event
from contracts.settings import ServiceSettings
from eventlog.files import read_header, read_raw, write_events
from quality.bots import BotRules, bots_in

_ANY_TIME_MS = 253_402_300_799_999


class _Named(msgspec.Struct):
    session_id: str = ""


_session_of = msgspec.json.Decoder(_Named).decode


@contextmanager
def people_in(
    recordings: Sequence[Path], settings: ServiceSettings, said: Callable[[str], None]
) -> Iterator[list[Path]]:
    """Give recordings (.jsonl, .jsonl.zst; oldest first) without the sessions that no human has: copies of the same
    names, while the context lasts. Where there are none, the recordings themselves. `said` is told what is left out.
    """
    rules = BotRules.of(settings.quality, settings.session.idle_gap_ms)
    bots = bots_in(chain.from_iterable(map(_events, recordings)), rules)
    if not bots:
        yield list(recordings)
        return
    with TemporaryDirectory(prefix="nextclick-people-") as folder:
        copies, left_out = [], 0
        for number, recording in enumerate(recordings):
            copy = Path(folder) / str(number) / recording.name
            copy.parent.mkdir()
            kept = (raw for raw in read_raw(recording) if _session(raw) not in bots)
            header = write_events(copy, kept, anonymised=_is_anonymised(recording))
            left_out += sum(1 for _ in read_raw(recording)) - header.events
            copies.append(copy)
        said(
            f"left out of training: {left_out:,} events of {len(bots):,} sessions that no human has "
            "(quality.bot_rate, quality.bot_breadth, quality.bot_agents)"
        )
        yield copies


def _events(recording: Path) -> Iterator[PlainEvent]:
    """Yield what can be read: whoever learns from it says what cannot."""
    for raw in read_raw(recording):
        event = decode_event(raw, now_ms=_ANY_TIME_MS)
        if not isinstance(event, Rejection):
            yield event


def _session(raw: bytes) -> str:
    try:
        return _session_of(raw).session_id
    except msgspec.DecodeError:  # writing says what is wrong with it
        return ""


def _is_anonymised(recording: Path) -> bool:
    try:
        return read_header(recording).anonymised
    except ImportFormatError:  # .jsonl may lack the header
        return False

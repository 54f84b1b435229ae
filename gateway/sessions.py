"""Sessions as a request knows them: what the stream stored, and the clicks that came with the request.

The same fold and the same embedding as the stream's, so a click means the same wherever it is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from contracts.plain_events import EventFields
from contracts.sessions import Session
from session_model.embedding import Encoder, ItemVectors, embed
from session_model.window import Arrival, WindowRules, click_of, fold


@dataclass(frozen=True, slots=True)
class Known:
    """A stored session (None: there is none, or Redis did not say) and the clicks that came with the request."""

    session: Session | None
    clicks: Sequence[EventFields] = ()


def current_sessions(
    known: Sequence[Known], encoder: Encoder | None, vectors: ItemVectors, rules: WindowRules
) -> list[Session | None]:
    """Return each request's session with its own clicks counted and embedded. Nothing is stored."""
    current = [one.session for one in known]
    asking = [at for at, one in enumerate(known) if one.clicks]
    if not asking:
        return current
    foldeds = [fold(current[at], _arrivals(known[at]), rules) for at in asking]
    embedded = embed(encoder, vectors, [current[at] for at in asking], foldeds)
    by_window = {id(session.window): session for session in embedded}  # embedding keeps the very window it was given
    for at, folded in zip(asking, foldeds, strict=True):
        if folded.session is not None:
            current[at] = by_window.get(id(folded.session.window), folded.session)
    return current


def without_clicks(session: Session | None, forgotten: Sequence[int]) -> Session | None:
    """Return a session as if it did not have the clicks of these EventKeys; None where it has no other.

    It is to be encoded again from its window, so clicks that the window has let go no longer count in it either.
    """
    if session is None or not forgotten:
        return session
    left = session.window[~np.isin(session.window["event"], np.array(forgotten, np.uint64))]
    gone = len(session.window) - len(left)
    if not gone:
        return session
    if not len(left):
        return None
    return replace(
        session,
        window=left,
        started_ms=session.started_ms if session.events > len(session.window) else int(left["ts_ms"][0]),
        last_ms=int(left["ts_ms"][-1]),
        events=session.events - gone,
        model_version=0,
    )


def _arrivals(known: Known) -> list[Arrival]:
    """Put the request's clicks in order of time. Nothing else is known of the time, so they are their own watermark."""
    arrivals = []
    watermark_ms = known.session.last_ms if known.session is not None else 0
    for event in sorted(known.clicks, key=lambda click: click.ts):
        arrivals.append(Arrival(event.session_id, event.user_id, click_of(event), -1, watermark_ms))
        watermark_ms = max(watermark_ms, event.ts)
    return arrivals

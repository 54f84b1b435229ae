"""What clicks make of a user's profile. Pure, and the same whatever order the sessions of several devices come in.

Clicks are a set by event key, sessions a set by name of which the newest state counts: so what comes again changes
nothing. As in a session's window (`session_model.window`), a click that sorts before the oldest of a full window is
late, and so is a session before the oldest of those that are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import kernel, reads, writes
from contracts.events import EventCode
from contracts.profiles import MOST_SESSIONS, PAST_SESSION, Profile
from contracts.sessions import Clicks
from session_model.encoder import SessionEncoder, VectorLookup

Float32s = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ProfileRules:
    """`max_events` clicks are kept; vectors count half as much after `half_life_ms`."""

    max_events: int = 100
    half_life_ms: float = 14 * 86_400_000.0


@dataclass(frozen=True, slots=True)
class Visit:
    """What is new of one session of a user: clicks (n,) in any order, and where the session stands after them.

    `vector` (d,) is the session's unit query vector, None without a model. `device` and `region` are of `seen_ms`.
    """

    session: int
    clicks: Clicks
    last_ms: int
    vector: Float32s | None = None
    device: str = ""
    region: str = ""
    seen_ms: int = 0


def fold_visits(
    profile: Profile | None, visits: Sequence[Visit], rules: ProfileRules, *, model_version: int = 0
) -> Profile:
    """Return the profile with visits counted. Vectors of another model are let go; a window is not."""
    before = profile or Profile(model_version=model_version)
    if before.model_version != model_version:
        none = Profile()
        before = replace(before, sessions=none.sessions, vectors=none.vectors, older=none.older, older_ms=0)
        before = replace(before, model_version=model_version)
    clicks, new = _with_clicks(before.clicks, [visit.clicks for visit in visits], rules.max_events)
    newest = max(visits, key=lambda visit: visit.seen_ms, default=None)
    if newest is not None and newest.seen_ms > before.seen_ms:
        device, region = newest.device or before.device, newest.region or before.region
        before = replace(before, device=device, region=region, seen_ms=newest.seen_ms)
    after = replace(
        before,
        clicks=clicks,
        events=before.events + len(new),
        purchases=before.purchases + int((new["code"] == EventCode.PURCHASE).sum()),
    )
    return _with_sessions(after, visits, rules.half_life_ms)


def vector_at(profile: Profile, now_ms: int, half_life_ms: float) -> Float32s | None:
    """Return what the user's sessions say of their taste, a unit vector (d,); None where nothing does."""
    if not len(profile.vectors) and not len(profile.older):
        return None
    found = np.empty(max(profile.vectors.shape[1], len(profile.older)), np.float32)
    there = _sum(profile.sessions, profile.vectors, profile.older, profile.older_ms, now_ms, half_life_ms, found)
    return found if there else None


@kernel(reads(PAST_SESSION), reads("f4", 2), reads("f4"), "i8", "i8", "f8", writes("f4"))
def _sum(
    sessions: NDArray[Any],
    vectors: Float32s,
    older: Float32s,
    older_ms: int,
    now_ms: int,
    half_life_ms: float,
    found: Float32s,
) -> int:
    """Write the unit vector (d,) of the sum of vectors (s, d), each decayed by its age, and of the older ones' (d,).

    Returns 0 where there is no such vector.
    """
    found[:] = 0
    for at in range(len(sessions)):
        share = 2.0 ** (-max(0.0, float(now_ms - sessions[at]["last_ms"])) / half_life_ms)
        for k in range(len(found)):
            found[k] += share * vectors[at, k]
    if len(older):
        share = 2.0 ** (-max(0.0, float(now_ms - older_ms)) / half_life_ms)
        for k in range(len(found)):
            found[k] += share * older[k]
    square = 0.0
    for k in range(len(found)):
        square += float(found[k]) * float(found[k])
    if square < 1e-24:
        return 0
    for k in range(len(found)):
        found[k] /= np.sqrt(square)
    return 1


def taste(
    profile: Profile, encoder: SessionEncoder, vectors: VectorLookup, now_ms: int, half_life_ms: float
) -> Float32s | None:
    """Return a user's unit vector (d,) in the encoder's space; None where nothing is known of their taste.

    A profile of another model, or without a session's vector yet, is encoded anew from its window.
    """
    if profile.model_version == encoder.version and (found := vector_at(profile, now_ms, half_life_ms)) is not None:
        return found if len(found) == encoder.dim else None
    if not len(profile.clicks):
        return None
    states, _ = encoder.encode([profile.clicks], vectors)
    [vector] = encoder.query(states)
    return vector if vector.any() else None


def _halved(age_ms: NDArray[np.float64] | float, half_life_ms: float) -> NDArray[np.float64]:
    return np.exp2(-np.asarray(age_ms) / half_life_ms)


def _with_clicks(window: Clicks, arrivals: Sequence[Clicks], most: int) -> tuple[Clicks, Clicks]:
    """Return the newest clicks of both, and those of them that were not in the window."""
    came = np.concatenate([window[:0], *arrivals])
    came = came[np.unique(came["event"], return_index=True)[1]]
    came = came[~np.isin(came["event"], window["event"])]
    if not len(came):
        return window, came
    both = np.concatenate([window, came])
    is_new = np.arange(len(both)) >= len(window)
    order = np.lexsort((both["event"], both["ts_ms"]))
    late = np.zeros(len(order), np.bool_)
    if len(window) >= most:  # all that sorts before the oldest of a full window
        late[: int(np.flatnonzero(order == 0)[0])] = True
    order = order[~late]
    taken = both[order[is_new[order]]]
    return both[order[-most:]], taken


def _with_sessions(profile: Profile, visits: Sequence[Visit], half_life_ms: float) -> Profile:
    states = {
        int(one["name"]): (int(one["last_ms"]), vector)
        for one, vector in zip(profile.sessions, profile.vectors, strict=True)
    }
    full = len(states) >= MOST_SESSIONS
    oldest = (int(profile.sessions["last_ms"][0]), int(profile.sessions["name"][0])) if full else (-1, -1)
    for visit in visits:
        held = states.get(visit.session)
        if visit.vector is None or (held is None and (visit.last_ms, visit.session) < oldest):
            continue
        if held is None or visit.last_ms >= held[0]:
            states[visit.session] = (visit.last_ms, visit.vector)
    if not states:
        return profile
    ordered = sorted(
        ((last_ms, name, vector) for name, (last_ms, vector) in states.items()), key=lambda one: (one[0], one[1])
    )
    older, older_ms = profile.older, profile.older_ms
    for last_ms, _, vector in ordered[:-MOST_SESSIONS]:
        older, older_ms = _with_older(older, older_ms, vector, last_ms, half_life_ms)
    kept = ordered[-MOST_SESSIONS:]
    return replace(
        profile,
        sessions=np.array([(name, last_ms) for last_ms, name, _ in kept], PAST_SESSION),
        vectors=np.array([vector for *_, vector in kept], np.float32),
        older=older,
        older_ms=older_ms,
    )


def _with_older(
    older: Float32s, older_ms: int, vector: Float32s, last_ms: int, half_life_ms: float
) -> tuple[Float32s, int]:
    """Return the sum with one session more, decayed to the later of both moments."""
    at_ms = max(older_ms, last_ms)
    before = older if len(older) else np.zeros(len(vector), np.float32)
    decayed = _halved(float(at_ms - older_ms), half_life_ms) * before
    summed = decayed + _halved(float(at_ms - last_ms), half_life_ms) * vector
    return summed.astype(np.float32), at_ms

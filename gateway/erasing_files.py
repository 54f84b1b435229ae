"""Files of visitors: recordings and answers that are kept, written again without whom they name.

A file is written aside and takes its name in one step, so that whoever is killed leaves the old one or the new one. It
is written again only once its writer has begun another one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import orjson
import zstandard

from contracts.codec import decode_session
from contracts.errors import NextclickError
from contracts.events import MAX_FUTURE_MS
from eventlog.erasing import holds_any
from eventlog.files import EVENTS, read_raw, write_events
from gateway.answer_records import AnswersNotKept, files_in, frames_of
from gateway.erasing import Work
from gateway.record_files import FINISHED, PREFIX, parts_in
from gateway.settings import GatewaySettings
from rights.erasure import as_json, told_in
from state.campaign_files import CampaignFiles

_TIME: Final = re.compile(r"(\d{8}T\d{6})")
_RECORD: Final = msgspec.msgpack.Decoder(tuple[bytes, Any, list[bytes]])
OTHER_TOOLS_S: Final = 600
_PATHS: Final = 500
"""Files and folders that a program is given at once."""


class Files(Protocol):
    """What is on disk of visitors."""

    def ready(self, at_ms: int) -> bool:
        """Tell whether all that was written until a moment is in files that nobody writes to any more."""

    def sweep(self, work: Work) -> dict[str, int]:
        """Take a visitor away; returns how many things, by place. Raises OSError and NextclickError."""


class Recordings:
    """Accepted events in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ready(self, at_ms: int) -> bool:
        return not any(began_ms(path) <= at_ms for path in parts_in(self._folder))

    def sweep(self, work: Work) -> dict[str, int]:
        gone = 0
        for path in sorted(self._folder.glob(f"{PREFIX}*{FINISHED}")):
            if began_ms(path) <= work.at_ms and EVENTS.is_one(path):
                gone += without_visitor(path, work)
        return {"file:recordings": gone}


def without_visitor(path: Path, work: Work) -> int:
    """Write a recording again without a visitor's events, or take it away where there are no others; returns how many
    went.
    """
    wanted = holds_any({as_json(name) for name in work.names.all})
    until_ms = work.at_ms + MAX_FUTURE_MS

    def is_theirs(line: bytes) -> bool:
        told = told_in(line) if wanted(line) else None
        return told is not None and told.ts_ms <= until_ms and work.names.owns(told.session_id, told.user_id)

    total = gone = 0
    for line in read_raw(path):
        total += 1
        gone += is_theirs(line)
    if gone == total:
        path.unlink(missing_ok=True)
    elif gone:
        write_events(path, (line for line in read_raw(path) if not is_theirs(line)))
    return gone


class Answers:
    """Answers that are kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ready(self, at_ms: int) -> bool:
        return True

    def sweep(self, work: Work) -> dict[str, int]:
        gone, requests = 0, set()
        for name in work.requests:
            with suppress(ValueError):
                requests.add(bytes.fromhex(name))
        for path in files_in(self._folder):
            if began_ms(path) <= work.at_ms:
                gone += self._without(path, work, requests)
        return {"file:answers": gone}

    def _without(self, path: Path, work: Work, requests: set[bytes]) -> int:
        kept, gone = [], 0
        for header, name, data in frames_of(path):
            if any(name) and (name in requests or _names_visitor(data, work)):
                gone += 1
            else:
                kept.append(header + data)
        if gone:
            put_aside(path, kept)
        return gone


def _names_visitor(data: bytes, work: Work) -> bool:
    """Tell whether an answer's record is of one of a visitor's sessions."""
    try:
        raw = zstandard.ZstdDecompressor().decompress(data)
        if not any(name.encode(errors="surrogatepass") in raw for name in work.names.all):
            return False
        _, _, rankings = _RECORD.decode(raw)
        sessions = [msgspec.msgpack.decode(one)[0]["query"]["session"] for one in rankings]
    except (zstandard.ZstdError, msgspec.DecodeError, LookupError, TypeError) as error:
        raise AnswersNotKept(f"an answer that is kept is damaged ({error}): take its file away") from error
    for session in sessions:
        if session is not None:
            name, view = session
            with suppress(ValueError):
                if work.names.owns(name, decode_session(name, view).user_id):
                    return True
            if name in work.names.sessions:
                return True
    return False


def put_aside(path: Path, parts: Sequence[bytes]) -> None:
    """Write a file again, for its user alone, and let it take the old one's place in one step."""
    aside = path.with_name(f".{path.name}.aside")
    aside.unlink(missing_ok=True)
    number = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(number, "wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


class ToolFailed(NextclickError):
    """Another program could not take a visitor out of its files."""


class OtherFiles:
    """Files that a program of their own knows: it is given the names on its input, as its arguments are for all to see,
    and tells how many things it took away.
    """

    def __init__(
        self, place: str, module: str, paths: Callable[[], Sequence[Path]], run: Callable[..., Any] = subprocess.run
    ) -> None:
        """`paths` says which files, and folders of files, there are now."""
        self._place, self._module, self._paths, self._run = place, module, paths, run

    def ready(self, at_ms: int) -> bool:
        return True

    def sweep(self, work: Work) -> dict[str, int]:
        paths = [str(path) for path in self._paths() if path.exists()]
        if not paths:
            return {}
        return {self._place: sum(self._without(paths[at : at + _PATHS], work) for at in range(0, len(paths), _PATHS))}

    def _without(self, paths: Sequence[str], work: Work) -> int:
        told = {"user": work.names.user, "sessions": sorted(work.names.sessions), "at_ms": work.at_ms}
        done = self._run(
            [sys.executable, "-m", self._module, *paths],
            input=orjson.dumps(told),
            capture_output=True,
            timeout=OTHER_TOOLS_S,
            check=False,
        )
        if done.returncode:
            why = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise ToolFailed(f"{self._place}: {why}")
        return int(done.stdout)


def began_ms(path: Path) -> int:
    """Return when a file was begun, by its name; of one that does not say so, before all others."""
    matched = _TIME.search(path.name)
    try:
        at = datetime.strptime(matched[1], "%Y%m%dT%H%M%S") if matched else None
    except ValueError:
        at = None
    return -1 if at is None else int(at.replace(tzinfo=UTC).timestamp() * 1000)


def files_of(settings: GatewaySettings) -> list[Files]:
    """Return the files that a gateway of these settings takes visitors out of."""
    found: list[Files] = []
    if settings.record.to:
        found.append(Recordings(Path(settings.record.to)))
    if settings.answers.to:
        found.append(Answers(Path(settings.answers.to)))
    for one in settings.erasure.ledgers:
        found.append(OtherFiles("file:ledger", "replay.ledger.erase", partial(_one, Path(one))))
    found.append(OtherFiles("file:campaigns", "eventlog.erase_tables", partial(campaigns_of, settings)))
    return found


def _one(path: Path) -> list[Path]:
    return [path]


def campaigns_of(settings: GatewaySettings) -> list[Path]:
    """Return where files of campaigns are on this machine: those that campaigns wrote, and the folder that is set.
    Raises StateUnavailable.
    """
    with closing(CampaignFiles(settings.redis)) as files:
        found = files.here()
    return [*found, Path(settings.erasure.campaigns)] if settings.erasure.campaigns else found

"""How a process ends that refuses what it was given: one line on stderr, and an exit status that says so."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, TypeVar

from contracts.errors import ArtifactError, NextclickError, SettingsError, StartupError
from contracts.masked import masked

T = TypeVar("T")

WRONG_SETTING = 78
"""Exit status of a process that refuses its settings or artifacts: starting it again as it is does not help.
EX_CONFIG of sysexits.h.
"""


def or_exit(run: Callable[[], T], *refusals: type[NextclickError]) -> T:
    """Return what `run` returns. Settings or artifacts that it refuses end the process, with WRONG_SETTING; where
    `refusals` are named, these errors do.
    """
    try:
        return run()
    except NextclickError as refusal:
        if not isinstance(refusal, refusals or (SettingsError, ArtifactError, StartupError)):
            raise
        _say(refusal)
        raise SystemExit(WRONG_SETTING) from refusal


def leave_at_once(refusal: NextclickError) -> NoReturn:
    """End the process as `or_exit` does, from inside a step of Bytewax: there SystemExit becomes a panic of Rust's,
    with its stack, and another exit status. Nothing else is tidied up: call it before anything was taken.
    """
    _say(refusal)
    os._exit(WRONG_SETTING)


def _say(refusal: NextclickError) -> None:
    with suppress(OSError):  # stderr may be a file on a full disk
        sys.stderr.write(masked(" ".join(str(refusal).split())) + "\n")
        sys.stderr.flush()

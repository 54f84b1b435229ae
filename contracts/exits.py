"""How a process ends that refuses what it was given: one line on stderr, and an exit status that says so."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

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
        with suppress(OSError):  # stderr may be a file on a full disk
            sys.stderr.write(masked(" ".join(str(refusal).split())) + "\n")
        raise SystemExit(WRONG_SETTING) from refusal

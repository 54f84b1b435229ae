"""A stack to measure: of its own, in a temporary folder, on a free port."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nextclick.bench.report import console
from nextclick.stack.environment import environment_with
from nextclick.stack.settings import StackOptions, StackSettings

if TYPE_CHECKING:
    from nextclick.stack.stack import Stack

NO_ENVIRONMENT: Mapping[str, str] = {}


@contextmanager
def running_stack(
    artifacts: Path, environment: Mapping[str, str] = NO_ENVIRONMENT, *, gateways: int = 1
) -> Iterator[Stack]:
    """Run a stack. Its processes find `environment` beside this process's own; afterwards that is as it was.

    Its gateway, which only this machine reaches, asks for no API keys unless `environment` says so.
    """
    from nextclick.stack.stack import Stack

    given = {"NEXTCLICK_GATEWAY__KEYS": "auto", **environment}
    with environment_with(given), tempfile.TemporaryDirectory(prefix="nextclick-bench-") as folder:
        options = StackOptions(port=0, folder=Path(folder), gateways=gateways)
        stack = Stack(StackSettings(stack=options, artifacts=str(artifacts)))
        with console.status("starting the stack") as status:
            stack.start(status.update)
        try:
            yield stack
        finally:
            stack.stop()

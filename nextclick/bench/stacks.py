"""A stack of a benchmark's own: in a temporary folder, on a free port."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nextclick.bench.figures import console

if TYPE_CHECKING:
    from nextclick.stack.stack import Stack

NO_VARIABLES: Mapping[str, str] = {}


@contextmanager
def running_stack(
    artifacts: Path, variables: Mapping[str, str] = NO_VARIABLES, *, gateways: int = 1
) -> Iterator[Stack]:
    """Run a stack of its own in a temporary folder, on a free port."""
    from nextclick.stack.environment import environment
    from nextclick.stack.settings import StackOptions, StackSettings
    from nextclick.stack.stack import Stack

    with environment(variables), tempfile.TemporaryDirectory(prefix="nextclick-bench-") as folder:
        options = StackOptions(port=0, folder=Path(folder), gateways=gateways)
        stack = Stack(StackSettings(stack=options, artifacts=str(artifacts)))
        with console.status("starting the stack") as status:
            stack.start(status.update)
        try:
            yield stack
        finally:
            stack.stop()

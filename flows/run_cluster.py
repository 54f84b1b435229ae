"""A process of a flow that is a Bytewax cluster: what `bytewax.run` does, but one line says why the cluster ended.

python -m flows.run_cluster flows.trends:flow -i 0 -a "10.0.0.2:2101;10.0.0.3:2101"
"""

from __future__ import annotations

import logging
import runpy
import sys

log = logging.getLogger("nextclick.flows")

_LISTENING = "failed to initialize networking: "
_PANIC = "PanicException"
"""What a process of Bytewax dies of when another one is gone; the class has no module to be imported from."""


def main() -> None:
    try:
        runpy.run_module("bytewax.run", run_name="__main__", alter_sys=True)
    except BaseException as error:
        if (line := why_the_cluster_ended(error)) is None:
            raise
        log.warning(line)
        sys.exit(1)


def why_the_cluster_ended(error: BaseException) -> str | None:
    """Return what to tell of an end that other processes, or the address, are to blame for; None for any other."""
    said = str(error)
    if type(error).__name__ == _PANIC and " thread panic" in said:
        return "another process of this flow went: all of them end, and start again together"
    _, found, reason = said.partition(_LISTENING)
    if isinstance(error, RuntimeError) and found:
        return f"cannot listen at its --address: {reason.strip()}"
    return None


if __name__ == "__main__":
    main()

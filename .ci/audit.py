"""`make audit`: looks up the locked dependencies among known vulnerabilities (pip-audit), and says what came of it.

Exit status 1 when one is known to be vulnerable; 0 when none is, and when nothing could be looked up: a machine that
reaches no database finds nothing out, which is said, and is no fault of the change that is checked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

WITHIN_S = 180


def main(command: list[str]) -> int:
    """Run pip-audit as `command` says, and write one line for each finding, or one for all."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
        lines, status = verdict(done.stdout)
    except subprocess.TimeoutExpired:
        lines, status = unreached(f"no answer within {WITHIN_S} s")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return status


def verdict(report: str) -> tuple[list[str], int]:
    """Return what a report of pip-audit (JSON) says, and the exit status."""
    try:
        found: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return unreached("pip-audit gave no report")
    looked_at = [one for one in found if "skip_reason" not in one]
    if not looked_at:
        return unreached(f"none of {len(found)} dependencies was found there")
    findings = [_finding(one, fault) for one in looked_at for fault in one["vulns"]]
    missing = len(found) - len(looked_at)
    beside = f" ({missing} of {len(found)} could not be looked up)" if missing else ""
    if findings:
        return [*findings, f"audit: {len(findings)} known vulnerabilities{beside}: raise these in `make lock`"], 1
    return [f"audit: no known vulnerability in {len(looked_at)} dependencies{beside}"], 0


def unreached(why: str) -> tuple[list[str], int]:
    return [f"audit: nothing was looked at, as the database of vulnerabilities cannot be reached from here ({why})"], 0


def _finding(dependency: dict[str, Any], fault: dict[str, Any]) -> str:
    mended = ", ".join(fault.get("fix_versions") or ()) or "no release yet"
    return f"{dependency['name']} {dependency['version']}: {fault['id']}, mended in {mended}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

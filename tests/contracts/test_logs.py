"""A line of a log says when, how bad, and which process."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.processes import ROOT


def test_every_line_has_time_level_and_process_and_no_secret() -> None:
    code = """
import logging
from contracts.logs import log_as
log_as("sessions", logging.WARNING)
logging.getLogger("flows.x").warning("no answer of redis://:s3cret@host")
logging.getLogger("flows.x").info("not said")
"""
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stderr
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING sessions\[\d+\] flows\.x: no answer of redis://\*\*\*@host\n",
        said,
    )

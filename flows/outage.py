"""What a flow says when Redis or the log is out: its sources and steps meet the same outage, and tell it once."""

from __future__ import annotations

import logging
from typing import Final

from contracts.outage import SharedOutage

OUTAGE: Final = SharedOutage(logging.getLogger("nextclick.flows"))

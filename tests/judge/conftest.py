"""A judge on a real Redis, beside a real gateway."""

from __future__ import annotations

from tests.gateway.conftest import start as start
from tests.gateway.conftest import streams as streams

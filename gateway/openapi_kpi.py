"""The path of figures in the OpenAPI document."""

from __future__ import annotations

from typing import Final

from attribution.figures import BY, METRICS
from gateway.kpi import KpiAnswer, KpiRow
from gateway.openapi_parts import Json, json_of, operation, problems, query

MODELS: Final = (KpiAnswer, KpiRow)
_EXAMPLE: Final[Json] = {
    "from_ms": 1767222000000,
    "to_ms": 1767225600000,
    "rows": [{"of": {"scenario": "homepage"}, "figures": {"shown": 2000.0, "clicks": 90.0, "ctr": 0.045}}],
    "offsets": {"clicks:0": 90, "impressions:0": 100},
    "facts": {"taken": 190},
}


def kpi_paths() -> Json:
    """Return the path of figures."""
    parameters = [
        query("by", {"type": "string", "maxLength": 300}, f"Dimensions, separated by commas: {', '.join(BY)}."),
        query("from", {"type": "string", "maxLength": 40}, "The first hour, a time or epoch milliseconds; a week ago."),
        query("to", {"type": "string", "maxLength": 40}, "The last hour: now."),
        query("metric", {"type": "string", "maxLength": 500}, f"Figures: {', '.join(METRICS)}; all when left out."),
    ]
    about = (
        "What was shown, and what came of it, as the attribution flow has counted it (`attribution.run`). Money is "
        "told by currency, as `revenue:EUR`. `offsets` say which records of the log are in it."
    )
    answers = {200: json_of(KpiAnswer, _EXAMPLE)} | problems(400, 422, 503)  # 400: an address of over 8,190 bytes
    return {
        "/api/kpi": {"get": operation("Show figures", "figures", answers, description=about, parameters=parameters)}
    }

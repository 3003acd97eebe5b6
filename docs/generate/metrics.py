"""docs/metrics.md: one row per metric family, from the table that the gateway exposes."""

from __future__ import annotations

from gateway.telemetry.families import FAMILIES, Family
from gateway.telemetry.series import MAX_SERIES

_HEAD = """\
# Metrics

`GET /metrics` gives Prometheus text, or OpenMetrics where `Accept` asks for it. Names follow the
OpenTelemetry conventions for generative AI with `_` for `.`; what these do not name begins with
`anyport_`. The gateway is a client towards providers (`gen_ai_client_*`, one observation per attempt)
and a server towards its callers (`gen_ai_server_*`, one per request). Beside them stand the usual
`process_*` metrics of the process.

Labels are bounded. A route or model label is a configured public name, never what a client made up;
everything else is `other`. Past {limit} label sets (not counting a fixed `type` label) new ones of a
family fall into `other` too. No label holds a path, a user, a key or a request id. A value that has
never been counted is absent.

| Metric | Type | Labels | Meaning |
|---|---|---|---|
"""


def metrics_table() -> str:
    """Returns the whole page."""
    return _HEAD.format(limit=f"{MAX_SERIES:,}") + "".join(map(_row, FAMILIES))


def _row(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels) or "none"
    return f"| `{family.name}` | {family.kind} | {labels} | {family.help} |\n"

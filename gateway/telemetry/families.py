"""The metric families as data: name, kind, labels and what each means; docs/metrics.md is made from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram", "info"]
_GEN_AI: Final = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family; counters carry `_total` in their name, as they appear in a scrape."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


TOKEN_USAGE: Final = Family(
    "gen_ai_client_token_usage",
    "histogram",
    (*_GEN_AI, "gen_ai_token_type"),
    "Tokens of one request as the upstream reported them; input includes cached, output includes reasoning.",
)
CLIENT_DURATION: Final = Family(
    "gen_ai_client_operation_duration_seconds",
    "histogram",
    (*_GEN_AI, "error_type"),
    "One attempt at an upstream, from sending to the last byte; error_type is the failure kind.",
)
CLIENT_FIRST_CHUNK: Final = Family(
    "gen_ai_client_operation_time_to_first_chunk_seconds",
    "histogram",
    _GEN_AI,
    "Streams: from sending an attempt to the first byte from the upstream.",
)
CLIENT_CHUNK: Final = Family(
    "gen_ai_client_operation_time_per_output_chunk_seconds",
    "histogram",
    _GEN_AI,
    "Streams: mean time between two pieces that were passed on, after the first.",
)
SERVER_DURATION: Final = Family(
    "gen_ai_server_request_duration_seconds",
    "histogram",
    (*_GEN_AI, "error_type"),
    "One request as the client sees it, with all its attempts; error_type is the error code.",
)
SERVER_FIRST_TOKEN: Final = Family(
    "gen_ai_server_time_to_first_token_seconds",
    "histogram",
    _GEN_AI,
    "Streams: from the request to the first byte sent to the client.",
)
SERVER_OUTPUT_TOKEN: Final = Family(
    "gen_ai_server_time_per_output_token_seconds",
    "histogram",
    _GEN_AI,
    "Streams: mean time per output token after the first.",
)
REQUESTS: Final = Family(
    "anyport_requests_total",
    "counter",
    ("route", "provider", "operation", "status", "code", "stream"),
    "Finished requests; status is a class such as 2xx, `none` when the client left before one was sent.",
)
OVERHEAD: Final = Family(
    "anyport_overhead_seconds",
    "histogram",
    ("operation", "stream"),
    "Time of a request that was not spent waiting for an upstream, pauses between attempts included; of a stream up to "
    "its first byte.",
)
IN_FLIGHT: Final = Family("anyport_requests_in_flight", "gauge", (), "Requests that are being worked on.")
TOKENS: Final = Family(
    "anyport_tokens_total",
    "counter",
    ("route", "provider", "type"),
    "Tokens by type: input, output, and the parts cache_read and cache_write of input, reasoning of output.",
)
ATTEMPTS: Final = Family(
    "anyport_upstream_attempts_total",
    "counter",
    ("provider", "outcome"),
    "Attempts at upstreams; outcome is `ok`, the failure kind, `lost` if another attempt was faster, or `cancelled` if "
    "the request ended before it.",
)
DEPLOYMENT_ATTEMPTS: Final = Family(
    "anyport_deployment_attempts_total",
    "counter",
    ("provider", "deployment", "outcome"),
    "The same by deployment; those that stand in no route are `other`.",
)
RETRIES: Final = Family(
    "anyport_retries_total",
    "counter",
    ("provider", "reason"),
    "Failed attempts that another attempt was made for, here or at a fallback.",
)
PAUSES: Final = Family(
    "anyport_retry_pause_seconds",
    "histogram",
    ("provider", "reason"),
    "Pauses between a failed attempt and the one that it was followed by; most are followed at once, without a pause.",
)
OVER_BUDGET: Final = Family(
    "anyport_retry_budget_exhausted_total",
    "counter",
    ("route", "provider"),
    "Requests that failed without another attempt, because failures of the deployment had caused too many already.",
)
FALLBACKS: Final = Family(
    "anyport_fallbacks_total",
    "counter",
    ("route", "reason"),
    "Requests that a fallback has answered; route is the one that was asked for, reason the failure kind before it, or "
    "`unavailable` if nothing could be tried there.",
)
HEDGES: Final = Family(
    "anyport_hedges_total",
    "counter",
    ("route", "result"),
    "Second attempts beside a slow first one: `won` if the second began first, `lost` if the first did, `failed`, or "
    "`cancelled` if the request ended before both.",
)
MIRRORED: Final = Family(
    "anyport_mirrored_requests_total",
    "counter",
    ("route", "result"),
    "Copies that were sent elsewhere; route is where they went, result is `ok`, `failed` or `cancelled`. They are "
    "counted nowhere else.",
)
COOL_DOWNS: Final = Family(
    "anyport_cool_downs_total",
    "counter",
    ("provider", "scope", "reason"),
    "Pauses of a key or a deployment (scope); reason is the failure kind. Those that other replicas told of included.",
)
EJECTIONS: Final = Family(
    "anyport_ejections_total",
    "counter",
    ("provider", "deployment", "reason"),
    "Deployments left out for a while because of their failures, each prolongation too.",
)
READMISSIONS: Final = Family(
    "anyport_readmissions_total", "counter", ("provider", "deployment"), "Ejected deployments that work again."
)
EJECTED: Final = Family(
    "anyport_deployments_ejected",
    "gauge",
    ("provider", "deployment"),
    "Deployments that were ejected and have not worked since.",
)
RESTING: Final = Family(
    "anyport_keys_resting",
    "gauge",
    ("provider",),
    "Keys that are in a pause now; one whose rate limits differ by model counts for each model.",
)
DISCONNECTS: Final = Family(
    "anyport_client_disconnects_total",
    "counter",
    ("operation", "stream"),
    "Requests whose client went away before the end.",
)
CONNECTIONS: Final = Family(
    "anyport_upstream_connections",
    "gauge",
    ("provider", "state"),
    "Connections to upstreams by state.",
)
RECORDS_DROPPED: Final = Family(
    "anyport_access_records_dropped_total",
    "counter",
    (),
    "Access records lost because the log could not be written fast enough or at all.",
)
DISCOVERY_RUNS: Final = Family(
    "anyport_discovery_runs_total", "counter", ("provider", "result"), "Looks at a provider's list of models."
)
DISCOVERY_SECONDS: Final = Family(
    "anyport_discovery_seconds_total", "counter", ("provider",), "Time spent looking for models."
)
DISCOVERY_MODELS: Final = Family(
    "anyport_discovery_models", "gauge", ("provider",), "Models that the last successful look found."
)
DISCOVERY_SUCCESS: Final = Family(
    "anyport_discovery_last_success_timestamp_seconds",
    "gauge",
    ("provider",),
    "Unix time of the last successful look; absent before the first.",
)
RELOADS: Final = Family(
    "anyport_config_reloads_total",
    "counter",
    ("result",),
    "How often the configuration was read again: `ok`, or `failed` if it had faults and the one before went on.",
)
CONFIGURED: Final = Family(
    "anyport_config_last_success_timestamp_seconds",
    "gauge",
    (),
    "Unix time since which the configuration in use is in use; of several workers, of the one that has the newest.",
)
WORKERS: Final = Family("anyport_workers", "gauge", (), "Processes that serve, and are counted in all these figures.")
WORKER_RESTARTS: Final = Family(
    "anyport_worker_restarts_total", "counter", (), "Workers that have died and were started again."
)
BUILD: Final = Family("anyport_build_info", "info", ("version", "python"), "What is running.")

FAMILIES: Final = (
    *(TOKEN_USAGE, CLIENT_DURATION, CLIENT_FIRST_CHUNK, CLIENT_CHUNK),
    *(SERVER_DURATION, SERVER_FIRST_TOKEN, SERVER_OUTPUT_TOKEN),
    *(REQUESTS, OVERHEAD, IN_FLIGHT, TOKENS, ATTEMPTS, DEPLOYMENT_ATTEMPTS, RETRIES, PAUSES),
    *(OVER_BUDGET, FALLBACKS, HEDGES, MIRRORED, COOL_DOWNS, EJECTIONS, READMISSIONS, EJECTED, RESTING),
    *(DISCONNECTS, CONNECTIONS, RECORDS_DROPPED),
    *(DISCOVERY_RUNS, DISCOVERY_SECONDS, DISCOVERY_MODELS, DISCOVERY_SUCCESS),
    *(RELOADS, CONFIGURED, WORKERS, WORKER_RESTARTS, BUILD),
)
"""In the order of a scrape."""

GREATEST: Final = frozenset(
    {
        *(DISCOVERY_MODELS.name, DISCOVERY_SUCCESS.name, CONFIGURED.name),
        *("process_start_time_seconds", "process_max_fds"),
    }
)
"""Gauges of which the greatest one counts where several workers are one gateway; all others add up."""

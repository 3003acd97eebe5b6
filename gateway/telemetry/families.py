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
    "Tokens of one request as the upstream reported them, else estimated; input includes cached, output reasoning.",
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
ESTIMATED_TOKENS: Final = Family(
    "anyport_estimated_tokens_total",
    "counter",
    ("route", "provider", "type"),
    "Of these the ones that no upstream has reported: input and output.",
)
COST: Final = Family(
    "anyport_cost_nano_usd_total",
    "counter",
    ("route", "provider"),
    "What requests have cost, in nano-dollars, where the price is known.",
)
UNPRICED: Final = Family(
    "anyport_unpriced_requests_total",
    "counter",
    ("route", "provider", "deployment"),
    "Requests whose price is not known; deployments that stand in no route are `other`.",
)
REFUSED: Final = Family(
    "anyport_admissions_refused_total",
    "counter",
    ("kind",),
    "Requests that were refused by a limit of their key, project or team: `requests`, `tokens`, `in_flight`, `budget`, "
    "or `unavailable` if it could not be counted.",
)
HOOK_FAILURES: Final = Family(
    "anyport_hook_failures_total", "counter", ("plugin",), "Requests of which the hook of a plugin could not take all."
)
LIMITS_TROUBLE: Final = Family(
    "anyport_limits_trouble",
    "gauge",
    (),
    "1 while limits and budgets cannot be counted together with the other replicas.",
)
LEDGER_RECORDS: Final = Family(
    "anyport_ledger_records_total",
    "counter",
    ("result",),
    "Records of requests: `written` to storage, `rejected` by it or damaged and set aside in a file, `lost` since they "
    "could be kept nowhere.",
)
LEDGER_PENDING: Final = Family(
    "anyport_ledger_pending_records",
    "gauge",
    ("place",),
    "Records that are not in storage yet: in the `journal`, or in `memory` because that cannot be written.",
)
LEDGER_BYTES: Final = Family(
    "anyport_ledger_journal_bytes", "gauge", (), "Bytes of the journal that are not in storage yet."
)
LEDGER_OLDEST: Final = Family(
    "anyport_ledger_oldest_pending_seconds",
    "gauge",
    (),
    "How long the oldest record that is not in storage has been waiting; 0 if there is none.",
)
LEDGER_TAKEN: Final = Family(
    "anyport_ledger_last_success_timestamp_seconds",
    "gauge",
    (),
    "Unix time at which storage last took records; absent before the first.",
)
LEDGER_REFUSING: Final = Family(
    "anyport_ledger_refusing",
    "gauge",
    (),
    "1 while requests are refused because they could not be recorded.",
)
STORAGE_UP: Final = Family(
    "anyport_storage_up", "gauge", (), "1 while storage answers and takes records; of several workers, for all of them."
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
STALLS: Final = Family(
    "anyport_event_loop_stalls_total", "counter", (), "How often a process answered nobody for a second or longer."
)
STALLED: Final = Family("anyport_event_loop_stalled_seconds_total", "counter", (), "How long that took in all.")
BATCH_LINES: Final = Family(
    "anyport_batch_lines_total",
    "counter",
    ("result",),
    "Lines of batches that were begun: `completed`, `failed`, `paused` by a limit, or to be done `again`.",
)
BATCH_LINES_IN_FLIGHT: Final = Family(
    "anyport_batch_lines_in_flight",
    "gauge",
    (),
    "Lines of batches that are under way; no part of the requests in flight.",
)
BATCHES: Final = Family("anyport_batches_total", "counter", ("status",), "Batches that have ended, by how.")
CONSIGNMENTS: Final = Family(
    "anyport_batch_consignments",
    "gauge",
    ("provider", "state"),
    "Lots of lines that providers' own batch APIs have: `sending`, `there` or `cancelling`. Every process sees all.",
)
CONSIGNED: Final = Family(
    "anyport_batch_consignment_oldest_timestamp_seconds",
    "gauge",
    ("provider",),
    "Unix time at which the oldest of them was sent.",
)
WORKERS: Final = Family("anyport_workers", "gauge", (), "Processes that serve, and are counted in all these figures.")
WORKER_RESTARTS: Final = Family(
    "anyport_worker_restarts_total", "counter", (), "Workers that have died and were started again."
)
BUILD: Final = Family("anyport_build_info", "info", ("version", "python"), "What is running.")

FAMILIES: Final = (
    *(TOKEN_USAGE, CLIENT_DURATION, CLIENT_FIRST_CHUNK, CLIENT_CHUNK),
    *(SERVER_DURATION, SERVER_FIRST_TOKEN, SERVER_OUTPUT_TOKEN),
    *(REQUESTS, OVERHEAD, IN_FLIGHT, TOKENS, ESTIMATED_TOKENS, COST, UNPRICED, REFUSED, HOOK_FAILURES, LIMITS_TROUBLE),
    *(LEDGER_RECORDS, LEDGER_PENDING, LEDGER_BYTES, LEDGER_OLDEST, LEDGER_TAKEN, LEDGER_REFUSING, STORAGE_UP),
    *(ATTEMPTS, DEPLOYMENT_ATTEMPTS, RETRIES, PAUSES),
    *(OVER_BUDGET, FALLBACKS, HEDGES, MIRRORED, COOL_DOWNS, EJECTIONS, READMISSIONS, EJECTED, RESTING),
    *(BATCHES, BATCH_LINES, BATCH_LINES_IN_FLIGHT, CONSIGNMENTS, CONSIGNED),
    *(DISCONNECTS, CONNECTIONS, RECORDS_DROPPED),
    *(DISCOVERY_RUNS, DISCOVERY_SECONDS, DISCOVERY_MODELS, DISCOVERY_SUCCESS),
    *(RELOADS, CONFIGURED, STALLS, STALLED, WORKERS, WORKER_RESTARTS, BUILD),
)
"""In the order of a scrape."""

GREATEST: Final = frozenset(
    {
        *(DISCOVERY_MODELS.name, DISCOVERY_SUCCESS.name, CONFIGURED.name),
        *(LIMITS_TROUBLE.name, LEDGER_OLDEST.name, LEDGER_TAKEN.name, LEDGER_REFUSING.name),
        *("process_start_time_seconds", "process_max_fds", CONSIGNMENTS.name),
    }
)
"""Gauges of which the greatest one counts where several workers are one gateway; most others add up."""

LEAST: Final = frozenset({STORAGE_UP.name, CONSIGNED.name})
"""Gauges of which the least one counts there."""

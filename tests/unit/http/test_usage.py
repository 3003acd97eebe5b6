"""What GET /admin/usage understands, and how it tells sums."""

from __future__ import annotations

import pytest
from starlette.datastructures import QueryParams

from gateway.errors import InvalidRequest
from gateway.http.usage import as_csv, as_rows, read_usage_query
from gateway.storage.base import DAY_MS, HOUR_MS, UsageQuery, UsageRow


def test_parameters_name_groups_filters_and_a_span() -> None:
    given = QueryParams("by=team,day&since=1970-01-02&until=1970-01-03T02:00Z&route=fast&route=slow")
    assert read_usage_query(given) == UsageQuery(
        by=("team", "day"), where={"route": ("fast", "slow")}, since_ms=DAY_MS, until_ms=2 * DAY_MS + 2 * HOUR_MS
    )


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("by=team,team", "by"),
        ("by=colour", "by"),
        ("colour=red", "colour"),
        ("since=yesterday", "since"),
        ("since=2026-11-21T14:30", "since"),
        ("until=1969-12-31", "until"),
        ("day=2026-11-21", "day"),
    ],
)
def test_a_parameter_that_means_nothing_is_named(text: str, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_usage_query(QueryParams(text))
    assert refused.value.param == param


def test_rows_have_exact_dollars_and_days_of_utc() -> None:
    (row,) = as_rows([UsageRow({"day": DAY_MS, "team": "t"}, requests=2, cost_nano_usd=1_500_000_001)])
    assert (row["day"], row["team"], row["requests"], row["cost_usd"]) == ("1970-01-02", "t", 2, "1.500000001")


def test_a_table_holds_no_formula() -> None:
    text = as_csv(UsageQuery(by=("route",)), [UsageRow({"route": "=1+1"}, requests=1)])
    head, line = text.splitlines()
    assert head.startswith("route,requests,errors,")
    assert line.startswith("'=1+1,1,0,")

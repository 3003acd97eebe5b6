"""What questions about usage understand, and how sums are told."""

from __future__ import annotations

import pytest
from starlette.datastructures import QueryParams

from gateway.errors import InvalidRequest
from gateway.http.usage.questions import read_usage_query
from gateway.http.usage.snapshot import usual_start
from gateway.http.usage.sums import as_csv, as_rows, columns_of, moment_text
from gateway.storage.base import DAY_MS, HOUR_MS, UsageQuery, UsageRow


def test_parameters_name_groups_filters_and_a_span() -> None:
    given = QueryParams("by=team,day&from=1970-01-02&to=1970-01-03T02:00Z&route=fast&route=slow")
    assert read_usage_query(given) == UsageQuery(
        by=("team", "day"), where={"route": ("fast", "slow")}, since_ms=DAY_MS, until_ms=2 * DAY_MS + 2 * HOUR_MS
    )


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("by=team,team", "by"),
        ("by=colour", "by"),
        ("by=team&by=key", "by"),
        ("colour=red", "colour"),
        ("limit=-1", "limit"),
        ("limit=1000000", "limit"),
        ("from=yesterday", "from"),
        ("from=-1", "from"),
        ("from=99999-01-01", "from"),
        ("from=2026-11-21T14:30", "from"),
        ("to=1969-12-31", "to"),
        ("from=2026-11-22&to=2026-11-21", "from"),
        ("from=2026-11-22&to=2026-11-22", "from"),
        ("day=2026-11-21", "day"),
        ("model=a%00b", "model"),
        ("key=" + "k" * 513, "key"),
        ("'; drop table anyport_records; --=1", "'; drop table anyport_records; --"),
    ],
)
def test_a_parameter_that_means_nothing_is_named(text: str, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_usage_query(QueryParams(text))
    assert refused.value.param == param
    assert len(refused.value.message) < 400


def test_rows_have_exact_dollars_and_days_of_utc() -> None:
    (row,) = as_rows([UsageRow({"day": DAY_MS, "team": "t"}, requests=2, cost_nano_usd=1_500_000_001)], _called)
    assert (row["day"], row["team"], row["requests"]) == ("1970-01-02", "t", 2)
    assert (row["cost_nano_usd"], row["cost_usd"]) == (1_500_000_001, "1.500000001")


def test_names_of_today_stand_beside_ids() -> None:
    found = as_rows(
        [UsageRow({"team": "team_1", "key": "key_1"}), UsageRow({"team": "gone", "key": "of-file"})], _called
    )
    assert [list(row)[:4] for row in found] == [["team", "team_name", "key", "key_name"]] * 2
    assert [list(row.values())[:4] for row in found] == [
        ["team_1", "search", "key_1", "laptop"],
        ["gone", "", "of-file", "of-file"],
    ]
    assert columns_of(["team", "key"])[:5] == ["team", "team_name", "key", "key_name", "requests"]


def _called(word: str, id: str) -> str:
    return {("team", "team_1"): "search", ("key", "key_1"): "laptop"}.get((word, id), "")


def test_a_table_holds_no_formula() -> None:
    text = as_csv(["route", "requests"], [{"route": "=1+1", "requests": 1}])
    assert text.splitlines() == ["route,requests", "'=1+1,1"]


def test_moments_are_told_in_utc_with_milliseconds_where_there_are_any() -> None:
    assert moment_text(20_000 * DAY_MS) == "2024-10-04T00:00:00Z"
    assert moment_text(20_000 * DAY_MS + 7) == "2024-10-04T00:00:00.007Z"


def test_models_are_counted_from_the_month_or_from_what_is_still_known() -> None:
    assert usual_start(100 * DAY_MS, 50 * DAY_MS) == 100 * DAY_MS
    assert usual_start(100 * DAY_MS, 110 * DAY_MS + 5) == 111 * DAY_MS

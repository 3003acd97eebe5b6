"""The difference of two snapshots is exact, and of what cannot be compared there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from gateway.cli.usage.delta import NoDelta, delta_of
from gateway.http.usage.snapshot import Counters, OfModel, OfOwner, Snapshot, added

COUNTERS = st.builds(Counters, *[st.integers(0, 10**15)] * len(Counters.__struct_fields__))
USED = st.dictionaries(st.sampled_from("abcd"), COUNTERS)


def snapshot(as_of: str, used: dict[str, Counters], models_from: str = "2026-11-01T00:00:00Z") -> Snapshot:
    owners = [OfOwner(key, "t", "p", each) for key, each in used.items()]
    models = [OfModel(key, "openai", "m", each) for key, each in used.items()]
    return Snapshot(as_of, 0, added(used.values()), owners, models_from, models)


@given(USED, USED)
def test_what_is_added_to_a_snapshot_is_the_difference_to_it(
    before: dict[str, Counters], more: dict[str, Counters]
) -> None:
    nothing = Counters()
    after = {key: added([before.get(key, nothing), more.get(key, nothing)]) for key in before | more}
    delta = delta_of(snapshot("1", before), snapshot("2", after))
    assert delta.totals == added(more.values())
    assert {row.key: row.counters for row in delta.owners} == {
        key: each for key, each in more.items() if each != nothing
    }
    assert delta.models is not None
    assert added(row.counters for row in delta.models) == delta.totals


def test_snapshots_in_the_wrong_order_have_no_difference() -> None:
    few, many = {"a": Counters(requests=1)}, {"a": Counters(requests=2), "b": Counters(requests=1)}
    for before, after in ((many, few), ({"a": Counters(requests=3)}, {"a": Counters(requests=2)})):
        with pytest.raises(NoDelta, match="wrong order"):
            delta_of(snapshot("1", before), snapshot("2", after))


def test_models_that_are_counted_from_different_moments_are_not_compared() -> None:
    used = {"a": Counters(requests=1)}
    delta = delta_of(snapshot("1", used), snapshot("2", used, "2026-12-01T00:00:00Z"))
    assert (delta.models, set(astuple(delta.totals))) == (None, {0})

"""A refusal of what has worked a moment ago may be about the request."""

from __future__ import annotations

from gateway.health.doubt import BELIEVED, WORKED_SECONDS, Doubt


def test_what_never_worked_is_believed_to_be_refused() -> None:
    assert Doubt().refused(5.0)


def test_what_has_worked_lately_is_believed_to_be_refused_when_it_happens_again_and_again() -> None:
    doubt = Doubt()
    doubt.worked(100.0)
    assert [doubt.refused(101.0) for _ in range(BELIEVED)] == [False, False, True]
    doubt.worked(102.0)
    assert not doubt.refused(103.0)


def test_a_success_speaks_for_ten_minutes() -> None:
    doubt = Doubt()
    doubt.worked(100.0)
    assert not doubt.copy().refused(100.0 + WORKED_SECONDS)
    assert doubt.refused(100.1 + WORKED_SECONDS)


def test_a_copy_goes_its_own_way() -> None:
    doubt = Doubt()
    doubt.worked(100.0)
    twin = doubt.copy()
    assert not twin.refused(101.0)
    assert [doubt.refused(101.0) for _ in range(2)] == [False, False]

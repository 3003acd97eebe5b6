"""How soon Discord may be called again."""

from __future__ import annotations

import pytest

from gateway.integrations.discord.allowance import Allowance, Quiet


def test_five_calls_in_five_seconds_are_all() -> None:
    allowance = Allowance(Quiet())
    for second in range(5):
        assert allowance.wait(100.0 + second * 0.1) == 0.0
        allowance.called(100.0 + second * 0.1)
    assert allowance.wait(101.0) == 4.0
    assert allowance.wait(105.0) == 0.0


def test_what_the_headers_say_counts_besides() -> None:
    allowance = Allowance(Quiet())
    allowance.answered({"x-ratelimit-remaining": "3", "x-ratelimit-reset-after": "9"}, 100.0)
    assert allowance.wait(100.0) == 0.0
    allowance.answered({"x-ratelimit-remaining": "0", "x-ratelimit-reset-after": "1.5"}, 100.0)
    assert allowance.wait(100.5) == 1.0


def test_a_refusal_is_obeyed_for_one_webhook_or_for_all() -> None:
    everywhere = Quiet()
    one, other = Allowance(everywhere), Allowance(everywhere)
    one.refused(0.35, is_global=False, now=100.0)
    assert (one.wait(100.0), other.wait(100.0)) == (pytest.approx(0.35), 0.0)
    one.refused(2, is_global=True, now=100.0)
    assert (one.wait(100.0), other.wait(100.0)) == (2.0, 2.0)


@pytest.mark.parametrize("nonsense", [None, True, "soon", "nan", float("nan"), -3, [1]])
def test_a_refusal_that_names_no_time_is_a_second(nonsense: object) -> None:
    allowance = Allowance(Quiet())
    allowance.refused(nonsense, is_global=False, now=100.0)
    assert allowance.wait(100.0) == 1.0

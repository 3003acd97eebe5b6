"""What of an interaction decides who pays for it."""

from __future__ import annotations

import json

import pytest

from gateway.integrations.discord.command import read_interaction


@pytest.mark.parametrize(
    ("owners", "guild"),
    [
        ({"0": "11"}, "11"),
        ({"0": "11", "1": "77"}, "11"),
        ({}, "11"),
        ({"1": "77"}, ""),
        ({"0": "12"}, ""),
    ],
)
def test_a_guild_pays_only_for_an_application_that_it_has_installed_itself(owners: dict[str, str], guild: str) -> None:
    said = {
        "type": 2,
        "id": "5",
        "token": "t",
        "guild_id": "11",
        "data": {"name": "ask", "options": [{"name": "prompt", "value": "why"}]},
        "authorizing_integration_owners": owners,
    }
    question = read_interaction(json.dumps(said).encode()).question()
    assert question is not None
    assert question.guild == guild

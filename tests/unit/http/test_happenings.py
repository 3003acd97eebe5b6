"""What is told of pauses, lists of models and trouble, on a clock that stands."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from adapters.failures import FailureKind
from gateway.domain import Attempt, Outcome
from gateway.http.happenings import Happenings, tell_request
from gateway.runtime import Runtime
from gateway.state.base import CoolDown
from gateway.telemetry.feed import Feed, Listener


@dataclass
class World:
    """The parts of a runtime that are looked at."""

    models: dict[str, tuple[str, ...]] = field(default_factory=dict)
    trouble: str = ""

    def runtime(self) -> Runtime:
        picture, calm = SimpleNamespace(trouble=self.trouble), SimpleNamespace(trouble="")
        parts: Any = SimpleNamespace(
            catalogue=SimpleNamespace(listing=SimpleNamespace(models=self.models)),
            shared=SimpleNamespace(
                stored=SimpleNamespace(thing=SimpleNamespace(picture=picture, spending=calm)),
                admissions=SimpleNamespace(thing=calm),
            ),
            books=SimpleNamespace(ledger=None),
            scrubber=SimpleNamespace(text=lambda text: text.replace("canary", "***")),
        )
        return cast(Runtime, parts)


async def heard(listener: Listener) -> list[tuple[str, dict[str, Any]]]:
    return [(each.kind, json.loads(each.data)) for each in await listener.batch()]


def told(world: World) -> tuple[Happenings, Listener]:
    feed = Feed(wall=lambda: 0.0)
    happenings = Happenings(feed, world.runtime, clock=lambda: 0.0)
    return happenings, feed.listen()


async def test_a_list_of_models_that_changes_is_told_with_how_many_came_and_went() -> None:
    world = World({"ollama": ("a", "b")})
    happenings, listener = told(world)
    happenings.look()
    world.models = {"ollama": ("b", "c", "d"), "vllm": ("x",)}
    happenings.look()
    world.models = {"vllm": ("x",)}
    happenings.look()
    found = [members for kind, members in await heard(listener) if kind == "discovery"]
    assert [(each["provider"], each["is_there"], each["added"], each["removed"]) for each in found] == [
        ("ollama", True, 2, 1),
        ("vllm", True, 1, 0),
        ("ollama", False, 0, 3),
    ]
    happenings.feed.leave(listener)


async def test_trouble_that_lasts_is_told_to_who_begins_to_listen_without_its_secrets() -> None:
    world = World(trouble="no canary answers")
    happenings, listener = told(world)
    happenings.look()
    happenings.look()
    world.trouble = ""
    happenings.look()
    found = await heard(listener)
    assert [(kind, each["what"]) for kind, each in found] == [("trouble", "storage"), ("trouble_ended", "storage")]
    assert found[0][1]["message"] == "no *** answers"
    happenings.feed.leave(listener)


async def test_what_another_replica_tells_is_told_as_such() -> None:
    happenings, listener = told(World())
    happenings.hear_replica(CoolDown("key", "f" * 16, 7, FailureKind.QUOTA), "openai", is_told=False)
    ((kind, members),) = await heard(listener)
    assert (kind, members["provider"], members["by"], members["is_told"]) == (
        "key_rest",
        "openai",
        "another replica",
        False,
    )
    happenings.feed.leave(listener)


async def test_what_others_wrote_is_cleaned() -> None:
    feed = Feed()
    listener = feed.listen()
    outcome = Outcome(
        "id\u2028", model="m\x1b[2J", error_code="c\u202e" * 300, status=502, attempts=[Attempt(1, "d", 0.0)]
    )
    tell_request(feed, outcome, "k\x00")
    ((_, members),) = await heard(listener)
    assert all(text.isprintable() and len(text) <= 201 for text in members.values() if isinstance(text, str))

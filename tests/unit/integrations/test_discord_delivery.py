"""The messages of one answer, without a network and without waiting."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.integrations.discord.allowance import Quiet
from gateway.integrations.discord.command import Question
from gateway.integrations.discord.delivery import TOKEN_SECONDS, Delivery
from gateway.integrations.discord.rest import Reply


class Memory:
    """Keeps the messages; every call moves the clock on, so that no limit is ever reached."""

    def __init__(self, statuses: list[int] | None = None) -> None:
        self.messages: dict[str, str] = {}
        self.now = 0.0
        self.calls = 0
        self._statuses = statuses or []

    def clock(self) -> float:
        return self.now

    async def original(self, token: str, message: Mapping[str, Any]) -> Reply:
        return self._put("1", message)

    async def follow_up(self, token: str, message: Mapping[str, Any]) -> Reply:
        return self._put(str(len(self.messages) + 1), message)

    async def edit(self, token: str, id: str, message: Mapping[str, Any]) -> Reply:
        return self._put(id, message)

    def _put(self, id: str, message: Mapping[str, Any]) -> Reply:
        self.calls += 1
        self.now += 2.0
        status = self._statuses.pop(0) if self._statuses else 200
        if status == 200:
            self.messages[id] = message["content"]
        return Reply(status, {}, {"id": id})


def delivery(memory: Memory, *, is_of_guild: bool = True) -> Delivery:
    question = Question("5", "token", "11", "why", "", is_private=False, is_of_guild=is_of_guild)
    return Delivery(memory, question, Quiet(), clock=memory.clock)  # pyright: ignore[reportArgumentType]


async def written(memory: Memory, text: str, note: str = "", **more: bool) -> list[str]:
    one = delivery(memory, **more)
    one.add(text)
    one.finish(note)
    async with asyncio.timeout(10):
        await one.run()
    return list(memory.messages.values())


async def test_a_model_that_says_nothing_is_quoted_so() -> None:
    assert await written(Memory(), " \n") == ["*The model has answered nothing.*"]


async def test_a_word_about_the_end_stands_behind_the_text_or_in_a_message_of_its_own() -> None:
    assert await written(Memory(), "Half", "*Stopped.*") == ["Half\n\n*Stopped.*"]
    assert await written(Memory(), "", "*Stopped.*") == ["*Stopped.*"]
    assert (await written(Memory(), "x" * 1991, "*Stopped.*"))[1:] == ["*Stopped.*"]


@pytest.mark.parametrize(("is_of_guild", "most"), [(True, 20), (False, 5)])
async def test_what_is_too_long_for_discord_is_cut_and_says_so(is_of_guild: bool, most: int) -> None:
    memory = Memory()
    one = delivery(memory, is_of_guild=is_of_guild)
    one.add("word " * 9000)
    assert one.is_full
    messages = await written(memory, "word " * 9000, is_of_guild=is_of_guild)
    assert len(messages) == most
    assert messages[-1].endswith("the rest is left out.*")
    assert all(len(each) <= 2000 for each in messages)


async def test_after_the_token_is_void_nothing_is_called_any_more(caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory()
    one = delivery(memory)
    assert one.ends_at < TOKEN_SECONDS
    memory.now = TOKEN_SECONDS
    one.add("too late")
    with caplog.at_level(logging.WARNING, "anyport.discord"):
        await one.run()
    assert (one.is_gone, memory.calls) == (True, 0)
    assert "an answer to interaction 5 is lost: its token is no longer good" in caplog.text


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_refusal_is_final(status: int) -> None:
    memory = Memory([status])
    one = delivery(memory)
    one.add("text")
    await one.run()
    assert (one.is_gone, memory.calls) == (True, 1)

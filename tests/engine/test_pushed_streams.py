"""Frames that go to the client from the moment in which they come: what is pushed, and what is left to be sent."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from gateway.engine.answer import SingleStream
from gateway.engine.pace import PACE_SECONDS
from gateway.routing.deployment import Limit, Waits
from tests.engine.doubles import END, MORE, PING, TEXT, Piece, Silence, Stage, dead
from tests.engine.fleet import Fleet

BROKEN = b"data: {]\n\n"


@dataclass
class Client:
    """Takes what is pushed, but every so many times cannot at once."""

    refuses_every: int = 1_000
    pushed: list[bytes] = field(default_factory=list[bytes])
    _asked: int = 0

    def __call__(self, frames: bytes) -> bool:
        self._asked += 1
        if self._asked % self.refuses_every == 0:
            return False
        self.pushed.append(frames)
        return True


async def begun(*pieces: Piece) -> SingleStream:
    stage = Stage()
    stream = await stage.run(stage.response(*pieces), stream=True)
    assert isinstance(stream, SingleStream)
    return stream


async def test_everything_but_the_last_frames_is_pushed() -> None:
    client = Client()
    stream = await begun(TEXT, MORE, PING, MORE, END)
    assert await stream.next(client) == END
    assert client.pushed == [MORE, PING, MORE]
    assert stream.is_said, "so whoever sends them knows that they are the last"
    assert (await stream.next(client), stream.error) == (b"", None)


@pytest.mark.parametrize("refuses_every", [1, 2, 3])
async def test_what_a_client_cannot_take_at_once_is_returned_in_its_place(refuses_every: int) -> None:
    client = Client(refuses_every)
    frames = [MORE.replace(b"hi", b"%d" % number) for number in range(10)]
    stream = await begun(TEXT, *frames, END)
    while left := await stream.next(client):
        client.pushed.append(left)
    assert client.pushed == [*frames, END]
    assert stream.error is None


async def test_frames_before_a_failure_in_the_same_piece_are_returned_and_the_failure_follows() -> None:
    client = Client()
    stream = await begun(TEXT, MORE, MORE + BROKEN)
    assert await stream.next(client) == MORE
    assert client.pushed == [MORE]
    assert not stream.is_said
    assert (await stream.next(client), stream.error and stream.error.code) == (b"", "upstream_invalid_event")


async def test_trouble_after_what_was_pushed_is_told() -> None:
    client = Client()
    stream = await begun(TEXT, MORE, dead())
    assert (await stream.next(client), stream.error and stream.error.code) == (b"", "upstream_disconnected")
    assert client.pushed == [MORE]


async def test_pushing_keeps_no_time_limit_away() -> None:
    assert "no content within upstream.between_tokens_seconds" in await _broken(TEXT, MORE, *[Silence(25), PING] * 10)
    assert "upstream.total_seconds" in await _broken(TEXT, *[30.0, MORE] * 100)


async def test_what_crawls_is_ended_though_it_is_pushed() -> None:
    fleet = Fleet()
    crawling = fleet.response(TEXT, *[PACE_SECONDS + 1, MORE] * 2, END)
    waits = Waits(pace=Limit(100, "routes.r.timeouts.min_bytes_per_second"))
    fleet.add("a/m", crawling, waits=waits)
    stream = await fleet.run(stream=True)
    assert await stream.next(Client()) == b""
    assert "routes.r.timeouts.min_bytes_per_second" in stream.error.message
    await stream.aclose()


async def _broken(*pieces: Piece) -> str:
    stream = await begun(*pieces)
    assert await stream.next(Client()) == b""
    assert stream.error is not None
    return stream.error.message

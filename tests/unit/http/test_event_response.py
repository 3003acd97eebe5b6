"""The response that events go out in, without a network: heartbeats, the end, and listeners that never began."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.http.admin.door import Door
from gateway.http.admin.events import add_event_path
from gateway.http.ids import Ids
from gateway.secret import Secret
from gateway.telemetry.feed import Feed

KEY = Secret("the-key-of-the-operator")
SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "GET",
    "path": "/admin/events",
    "query_string": b"",
    "headers": [],
    "root_path": "",
}


class Client:
    """Takes what is sent, and leaves when it is told to."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.sent: list[dict[str, Any]] = []
        self.left = asyncio.Event()
        self._fails_at = fails_at

    @property
    def body(self) -> bytes:
        return b"".join(each.get("body", b"") for each in self.sent)

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if len(self.sent) == self._fails_at:
            raise OSError("the connection is gone")
        self.sent.append(message)

    async def until(self, text: bytes) -> None:
        async with asyncio.timeout(10):
            while text not in self.body:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)


def served(
    feed: Feed, client: Client, heartbeat_seconds: float = 15, key: Callable[[], Secret] = lambda: KEY
) -> asyncio.Task[None]:
    door = Door(Ids())
    add_event_path(door, feed, key, heartbeat_seconds)
    return asyncio.create_task(door.shell(dict(SCOPE), client.receive, client.send))


async def test_a_heartbeat_comes_while_nothing_happens() -> None:
    feed, client = Feed(), Client()
    serving = served(feed, client, heartbeat_seconds=0.02)
    await client.until(b": heartbeat\n\n: heartbeat\n\n")
    client.left.set()
    await serving
    assert not feed.is_heard


async def test_an_event_is_three_lines_and_the_end_follows_the_last_one() -> None:
    feed, client = Feed(wall=lambda: 0.0), Client()
    serving = served(feed, client)
    await client.until(b": listening\n\n")
    feed.tell("reload", {"why": "two\nlines"})
    feed.close()
    await serving
    event = b'event: reload\nid: 1\ndata: {"ts":"1970-01-01T00:00:00.000Z","why":"two\\nlines"}\n\n'
    assert client.body == b": listening\n\n" + event
    assert client.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_who_is_gone_before_the_first_byte_listens_no_more() -> None:
    feed, client = Feed(), Client(fails_at=0)
    await asyncio.wait([served(feed, client)])
    assert not feed.is_heard


async def test_who_came_with_a_former_key_hears_no_more() -> None:
    feed, client, keys = Feed(), Client(), [KEY]
    serving = served(feed, client, key=lambda: keys[-1])
    await client.until(b": listening\n\n")
    feed.tell("reload", {})
    await client.until(b"event: reload")
    keys.append(Secret("another-key-of-the-operator"))
    feed.tell("request", {})
    await serving
    assert b"event: request" not in client.body
    assert client.sent[-1]["more_body"] is False
    assert not feed.is_heard


async def test_who_came_with_a_key_that_stays_listens_on_after_a_reload_has_wiped_it_and_read_it_again() -> None:
    keys = [Secret("the-key-that-stays")]
    feed, client = Feed(), Client()
    serving = served(feed, client, key=lambda: keys[-1])
    await client.until(b": listening\n\n")
    keys.append(Secret("the-key-that-stays"))
    keys[0].wipe()
    feed.tell("request", {})
    await client.until(b"event: request")
    feed.close()
    await serving

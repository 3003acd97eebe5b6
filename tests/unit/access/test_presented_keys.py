"""What the endpoints learn about who is calling."""

from __future__ import annotations

from gateway.access.keys import ANONYMOUS, Caller, KeyCheck
from gateway.http.edge import Edge, Message, Receive, Scope, Send, Transaction
from gateway.http.ids import Ids
from gateway.secret import Secret
from gateway.telemetry.feed import Feed
from gateway.telemetry.metrics import Metrics

TEAM = Caller("team-a", frozenset({"gold"}))


async def _shell(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("the path is an endpoint's")


async def _ask(key: bytes) -> tuple[list[Caller], int]:
    """Returns whom the endpoint saw, and the status of the answer."""
    seen: list[Caller] = []
    sent: list[Message] = []

    async def endpoint(transaction: Transaction) -> None:
        seen.append(transaction.client_key)
        await transaction.respond(200, b"{}", [])

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    keys = KeyCheck([(Secret("sk-plain"), ANONYMOUS), (Secret("sk-team"), TEAM)])
    edge = Edge(
        posts={"/v1/x": endpoint},
        gets=(),
        shell=_shell,
        keys=keys,
        metrics=Metrics(),
        access_log=None,
        ids=Ids(),
        feed=Feed(),
    )
    scope: Scope = {"type": "http", "path": "/v1/x", "method": "POST", "headers": [(b"x-api-key", key)]}
    await edge(scope, receive, send)
    return seen, sent[0]["status"]


async def test_an_endpoint_sees_whose_key_was_presented() -> None:
    assert await _ask(b"sk-team") == ([TEAM], 200)


async def test_a_key_without_a_name_is_anonymous() -> None:
    assert await _ask(b"sk-plain") == ([ANONYMOUS], 200)


async def test_nobody_gets_past_with_an_unknown_key() -> None:
    assert await _ask(b"sk-other") == ([], 401)

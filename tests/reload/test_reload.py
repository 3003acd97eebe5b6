"""Another configuration while a real process serves: what it changes, what it keeps, and that nobody notices."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2

from tests.e2e.answers import completion, error, text_chunks
from tests.e2e.stage import Stage
from tests.reload.gateway import ADMIN_KEY, HELLO, UPSTREAM_KEYS, Start, environ, rss_bytes, settings, until
from tests.upstreams.scripted import Answer, Recorded, json_response, sse_response

RELOADS = 100
STREAM: Any = {"model": "main", "messages": HELLO, "stream": True}


def second(scripted: Stage, **more: Any) -> dict[str, Any]:
    return settings(scripted.url, routes={"main": {"deployments": [{"model": "second/m"}]}, **more})


def test_a_changed_file_serves_soon(start: Start, scripted: Stage) -> None:
    gateway = start()
    assert gateway.ask().headers["x-anyport-deployment"] == "first/m"
    gateway.write(second(scripted))
    until(lambda: gateway.ask().headers["x-anyport-deployment"] == "second/m")
    gateway.gateway.wait_for("the configuration was reloaded (the file has changed): routes: 1 changed (main)")
    assert gateway.metric("anyport_config_reloads_total", result="ok") == 1


def test_a_file_behind_links_that_are_swapped_is_noticed(start: Start, scripted: Stage) -> None:
    gateway = start()
    directory = gateway.directory
    for name, config in (("one", gateway.file.read_text()), ("two", "")):
        (directory / name).mkdir()
        (directory / name / "anyport.yaml").write_text(config)
    gateway.file.unlink()
    (directory / "data").symlink_to("one")
    gateway.file.symlink_to("data/anyport.yaml")
    other = start()  # its file is written as Kubernetes would mount it
    other.write(second(scripted))
    (directory / "two" / "anyport.yaml").write_text(other.file.read_text())
    (directory / "next").symlink_to("two")
    os.replace(directory / "next", directory / "data")
    until(lambda: gateway.ask().headers["x-anyport-deployment"] == "second/m")


def test_a_key_in_a_file_of_its_own_is_rotated_under_requests_that_are_under_way(start: Start, scripted: Stage) -> None:
    scripted.play(sse_response(text_chunks(*"abcdefghij"), gap_seconds=0.3))
    said = settings(scripted.url)["providers"]
    said["first"]["credentials"] = ["file:mounted/key"]
    gateway = start(providers=said, prepare=lambda directory: mount(directory, "one", UPSTREAM_KEYS[0]))
    with gateway.client.stream("POST", "/v1/chat/completions", json=STREAM) as answer:
        pieces = answer.iter_text()
        text = next(pieces)
        mount(gateway.directory, "two", UPSTREAM_KEYS[1])
        gateway.gateway.wait_for("(a file of a secret has changed): providers: 1 changed (first)")
        scripted.play(json_response(completion("Hi")))
        assert gateway.ask().status_code == 200
        assert scripted.last.headers["authorization"] == f"Bearer {UPSTREAM_KEYS[1]}"
        text += "".join(pieces)
    assert text.endswith("data: [DONE]\n\n")
    until(lambda: [record["attempts"] for record in gateway.records()] == [1, 1])


def mount(directory: Path, name: str, key: str) -> None:
    """Has the file `mounted/key` say another key, as Kubernetes has it: behind a link that is swapped."""
    mounted = directory / "mounted"
    (mounted / name).mkdir(parents=True)
    (mounted / name / "key").write_text(key)
    (mounted / name / "key").chmod(0o600)
    (mounted / "..data_tmp").symlink_to(name)
    os.replace(mounted / "..data_tmp", mounted / "..data")
    if not (mounted / "key").is_symlink():
        (mounted / "key").symlink_to("..data/key")


def test_a_broken_file_changes_nothing_and_its_lines_are_told(start: Start, scripted: Stage) -> None:
    gateway = start("--no-watch")
    gateway.write('server:\n  graze_seconds: 5\nroutes:\n  main: {deployments: [{model: "nobody/m"}]}\n')
    refused = gateway.reload()
    assert refused.status_code == 422
    assert refused.json()["error"]["details"]["faults"][0]["line"] == 2
    assert "anyport.yaml:2:3" in refused.json()["error"]["message"]
    gateway.hang_up()
    until(lambda: gateway.metric("anyport_config_reloads_total", result="failed") == 2)
    until(lambda: gateway.gateway.errors.count("anyport.yaml:2:3  server.graze_seconds") == 2)
    assert gateway.ask().headers["x-anyport-deployment"] == "first/m"
    gateway.file.unlink()
    assert "no such file" in gateway.reload().json()["error"]["message"]
    assert gateway.ask().status_code == 200
    since = gateway.metric("anyport_config_last_success_timestamp_seconds")
    gateway.write(second(scripted))
    assert gateway.reload().status_code == 200
    assert gateway.ask().headers["x-anyport-deployment"] == "second/m"
    assert gateway.metric("anyport_config_last_success_timestamp_seconds") > since


def test_what_changes_is_told_by_name_and_what_cannot_is_told_too(start: Start, scripted: Stage) -> None:
    gateway = start("--no-watch")
    said = second(scripted, new={"deployments": [{"model": "first/n"}]})
    del said["providers"]["first"]["credentials"][1]
    key = "client-canary-0123456789"
    said["server"] = {"grace_seconds": 7, "api_keys": [key, {"key": f"{key}-team", "name": "team-a"}]}
    said["upstream"] = {"total_seconds": 30}
    said["admin"] = {"port": 1, "key": f"{ADMIN_KEY}-new"}
    gateway.write(said)
    reloaded = gateway.reload()
    assert reloaded.status_code == 200, reloaded.text
    assert "canary" not in reloaded.text
    assert reloaded.json()["changes"] == {
        "routes": {"added": ["new"], "removed": [], "changed": ["main"]},
        "providers": {"added": [], "removed": [], "changed": ["first"]},
        "client_keys": {"added": ["team-a"], "removed": [], "changed": []},
        "nameless_keys_added": 1,
        "nameless_keys_removed": 0,
        "settings": ["upstream.total_seconds", "admin.key"],
        "needs_restart": ["server.grace_seconds", "admin.port"],
    }
    gateway.gateway.wait_for("only another start changes server.grace_seconds, admin.port")
    assert gateway.ask().status_code == 401
    gateway.client.headers["authorization"] = f"Bearer {key}"
    assert gateway.ask().status_code == 200
    assert gateway.reload().status_code == 401  # the admin's key is another one now


def test_doors_are_not_opened_by_a_reload(start: Start, scripted: Stage) -> None:
    key = "client-canary-0123456789"
    gateway = start("--no-watch", "--host", "0.0.0.0", server={"api_keys": [key]})
    gateway.client.headers["authorization"] = f"Bearer {key}"
    gateway.client.base_url = gateway.url.replace("0.0.0.0", "127.0.0.1")
    gateway.write(second(scripted))
    assert "no API key is there" in gateway.reload().json()["error"]["message"]
    assert gateway.ask().headers["x-anyport-deployment"] == "first/m"


def test_a_file_that_is_being_written_opens_nothing(start: Start, scripted: Stage) -> None:
    key = "client-canary-0123456789"
    gateway = start("--no-watch", server={"api_keys": [key]})
    (gateway.directory / "anyport.yaml").write_text("")
    assert "the file is empty" in gateway.reload().json()["error"]["message"]
    gateway.write(second(scripted))
    refusal = gateway.reload().json()["error"]["message"]
    assert "server.api_keys  the last API key is gone from the file" in refusal
    assert "canary" not in refusal
    assert gateway.ask().status_code == 401
    gateway.client.headers["authorization"] = f"Bearer {key}"
    assert gateway.ask().headers["x-anyport-deployment"] == "first/m"


def test_the_command_reloads_and_says_what_changed(start: Start, scripted: Stage) -> None:
    gateway = start("--no-watch")
    port = int(gateway.admin_url.rpartition(":")[2])
    said = second(scripted)
    said["admin"] = {"port": port, "key": ADMIN_KEY}
    gateway.write(said)
    command = [sys.executable, "-m", "gateway", "reload"]
    done = subprocess.run(command, cwd=gateway.directory, env=environ(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "routes: 1 changed (main)" in done.stdout
    assert gateway.ask().headers["x-anyport-deployment"] == "second/m"


def test_what_was_learned_is_kept(start: Start, scripted: Stage) -> None:
    def role(request: Recorded) -> Answer:
        if request.path.startswith("/first/"):
            return error(429, "Rate limit reached", headers=[("retry-after", "60")])
        return json_response(completion("Hi"))

    scripted.play(role)
    route: Any = {"deployments": [{"model": "first/m"}], "fallbacks": ["second/m"]}
    gateway = start("--no-watch", routes={"main": route})
    assert gateway.ask().headers["x-anyport-attempts"] == "3"
    gateway.write(settings(scripted.url, routes={"main": route, "more": route}))
    assert gateway.reload().status_code == 200
    for model in ("main", "more"):
        assert gateway.ask(model).headers["x-anyport-attempts"] == "1"  # both keys still rest
    assert gateway.metric("anyport_keys_resting", provider="first") == 2
    assert gateway.metric("anyport_requests_total") == 3


def test_connections_are_kept(start: Start, scripted: Stage) -> None:
    gateway = start("--no-watch")
    gateway.ask()
    gateway.write(settings(scripted.url, health={"consecutive_failures": 9}))
    assert gateway.reload().status_code == 200
    gateway.ask()
    assert len({request.connection for request in scripted.requests}) == 1


def test_streams_end_on_the_configuration_that_they_began_with(start: Start, scripted: Stage) -> None:
    scripted.play(sse_response(text_chunks(*"abcdefghij"), gap_seconds=0.3))
    gateway = start("--no-watch")
    with gateway.client.stream("POST", "/v1/chat/completions", json=STREAM) as answer:
        pieces = answer.iter_text()
        text = next(pieces)
        # Another upstream client, too: the stream's connection belongs to the old one.
        changed = second(scripted)
        changed["upstream"] = {"max_connections": 77}
        del changed["providers"]["first"]
        gateway.write(changed)
        assert gateway.reload().status_code == 200
        text += "".join(pieces)
    assert text.endswith("data: [DONE]\n\n")
    assert all(f'"content":"{piece}"' in text.replace(" ", "") for piece in "abcdefghij")
    until(lambda: [record["error"] for record in gateway.records()] == [None])


async def test_a_hundred_reloads_under_load_lose_nothing_and_leave_nothing(start: Start, scripted: Stage) -> None:
    def role(request: Recorded) -> Answer:
        if b'"stream":true' in request.body.replace(b" ", b""):
            return sse_response(text_chunks("a", "b", "c"), gap_seconds=0.02)
        return json_response(completion("Hi"))

    scripted.play(role)
    gateway = start("--no-watch")
    statuses: list[int] = []
    over = asyncio.Event()

    async def load(client: httpx2.AsyncClient, *, stream: bool) -> None:
        while not over.is_set():
            body = {"model": "main", "messages": HELLO, "stream": stream}
            answer = await client.post("/v1/chat/completions", json=body)
            assert not stream or answer.text.endswith("data: [DONE]\n\n"), answer.text
            statuses.append(answer.status_code)

    variants = [second(scripted), settings(scripted.url), second(scripted), settings(scripted.url)]
    variants[2]["upstream"] = {"max_connections": 50}
    sizes: list[int] = []
    async with httpx2.AsyncClient(base_url=gateway.url, timeout=30) as client, asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(load(client, stream=number % 2 == 0))
        for number in range(RELOADS):
            gateway.write(variants[number % len(variants)])
            reloaded = await asyncio.to_thread(gateway.reload)
            assert reloaded.status_code == 200, reloaded.text
            sizes.append(rss_bytes(gateway.pid))
        over.set()
    assert set(statuses) == {200}
    assert gateway.metric("anyport_config_reloads_total", result="ok") == RELOADS
    assert gateway.metric("anyport_requests_total") == len(statuses)
    assert gateway.metric("anyport_requests_in_flight") == 0
    assert sizes[-1] - sizes[RELOADS // 4] < 30_000_000, [size >> 20 for size in sizes]

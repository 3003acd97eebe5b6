"""The benchmark counts right and reads its own output; nothing here looks at how fast anything is."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench import report, wrk
from bench.bodies import StreamOrder, agent_body, chat_body, read_order, stream_body
from bench.client import Connection, Endpoint, closed_loop, open_streams, percentile, stream_loop
from bench.measure import Figure, above_direct, over_pass_through
from bench.processes import free_port, running, wait_for_port
from bench.upstream import Upstream, messages_frames, openai_frames, take_request
from bench.variants import Ports, anyport_config, installed_variants


@pytest.fixture
async def upstream() -> AsyncIterator[Endpoint]:
    openai, messages = openai_frames(), messages_frames()
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(openai, messages), "127.0.0.1", 0)
    yield Endpoint(server.sockets[0].getsockname()[1])
    server.close()


async def broken_server(answer: bytes) -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}]")
        writer.write(answer)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@pytest.mark.parametrize("size", [1_000, 20_000, 1_000_000])
def test_bodies_have_the_size_that_was_asked_for(size: int) -> None:
    body = chat_body(size)
    assert len(body) == size
    assert json.loads(body)["messages"][0]["role"] == "user"


def test_the_agent_body_has_400_messages_in_about_58_kilobytes() -> None:
    body = agent_body()
    assert len(json.loads(body)["messages"]) == 400
    assert 50_000 < len(body) < 66_000


def test_an_order_survives_its_way_in_a_request() -> None:
    order = StreamOrder(chunks=100, every_ms=5, hold=True)
    assert read_order(stream_body(order)) == order
    assert read_order(chat_body(1_000)) is None


def test_requests_are_taken_whole_whatever_their_framing() -> None:
    plain = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
    chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    for request in (plain, chunked):
        buffer = bytearray()
        for byte in request[:-1]:
            buffer.append(byte)
            assert take_request(buffer) is None
        buffer += request[-1:] + plain
        assert take_request(buffer) == (b"/", b"abc")
        assert buffer == plain


async def test_the_closed_loop_counts_every_answer(upstream: Endpoint) -> None:
    load = await closed_loop(upstream, chat_body(1_000), connections=3, seconds=0.1)
    assert load.requests == len(load.latencies) > 3
    assert load.errors == 0


async def test_the_closed_loop_counts_refusals_and_broken_answers_as_errors() -> None:
    for answer in (
        b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx",
        b"nonsense\r\n\r\n",
    ):
        server = await broken_server(answer)
        port = server.sockets[0].getsockname()[1]
        load = await closed_loop(Endpoint(port), chat_body(1_000), connections=1, seconds=0.05)
        server.close()
        assert load.requests == 0 and load.errors > 0


@pytest.mark.parametrize("every_ms", [0, 1])
async def test_streams_are_counted_chunk_by_chunk(upstream: Endpoint, every_ms: int) -> None:
    body = stream_body(StreamOrder(chunks=20, every_ms=every_ms))
    result = await stream_loop(upstream, body, parallel=3, seconds=0.03, chunks=20)
    assert result.streams >= 3 and result.errors == 0
    assert result.chunks == result.streams * 22  # with the finish chunk and the end mark
    assert len(result.first_chunks) == result.streams


async def test_a_stream_that_is_cut_short_is_an_error(upstream: Endpoint) -> None:
    body = stream_body(StreamOrder(chunks=5))
    result = await stream_loop(upstream, body, parallel=1, seconds=0.01, chunks=100)
    assert result.errors == result.streams > 0


async def test_held_streams_stay_open_after_their_first_chunk(upstream: Endpoint) -> None:
    body = stream_body(StreamOrder(chunks=1, hold=True))
    opened = await open_streams(upstream, body, count=7, batch=3)
    assert len(opened) == 7
    assert all(connection.chunks == 1 and not connection.is_closed for connection in opened)
    for connection in opened:
        connection.close()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_marks_are_counted_once_however_the_bytes_are_cut(size: int) -> None:
    data = b'data: {"a": "data"}\n\ndata: da data:\n\n: data\ndata: [DONE]\n\n'
    connection = Connection()
    for start in range(0, len(data), size):
        connection.on_body(data[start : start + size])
    assert connection.chunks == 3


def test_percentiles_are_taken_from_what_was_measured() -> None:
    values = [float(number) for number in range(100)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([], 0.5)) == (50.0, 99.0, 0.0)


def test_the_result_line_of_wrk_is_read() -> None:
    output = 'Running 1s test\nRESULT {"requests": 1000, "seconds": 2.5, "p50": 120.0, "p99": 900.0, "errors": 10}\n'
    load = wrk.parse(output)
    assert (load.requests, load.errors, load.seconds) == (990, 10, 2.5)
    assert load.percentile(0.99) == pytest.approx(0.0009)
    with pytest.raises(RuntimeError, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:1")


@pytest.mark.skipif(wrk.find_wrk() is None, reason="wrk is not installed")
async def test_wrk_posts_the_body_with_its_headers(tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        seen.append(head + await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    endpoint = Endpoint(server.sockets[0].getsockname()[1], (("authorization", "Bearer key"),))
    load = await wrk.run(endpoint, b'{"model": "x"}', connections=1, seconds=1, folder=tmp_path)
    server.close()
    assert load.requests > 0
    assert b"authorization: Bearer key" in seen[0] and seen[0].endswith(b'{"model": "x"}')


def figures() -> list[Figure]:
    return [
        Figure("direct", "JSON 1kB c=1 p50", "ms", 0.05),
        Figure("nginx", "JSON 1kB c=1 CPU/request", "us", 50.0),
        Figure("nginx", "JSON 1kB c=1 p50", "ms", 0.1),
        Figure("anyport", "JSON 1kB c=1 CPU/request", "us", 100.0),
        Figure("anyport", "JSON 1kB c=1 p50", "ms", 0.25),
        Figure("nginx", "JSON 1kB c=1 errors", "", 0),
        Figure("anyport", "JSON 1kB c=1 errors", "", 3),
        Figure("anyport", "JSON 1kB c=16 errors", "", 0),
    ]


def test_a_run_can_be_read_back_from_its_file(tmp_path: Path) -> None:
    paths = report.write(tmp_path / "results", "now", figures(), "text\n", {"cores": "2"})
    assert report.read(paths[0]) == figures()
    assert paths[1].read_text() == "text\n"


def test_the_table_has_ratios_to_nginx_and_shows_errors_only_where_there_are_some() -> None:
    lines = report.table(figures())
    cells = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines}
    assert cells["JSON 1kB c=1 CPU/request (us)"] == ["-", "50", "100 (x2)"]
    assert cells["JSON 1kB c=1 errors"] == ["-", "0", "3"]
    assert "JSON 1kB c=16 errors" not in cells
    assert len({len(line) for line in lines}) == 1


def test_a_variant_that_could_not_be_measured_is_named() -> None:
    text = report.markdown([], {"cores": "2"}, {"anyport": "Traceback ...\n  ended at start\n"})
    assert "NOT MEASURED anyport: ended at start" in text


def test_added_latency_is_over_no_proxy_at_all() -> None:
    added = {(figure.variant, figure.measure): figure.value for figure in above_direct(figures())}
    assert added == {
        ("nginx", "JSON 1kB c=1 p50 above direct"): pytest.approx(0.05),
        ("anyport", "JSON 1kB c=1 p50 above direct"): pytest.approx(0.2),
    }


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_process_is_measured_with_its_children_and_ended(tmp_path: Path) -> None:
    port = free_port()
    child = f"import http.server; http.server.HTTPServer(('127.0.0.1', {port}), None).serve_forever()"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]).wait()"
    with running("parent", [sys.executable, "-c", parent], tmp_path) as process:
        wait_for_port(port, process)
        assert process.rss_bytes() > 10_000_000  # two interpreters
        assert process.cpu_seconds() >= 0
        assert process.is_alive
    assert not process.is_alive
    deadline = time.monotonic() + 30
    while is_listening(port):  # a killed process lets go of its port a moment later
        assert time.monotonic() < deadline, "the child outlived its parent"


def test_a_process_that_fails_at_start_says_why(tmp_path: Path) -> None:
    with (
        running("broken", [sys.executable, "-c", "raise SystemExit('no such setting')"], tmp_path) as process,
        pytest.raises(RuntimeError, match="no such setting"),
    ):
        wait_for_port(free_port(), process)


def test_a_translated_request_is_measured_by_what_a_relayed_one_costs() -> None:
    figures = [
        Figure("anyport", "JSON CPU/request", "us", 100.0),
        Figure("anyport to Anthropic", "JSON CPU/request", "us", 150.0),
        Figure("anyport to Anthropic", "JSON p50", "ms", 3.0),
    ]
    found = over_pass_through(figures)
    assert [(each.variant, each.measure, each.value) for each in found] == [
        ("anyport to Anthropic", "JSON CPU/request over pass-through", 1.5)
    ]


def test_the_gateway_is_always_measured_and_its_file_has_both_routes() -> None:
    assert {"direct", "anyport"} <= {variant.name for variant in installed_variants()}
    config = anyport_config(Ports(json=1, stream=2), port=3)
    assert set(config["routes"]) == {"bench-json", "bench-stream"}  # type: ignore[call-overload]

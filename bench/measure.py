"""The paths that are measured, and what each gives. CPU time is the proxy's alone."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench import wrk
from bench.bodies import StreamOrder, agent_body, chat_body, stream_body
from bench.client import Endpoint, Load, closed_loop, open_streams, percentile, stream_loop
from bench.processes import Process
from bench.variants import PASS_THROUGH, TRANSLATED, Ports, Running, Variant

T = TypeVar("T")
_DIRECT = "direct"
_ADDED = ("JSON 1kB c=1 p50", "JSON 1kB c=1 p99", "SSE first chunk c=1 p50")
_FILES_PER_STREAM = 2
_SPARE_FILES = 200


@dataclass(frozen=True)
class Plan:
    """How long everything takes."""

    seconds: float = 3.0
    """Of each JSON load; wrk knows whole seconds only."""
    concurrency: tuple[int, ...] = (1, 16, 64)
    bodies: tuple[tuple[str, int], ...] = (("20kB", 16), ("agent", 16), ("1MB", 4))
    stream_seconds: float = 3.0
    """Of each stream load."""
    open_streams: int = 2_000
    settle_seconds: float = 1.0


QUICK = Plan(
    seconds=1.0,
    concurrency=(1, 64),
    bodies=(("agent", 16),),
    stream_seconds=1.0,
    open_streams=500,
    settle_seconds=0.3,
)


@dataclass(frozen=True)
class Figure:
    """One measured value."""

    variant: str
    measure: str
    unit: str
    value: float


def measure(variant: Variant, ports: Ports, folder: Path, plan: Plan) -> Iterator[Figure]:
    """Starts a variant, yields its figures, ends it. Failed requests are a figure too, so that none goes unseen."""

    def figure(name: str, unit: str, value: float) -> Figure:
        return Figure(variant.name, name, unit, value)

    if variant.help_command:
        yield figure("--help", "s", help_seconds(variant.help_command))
    with variant.start(ports, folder) as target:
        if target.start_seconds is not None:
            yield figure("first answer after start", "s", target.start_seconds)
        if target.process is not None:
            yield figure("memory idle", "MB", target.process.rss_bytes() / 1e6)
        # First, while the heap has no room left over from other loads.
        if variant.is_gateway and target.process is not None:
            yield from _rename(variant.name, _measure_open_streams(target, target.process, plan))
        yield from _rename(variant.name, _measure_json(target, folder, plan))
        yield from _rename(variant.name, _measure_streams(target, plan))
        if target.process is not None:
            yield figure("memory after load", "MB", target.process.rss_bytes() / 1e6)


_Row = tuple[str, str, float]


def _rename(variant: str, rows: Iterator[_Row]) -> Iterator[Figure]:
    for name, unit, value in rows:
        yield Figure(variant, name, unit, value)


def _measure_json(target: Running, folder: Path, plan: Plan) -> Iterator[_Row]:
    small = chat_body(1_000)
    _load(target.json, small, 16, 1.0, folder)  # fills pools and caches
    for connections in plan.concurrency:
        label = f"JSON 1kB c={connections}"
        cpu, load = _timed(target.process, target.json, small, connections, plan.seconds, folder)
        if cpu is not None:
            yield f"{label} CPU/request", "us", cpu
        yield f"{label} requests/s", "/s", load.requests / load.seconds
        yield f"{label} p50", "ms", load.percentile(0.5) * 1e3
        yield f"{label} p99", "ms", load.percentile(0.99) * 1e3
        yield f"{label} errors", "", load.errors
    sizes = {"20kB": chat_body(20_000), "agent": agent_body(), "1MB": chat_body(1_000_000)}
    for name, connections in plan.bodies:
        cpu, load = _timed(target.process, target.json, sizes[name], connections, plan.seconds, folder)
        label = f"JSON {name} c={connections}"
        if cpu is not None:
            yield f"{label} CPU/request", "us", cpu
        yield f"{label} p50", "ms", load.percentile(0.5) * 1e3
        yield f"{label} errors", "", load.errors


def _timed(
    process: Process | None, endpoint: Endpoint, body: bytes, connections: int, seconds: float, folder: Path
) -> tuple[float | None, Load]:
    """Returns CPU microseconds per answered request, and the load."""
    before = process.cpu_seconds() if process else 0.0
    load = _load(endpoint, body, connections, seconds, folder)
    if process is None or not load.requests:
        return None, load
    return (process.cpu_seconds() - before) / load.requests * 1e6, load


def _load(endpoint: Endpoint, body: bytes, connections: int, seconds: float, folder: Path) -> Load:
    if wrk.find_wrk():
        return _run(wrk.run(endpoint, body, connections=connections, seconds=seconds, folder=folder))
    return _run(closed_loop(endpoint, body, connections=connections, seconds=seconds))


def _measure_streams(target: Running, plan: Plan) -> Iterator[_Row]:
    # Burst: everything in one write of the upstream, so that the cost of events is seen without that of packets.
    for name, order in (
        ("SSE 5 ms apart", StreamOrder(chunks=100, every_ms=5)),
        ("SSE at once", StreamOrder(chunks=100)),
    ):
        before = target.process.cpu_seconds() if target.process else 0.0
        body, seconds = stream_body(order), plan.stream_seconds
        result = _run(stream_loop(target.stream, body, parallel=32, seconds=seconds, chunks=order.chunks))
        whole = result.streams - result.errors
        if target.process is not None and whole:
            cpu = target.process.cpu_seconds() - before
            yield f"{name} c=32 CPU/chunk", "us", cpu / (whole * order.chunks) * 1e6
        yield f"{name} c=32 errors", "", result.errors
    short = stream_body(StreamOrder(chunks=2, every_ms=5))
    result = _run(stream_loop(target.stream, short, parallel=1, seconds=plan.stream_seconds / 2, chunks=2))
    yield "SSE first chunk c=1 p50", "ms", percentile(result.first_chunks, 0.5) * 1e3


def _measure_open_streams(target: Running, process: Process, plan: Plan) -> Iterator[_Row]:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = min(plan.open_streams, (files - _SPARE_FILES) // _FILES_PER_STREAM)
    before = process.rss_bytes()

    async def hold() -> tuple[int, int]:
        body = stream_body(StreamOrder(chunks=1, hold=True))
        opened = await open_streams(target.stream, body, count=count)
        await asyncio.sleep(plan.settle_seconds)
        resident = process.rss_bytes()
        for connection in opened:
            connection.close()
        await asyncio.sleep(plan.settle_seconds)
        return len(opened), resident

    opened, resident = _run(hold())
    if opened:
        yield f"memory per open stream ({count:,})", "kB", (resident - before) / opened / 1e3
    yield f"memory per open stream ({count:,}) errors", "", count - opened


def _run(work: Coroutine[object, object, T]) -> T:
    """Runs on uvloop where it is installed: the client's own time is latency that is not the proxy's."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        from asyncio import new_event_loop
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)


def above_direct(figures: Sequence[Figure]) -> list[Figure]:
    """Returns what each variant adds to the latency of one request at a time, over no proxy at all."""
    direct = {figure.measure: figure.value for figure in figures if figure.variant == _DIRECT}
    return [
        Figure(figure.variant, f"{figure.measure} above direct", figure.unit, figure.value - direct[figure.measure])
        for figure in figures
        if figure.measure in _ADDED and figure.variant != _DIRECT and figure.measure in direct
    ]


def over_pass_through(figures: Sequence[Figure]) -> list[Figure]:
    """Returns how many times the CPU of a relayed request or chunk a translated one costs."""
    relayed = {figure.measure: figure.value for figure in figures if figure.variant == PASS_THROUGH}
    return [
        Figure(TRANSLATED, f"{figure.measure} over pass-through", "", figure.value / relayed[figure.measure])
        for figure in figures
        if figure.variant == TRANSLATED and "CPU" in figure.measure and relayed.get(figure.measure)
    ]


def help_seconds(command: tuple[str, ...], runs: int = 3) -> float:
    """Returns the fastest of a few runs of `command`; raises RuntimeError if it fails."""
    best = float("inf")
    for _ in range(runs):
        started = time.perf_counter()
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        best = min(best, time.perf_counter() - started)
        if done.returncode != 0 or not done.stdout:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.decode(errors='replace')[-500:]}")
    return best


def raise_file_limit() -> None:
    """Lets this process and its children open as many files as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def machine() -> dict[str, str]:
    """Returns what figures depend on."""
    cpu = "unknown"
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    load = os.getloadavg()[0]
    return {
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "load before": f"{load:.2f}",
        "load generator": "wrk" if wrk.find_wrk() else "bundled",
    }

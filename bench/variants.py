"""What is measured: how each proxy is configured and started. Each serves one worker on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.bodies import JSON_MODEL, STREAM_MODEL, answer_body, chat_body, messages_answer
from bench.client import Connection, Endpoint
from bench.processes import Process, free_port, running, wait_for_port

_KEY = "bench-key-0123456789abcdef"
PASS_THROUGH = "anyport"
TRANSLATED = "anyport to Anthropic"
_BEARER = (("authorization", f"Bearer {_KEY}"),)


@dataclass(frozen=True)
class Ports:
    """Where the upstreams listen."""

    json: int
    stream: int


@dataclass(frozen=True)
class Running:
    """A variant that answers. `process` is None where there is no proxy to measure."""

    json: Endpoint
    stream: Endpoint
    process: Process | None
    start_seconds: float | None = None
    """From the command to its first whole answer."""


Starter = Callable[[Ports, Path], contextlib.AbstractContextManager[Running]]


@dataclass(frozen=True)
class Variant:
    """One column of the table."""

    name: str
    start: Starter
    is_gateway: bool = False
    """Gateways are also measured for memory per open stream."""
    help_command: tuple[str, ...] = ()


def anyport_command(config: Path) -> list[str]:
    """Returns the command that serves the gateway."""
    return [sys.executable, "-m", "gateway", "serve", "--config", str(config)]


def anyport_config(ports: Ports, port: int, protocol: str = "openai") -> dict[str, object]:
    """Returns a file with two routes, a key for clients, and the access record written, to nowhere."""
    return {
        "server": {"host": "127.0.0.1", "port": port, "api_keys": [_KEY], "access_log": os.devnull},
        "providers": {
            "bench-a": _provider(ports.json, protocol),
            "bench-b": _provider(ports.stream, protocol),
        },
        "routes": {
            JSON_MODEL: {"deployments": [{"model": "bench-a/bench-upstream"}]},
            STREAM_MODEL: {"deployments": [{"model": "bench-b/bench-upstream"}]},
        },
        "discovery": {"enabled": False},
    }


def _provider(port: int, protocol: str) -> dict[str, object]:
    return {"protocol": protocol, "base_url": f"http://127.0.0.1:{port}/v1", "requires_credential": False}


def anyport_starter(protocol: str) -> Starter:
    """Returns the starter of the gateway as users run it, in front of an upstream that speaks `protocol`."""

    @contextlib.contextmanager
    def start(ports: Ports, folder: Path) -> Iterator[Running]:
        port = free_port()
        config = folder / f"anyport-{protocol}.yaml"
        config.write_text(yaml.safe_dump(anyport_config(ports, port, protocol)))
        with _serving(f"anyport-{protocol}", anyport_command(config), port, folder, _BEARER) as served:
            yield served

    return start


@contextlib.contextmanager
def start_direct(ports: Ports, folder: Path) -> Iterator[Running]:
    """No proxy at all: what the load and the upstreams can do."""
    yield Running(Endpoint(ports.json), Endpoint(ports.stream), None)


@contextlib.contextmanager
def start_nginx(ports: Ports, folder: Path) -> Iterator[Running]:
    """nginx as a plain reverse proxy with keep-alive upstreams."""
    json_port, stream_port = free_port(), free_port()
    config = folder / "nginx-proxy.conf"
    servers = _nginx_proxy("json", json_port, ports.json) + _nginx_proxy("stream", stream_port, ports.stream)
    config.write_text(_nginx_config(folder / "nginx-proxy", servers))
    with _serving("nginx", nginx_command(config), json_port, folder, stream_port=stream_port) as served:
        yield served


@contextlib.contextmanager
def start_haproxy(ports: Ports, folder: Path) -> Iterator[Running]:
    """haproxy as a plain reverse proxy with one thread."""
    json_port, stream_port = free_port(), free_port()
    config = folder / "haproxy.cfg"
    config.write_text(
        "global\n  nbthread 1\n  maxconn 8000\n"
        "defaults\n  mode http\n  http-reuse always\n  option http-no-delay\n  maxconn 8000\n"
        "  timeout connect 5s\n  timeout client 120s\n  timeout server 120s\n"
        f"listen json\n  bind 127.0.0.1:{json_port}\n  server up 127.0.0.1:{ports.json}\n"
        f"listen stream\n  bind 127.0.0.1:{stream_port}\n  server up 127.0.0.1:{ports.stream}\n"
    )
    command = [_find("haproxy") or "haproxy", "-db", "-f", str(config)]
    with _serving("haproxy", command, json_port, folder, stream_port=stream_port) as served:
        yield served


def litellm_starter(command: str) -> Starter:
    """Returns the starter of a LiteLLM proxy; `command` is how it is called, without its options."""

    @contextlib.contextmanager
    def start(ports: Ports, folder: Path) -> Iterator[Running]:
        port = free_port()
        config = folder / "litellm.yaml"
        models = [
            {
                "model_name": name,
                "litellm_params": {
                    "model": f"openai/{name}",
                    "api_base": f"http://127.0.0.1:{upstream}/v1",
                    "api_key": "none",
                },
            }
            for name, upstream in ((JSON_MODEL, ports.json), (STREAM_MODEL, ports.stream))
        ]
        config.write_text(yaml.safe_dump({"model_list": models, "general_settings": {"master_key": f"sk-{_KEY}"}}))
        full = [*shlex.split(command), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        headers = (("authorization", f"Bearer sk-{_KEY}"),)
        with _serving("litellm", full, port, folder, headers, seconds=60) as served:
            yield served

    return start


def peer_starter(name: str, url: str, pid: int) -> Starter:
    """Returns the starter of a gateway that already runs, with both bench models routed to fixed upstream ports."""
    port = int(url.rsplit(":", 1)[1].split("/", 1)[0])

    @contextlib.contextmanager
    def start(ports: Ports, folder: Path) -> Iterator[Running]:
        endpoint = Endpoint(port, _BEARER)
        yield Running(endpoint, endpoint, Process(name, pid, None, None))

    return start


def installed_variants() -> list[Variant]:
    """Returns what can run here, the floor first."""
    found = [Variant("direct", start_direct)]
    if _find("nginx"):
        found.append(Variant("nginx", start_nginx))
    if _find("haproxy"):
        found.append(Variant("haproxy", start_haproxy))
    help_command = (sys.executable, "-m", "gateway", "--help")
    found.append(Variant(PASS_THROUGH, anyport_starter("openai"), is_gateway=True, help_command=help_command))
    found.append(Variant(TRANSLATED, anyport_starter("anthropic"), is_gateway=True))
    if command := os.environ.get("BENCH_LITELLM"):
        found.append(Variant("litellm", litellm_starter(command), is_gateway=True))
    return found


@contextlib.contextmanager
def upstreams(folder: Path, *, json_port: int = 0, stream_port: int = 0) -> Iterator[Ports]:
    """Runs the raw stream server, and nginx with a canned answer (or the raw server again) for JSON."""
    ports = Ports(json_port or free_port(), stream_port or free_port())
    with contextlib.ExitStack() as stack:
        if _find("nginx"):
            config = folder / "nginx-upstream.conf"
            config.write_text(_nginx_config(folder / "nginx-upstream", _nginx_canned(ports.json)))
            command = nginx_command(config)
        else:
            command = _raw_command(ports.json)
        json_server = stack.enter_context(running("upstream-json", command, folder))
        stream_server = stack.enter_context(running("upstream-stream", _raw_command(ports.stream), folder))
        wait_for_port(ports.json, json_server)
        wait_for_port(ports.stream, stream_server)
        yield ports


def nginx_command(config: Path) -> list[str]:
    """Returns nginx in the foreground as a single process."""
    return [_find("nginx") or "nginx", "-c", str(config), "-p", str(config.parent), "-e", "stderr"]


@contextlib.contextmanager
def _serving(
    name: str,
    command: list[str],
    port: int,
    folder: Path,
    headers: tuple[tuple[str, str], ...] = (),
    *,
    stream_port: int | None = None,
    seconds: float = 30.0,
) -> Iterator[Running]:
    started = time.perf_counter()
    with running(name, command, folder) as process:
        wait_for_port(port, process, seconds=seconds)
        endpoint = Endpoint(port, headers)
        asyncio.run(_first_answer(endpoint, process, seconds))
        took = time.perf_counter() - started
        yield Running(endpoint, Endpoint(stream_port or port, headers), process, took)


async def _first_answer(endpoint: Endpoint, process: Process, seconds: float) -> None:
    request = endpoint.request(chat_body(1_000))
    deadline = time.monotonic() + seconds
    status = 0
    while time.monotonic() < deadline and process.is_alive:
        with contextlib.suppress(OSError):
            connection = await Connection.open(endpoint.port)
            is_good = await connection.exchange(request)
            status = connection.status
            connection.close()
            if is_good:
                return
        await asyncio.sleep(0.005)
    raise RuntimeError(f"{process.name} gave no answer, last status {status}: {process.errors()}")


def _raw_command(port: int) -> list[str]:
    return [sys.executable, "-m", "bench.upstream", str(port)]


def _find(program: str) -> str | None:
    """Looks in the system directories too, which are not on every user's path."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/sbin")


def _nginx_config(folder: Path, servers: str) -> str:
    folder.mkdir(exist_ok=True)
    temporary = "".join(
        f"  {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        "daemon off;\nmaster_process off;\nworker_rlimit_nofile 20000;\n"
        f"pid {folder}/pid;\nerror_log stderr crit;\nevents {{ worker_connections 16000; }}\n"
        "http {\n  access_log off;\n  keepalive_requests 100000000;\n"
        "  client_max_body_size 8m;\n  client_body_buffer_size 2m;\n"
        f"{temporary}{servers}}}\n"
    )


def _nginx_canned(port: int) -> str:
    answers = {"/": answer_body().decode(), "/v1/messages": messages_answer().decode()}
    locations = "".join(
        f"    location {path} {{\n      default_type application/json;\n      return 200 '{answer}';\n    }}\n"
        for path, answer in answers.items()
    )
    return f"  server {{\n    listen 127.0.0.1:{port} backlog=4096;\n{locations}  }}\n"


def _nginx_proxy(name: str, port: int, upstream: int) -> str:
    return (
        f"  upstream {name} {{\n    server 127.0.0.1:{upstream};\n    keepalive 256;\n"
        "    keepalive_requests 100000000;\n  }\n"
        f"  server {{\n    listen 127.0.0.1:{port} backlog=4096;\n    location / {{\n"
        f"      proxy_pass http://{name};\n      proxy_http_version 1.1;\n"
        '      proxy_set_header Connection "";\n      proxy_read_timeout 120s;\n    }\n  }\n'
    )

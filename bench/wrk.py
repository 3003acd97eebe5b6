"""wrk as load generator: a Lua script for the request, and its own numbers as one JSON line."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

from bench.client import Endpoint, Load

_SCRIPT = """\
local file = io.open("%(body)s", "rb")
wrk.method = "POST"
wrk.body = file:read("*all")
file:close()
%(headers)s
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests": %%d, "seconds": %%.6f, "p50": %%.3f, "p99": %%.3f, "errors": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


class LoadSummary(Load):
    """A `Load` whose percentiles wrk has already computed."""

    def __init__(self, seconds: float, requests: int, errors: int, p50: float, p99: float) -> None:
        super().__init__(seconds, requests, errors)
        self._percentiles = {0.5: p50, 0.99: p99}

    def percentile(self, share: float) -> float:
        return self._percentiles[share]


def find_wrk() -> str | None:
    """Returns the path of wrk, None if it is not installed."""
    return shutil.which("wrk")


def script(endpoint: Endpoint, body_file: Path) -> str:
    """Returns the Lua script that posts the body in `body_file`."""
    fields = {"content-type": "application/json", **dict(endpoint.headers)}
    headers = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in fields.items())
    return _SCRIPT % {"body": body_file, "headers": headers}


def parse(output: str) -> LoadSummary:
    """Reads the result line; raises RuntimeError with wrk's output if there is none."""
    for line in output.splitlines():
        if line.startswith("RESULT "):
            found = json.loads(line.removeprefix("RESULT "))
            served = found["requests"] - found["errors"]
            return LoadSummary(
                found["seconds"], max(served, 0), found["errors"], found["p50"] / 1e6, found["p99"] / 1e6
            )
    raise RuntimeError(f"wrk gave no result: {output[-500:]}")


async def run(endpoint: Endpoint, body: bytes, *, connections: int, seconds: float, folder: Path) -> LoadSummary:
    """Runs wrk with one thread."""
    body_file, lua = folder / "wrk-body.json", folder / "wrk.lua"
    body_file.write_bytes(body)
    lua.write_text(script(endpoint, body_file))
    process = await asyncio.create_subprocess_exec(
        find_wrk() or "wrk",
        *("-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s", "--latency", "--timeout", "30s"),
        *("-s", str(lua), endpoint.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds + 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return parse(output.decode(errors="replace"))

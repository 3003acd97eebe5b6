"""What a process has in memory stays there: no core dump, and no look into it by another process of its user."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.process import clean_environ
from tests.faults.stage import running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux says so in /proc")
PROBE = """
import ctypes, resource
from gateway.cli.serving.privacy import keep_memory_private
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
ask = lambda: (ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[0])
before = ask()
keep_memory_private()
keep_memory_private()
print(before[0], *ask())
"""
PR_GET_DUMPABLE = "1 0 0"


def test_a_process_that_asks_for_it_can_neither_be_dumped_nor_looked_into() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], env=clean_environ({}), capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == PR_GET_DUMPABLE, done.stderr


async def test_a_gateway_leaves_no_core_dump(tmp_path: Path) -> None:
    async with running(tmp_path, {"discovery": {"enabled": False}}) as gateway:
        assert core_limit(gateway.pid) == "0"


async def test_no_process_of_its_user_reads_the_environment_of_a_gateway(tmp_path: Path) -> None:
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root reads everything, and there is no setpriv to be less than root")
    less = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    canary = "environment-canary-0123456789"
    async with running(tmp_path, {"discovery": {"enabled": False}}, {"SOME_KEY": canary}) as gateway:
        looking = await asyncio.create_subprocess_exec(
            *less, "cat", f"/proc/{gateway.pid}/environ", stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        said, _ = await looking.communicate()
        assert looking.returncode != 0
        assert canary.encode() not in said


def core_limit(pid: int) -> str:
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (core,) = (line.split() for line in limits if line.startswith("Max core file size"))
    return core[4]

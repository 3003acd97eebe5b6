"""What the documentation says is so: its blocks run, its links lead somewhere, its tables leave nothing out."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.process import GatewayProcess, clean_environ, start_gateway

ROOT = Path(__file__).parents[1]
README_URL = "http://127.0.0.1:8484"
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of the README and the line on which it begins."""

    language: str
    text: str
    line: int


def blocks(language: str) -> list[Block]:
    """Returns the README's blocks of one language."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = [Block(m[1], m[2], text.count("\n", 0, m.start()) + 1) for m in _FENCE.finditer(text)]
    return [block for block in found if block.language == language]


def name_of(block: Block) -> str:
    return f"line-{block.line}"


SHELL = [block for block in blocks("sh") if block.text.startswith("curl ")]
PYTHON = blocks("python")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway without a file, as `make serve` starts it on a machine without keys or model servers."""
    process = start_gateway(tmp_path_factory.mktemp("docs"), config={"discovery": {"enabled": False}})
    process.wait_until_ready()
    yield process
    assert process.stop() == 0


def run(command: list[str], directory: Path, **environ: str) -> str:
    """Returns what a command printed; fails unless it exits with 0 and says nothing on stderr."""
    done = subprocess.run(
        command, cwd=directory, env=clean_environ(environ), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def test_every_block_of_the_readme_is_of_a_kind_that_is_tested() -> None:
    tested = [*SHELL, *PYTHON, *blocks("yaml")]
    rest = [block.text for block in blocks("sh") if block not in tested]
    assert len(tested) >= 6
    assert rest[0] == "make serve\n"
    assert rest[1].splitlines()[-1] == ".venv/bin/anyport check"
    assert len(rest) == 2
    fences = (ROOT / "README.md").read_text(encoding="utf-8").count("\n```")
    assert fences == 2 * (len(tested) + len(rest))


def test_make_serve_starts_the_gateway(tmp_path: Path) -> None:
    said = run(["make", "-n", "-C", str(ROOT), "serve", "ARGS=--port 1"], tmp_path)
    assert ".venv/bin/anyport serve --port 1" in said


@pytest.mark.parametrize("block", SHELL, ids=name_of)
def test_a_shell_block_of_the_readme_works(block: Block, gateway: GatewayProcess, tmp_path: Path) -> None:
    assert README_URL in block.text
    said = run(["bash", "-euo", "pipefail", "-c", block.text.replace(README_URL, gateway.url)], tmp_path)
    if "/v1/models" in block.text:
        assert '"id":"demo/echo"' in said
    else:
        assert '"content":"Hello!"' in said
        assert ("data: [DONE]" in said) == ('"stream": true' in block.text)


@pytest.mark.parametrize("block", PYTHON, ids=name_of)
def test_a_python_block_of_the_readme_works(block: Block, gateway: GatewayProcess, tmp_path: Path) -> None:
    assert README_URL in block.text
    said = run([sys.executable, "-W", "error", "-c", block.text.replace(README_URL, gateway.url)], tmp_path)
    assert said.strip() == "Hello!"


def test_the_configuration_of_the_readme_passes_the_check_that_follows_it(tmp_path: Path) -> None:
    (file,) = blocks("yaml")
    (tmp_path / "anyport.yaml").write_text(file.text)
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])
    check = next(block.text for block in blocks("sh") if "anyport check" in block.text)
    said = run(["bash", "-euo", "pipefail", "-c", check], tmp_path)
    assert said.startswith("anyport.yaml: ok\n")
    assert "must present the key" in said
    assert "groq/llama-3.3-70b-versatile" in said
    assert "a-long-random-text" not in said


def test_a_port_that_cannot_be_is_a_fault_of_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gateway", "serve", "--port", "70000"]
    done = subprocess.run(command, cwd=tmp_path, env=clean_environ({}), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "command line  port  must be at most 65535, got 70000\n")

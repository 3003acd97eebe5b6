"""The Dockerfile takes what is there and locked, and its health check tells whether a gateway lives."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.deploy.files import ROOT
from tests.e2e.process import clean_environ, start_gateway
from tests.state.server import free_port

DOCKERFILE = (ROOT / "Dockerfile").read_text()
_PINNED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def locked(name: str) -> dict[str, str]:
    """Returns package -> version of a lock file."""
    return dict(_PINNED.findall((ROOT / "requirements" / f"{name}.txt").read_text()))


def health_check() -> list[str]:
    found = re.search(r"^HEALTHCHECK .* CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found is not None
    return json.loads(found[1])


def test_everything_that_is_copied_is_let_in() -> None:
    sources = [
        word.rstrip("/")
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(sources) == sorted(let_in)
    assert all((ROOT / source).exists() for source in sources)
    assert (ROOT / ".dockerignore").read_text().startswith("*\n")


def test_the_container_holds_the_versions_that_are_tested_each_with_its_digests() -> None:
    text = (ROOT / "requirements" / "image.txt").read_text()
    image, tested = locked("image"), locked("dev")
    assert {name: version for name, version in image.items() if tested.get(name) != version} == {}
    for block in re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in block, block.splitlines()[0]
    assert not re.search(r"https?://|^--(?!hash)", text, flags=re.MULTILINE)
    assert DOCKERFILE.count('"--require-hashes"') == 2


def test_the_container_holds_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {re.split(r"[^a-z0-9-]", each)[0] for packages in extras.values() for each in packages}
    assert {"redis", "asyncpg"} <= names <= set(locked("image"))


def test_it_needs_neither_root_nor_a_shell() -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 65532:65532$", final, re.MULTILINE)
    assert re.search(r"^STOPSIGNAL SIGTERM$", final, re.MULTILINE)
    assert "\nRUN " not in final
    for instruction in ("ENTRYPOINT", "CMD"):
        assert re.search(rf"^{instruction} \[", final, re.MULTILINE)


def test_its_health_check_tells_a_gateway_that_lives_from_one_that_does_not(tmp_path: Path) -> None:
    def check(port: int) -> int:
        program, *arguments = health_check()
        assert program == "python"
        asked = [argument.replace(":8484/", f":{port}/") for argument in arguments]
        assert asked != arguments
        # A proxy of the environment is not for this.
        environ = clean_environ({"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"})
        done = subprocess.run([sys.executable, *asked], env=environ, capture_output=True, timeout=60)
        return done.returncode

    config = {"discovery": {"enabled": False}, "storage": {"directory": str(tmp_path / "data")}}
    gateway = start_gateway(tmp_path, config=config)
    port = int(gateway.wait_until_ready().rpartition(":")[2])
    assert check(port) == 0
    assert gateway.stop() == 0, gateway.errors
    assert check(free_port()) != 0

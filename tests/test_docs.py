"""What the documentation says is so: its blocks run, its links lead somewhere, its tables leave nothing out."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple, get_args, get_origin

import pytest
from pydantic import BaseModel

from adapters.failures import Failure, FailureKind
from gateway.cli.configuration import known_providers
from gateway.cli.exits import Exit
from gateway.cli.main import COMMANDS, GROUPS
from gateway.engine.client_errors import client_error
from gateway.errors import GatewayError
from gateway.settings.load import load_settings
from gateway.settings.model import Settings
from gateway.settings.provider import RulesRow
from gateway.telemetry.access_log import AccessRecord
from gateway.telemetry.families import FAMILIES
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


_INDENTED = re.compile(r"^    (?:server|providers|routes|upstream|discovery):.*\n(?:    .*\n)*", re.MULTILINE)


def snippets() -> Iterator[tuple[str, str]]:
    """Yields page and text of every piece of a configuration file, fenced or indented."""
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for piece in (*(m[2] for m in _FENCE.finditer(text) if m[1] == "yaml"), *_INDENTED.findall(text)):
            yield page.name, dedent(piece)


def test_every_piece_of_configuration_in_the_pages_is_accepted(tmp_path: Path) -> None:
    pieces = list(snippets())
    assert {"configuration.md", "quickstart.md", "providers-how-to.md"} <= {page for page, _ in pieces}
    for _, text in pieces:
        file = tmp_path / "anyport.yaml"
        file.write_text(text)
        variables = {name: f"a-long-random-text-{name}" for name in re.findall(r"\$\{([A-Z_]+)\}", text)}
        load_settings(file, variables, known_providers())


# --- tables


class Raised(NamedTuple):
    """An error code that a place in the code gives, and the status if it stands beside it."""

    code: str
    status: int | None
    where: str


_CODE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_UPSTREAM = re.compile(r"upstream_[a-z_]+")
_POSITIONS = {"Refused": (1, 0), "Refusal": (1, 0), "BadJson": (0, None), "_Answer": (2, 1)}
"""Call -> where among its arguments code and status stand."""


def codes_of(path: Path) -> Iterator[Raised]:
    """Yields what one module raises: `code="..."`, the calls above, and every text that begins with `upstream_`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            at, status_at = _POSITIONS.get(name, (None, None))
            reads_it = name == "FailureRule"  # a vendor's word, which no client of ours sees under a documented name
            given: list[ast.expr] = [word.value for word in node.keywords if word.arg == "code" and not reads_it]
            if at is not None and len(node.args) > at:
                given.append(node.args[at])
            status = constant(node.args[status_at]) if status_at is not None and len(node.args) > status_at else None
            for code in map(constant, given):
                if isinstance(code, str) and _CODE.fullmatch(code):
                    yield Raised(code, status if isinstance(status, int) else None, where)
        elif isinstance(node, ast.Constant) and _UPSTREAM.fullmatch(str(node.value)):
            yield Raised(str(node.value), None, where)


def constant(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def classes(base: type[GatewayError]) -> Iterator[type[GatewayError]]:
    for derived in base.__subclasses__():
        yield derived
        yield from classes(derived)


def rows(page: str) -> list[list[str]]:
    """Returns the cells of every table row of a page, without their backquotes."""
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]


def test_every_error_code_has_a_row_with_its_status() -> None:
    documented = {(int(cells[0]), cells[2]) for cells in rows("errors.md") if cells[0].isdigit()}
    codes = {code for _, code in documented}
    modules = [path for part in ("gateway", "adapters") for path in (ROOT / part).rglob("*.py")]
    raised = [each for path in modules for each in codes_of(path)]
    assert len(raised) > 60
    assert [each for each in raised if each.code not in codes] == []
    assert [each for each in raised if each.status and (each.status, each.code) not in documented] == []


def test_every_class_of_error_has_a_row_with_its_status_and_type() -> None:
    documented = {(int(cells[0]), cells[1], cells[2]) for cells in rows("errors.md") if cells[0].isdigit()}
    found = {(each.status, each.type, each.code) for each in classes(GatewayError) if each.code}
    assert len(found) > 10
    assert found - documented == set()


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind is not FailureKind.BAD_REQUEST])
def test_a_code_of_a_provider_takes_no_place_of_ours(kind: FailureKind) -> None:
    failure = Failure(kind, "said the provider", status=408, code="" if kind is FailureKind.CONNECT else "theirs")
    error = client_error(failure, deployment="a/b", message=failure.message)
    assert [str(error.status), error.type, error.code] in [cells[:3] for cells in rows("errors.md")]


def test_no_row_is_left_of_an_error_that_is_gone() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for part in ("gateway", "adapters") for path in (ROOT / part).rglob("*.py")
    )
    assert [cells[2] for cells in rows("errors.md") if cells[0].isdigit() and f'"{cells[2]}"' not in source] == []


def leaves(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Yields the dotted path of every setting that holds a value; providers' rows have a schema of their own."""
    for name, field in model.model_fields.items():
        if name == "providers":
            continue
        inner = list(models_in(field.annotation))
        kind = get_origin(field.annotation)
        if not inner or kind is list:
            yield f"{path}{name}"
        for each in inner:
            infix = ".NAME." if kind is dict else "[]." if kind is list else "."
            yield from leaves(each, f"{path}{name}{infix}")


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def test_every_setting_has_a_row_in_its_section() -> None:
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    sections = {m[1]: m[2] for m in re.finditer(r"^### `([^`]+)`\n(.*?)(?=^### |\Z)", page, re.MULTILINE | re.DOTALL)}
    settings = list(leaves(Settings))
    assert {"server.port", "routes.NAME.deployments[].model", "upstream.between_tokens_seconds"} <= set(settings)
    for setting in settings:
        section, _, name = setting.rpartition(".")
        assert f"\n| `{name}` |" in sections[section or name], setting


def test_every_rule_of_a_row_is_explained() -> None:
    explained = {cells[0] for cells in rows("providers-how-to.md")}
    assert set(RulesRow.model_fields) - explained == set()


def test_every_command_has_a_heading() -> None:
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    missing = [name for name in (*COMMANDS, *GROUPS) if f"\n## `anyport {name}`\n" not in page]
    assert missing == []


def test_every_exit_code_has_a_row() -> None:
    assert {cells[0] for cells in rows("cli.md")} >= {str(int(code)) for code in Exit}


def test_every_metric_has_a_row() -> None:
    assert {family.name for family in FAMILIES} - {cells[0] for cells in rows("metrics.md")} == set()


def test_every_key_of_an_access_record_has_a_row() -> None:
    explained = {cells[0] for cells in rows("operations.md")}
    assert set(AccessRecord.__struct_fields__) - explained == set()


def test_every_response_header_of_ours_has_a_row() -> None:
    explained = " ".join(cells[0] for cells in rows("operations.md"))
    sources = (ROOT / "gateway/http").rglob("*.py")
    used = {name for path in sources for name in re.findall(r'b"(x-anyport-[a-z-]+)"', path.read_text("utf-8"))}
    assert len(used) >= 3
    assert {name for name in used if name not in explained} == set()


# --- links

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def anchors(page: Path) -> set[str]:
    """Returns the anchors that a Markdown viewer gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_lists_every_page() -> None:
    listed = {cells[0].partition("]")[0].strip("[") for cells in rows("index.md")}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - listed == {"index.md"}


def test_every_setting_that_the_pages_name_exists() -> None:
    known = set(leaves(Settings))
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    sections = "|".join({name.partition(".")[0] for name in known} - {"integrations", "plugins", "routes"})
    named = set(re.findall(rf"`((?:{sections})\.[a-z_]+)`", text))
    assert len(named) > 40
    assert named - known == set()

"""What the source must not do, whoever changes it: each rule reads every module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(path for package in ("gateway", "adapters") for path in (ROOT / package).rglob("*.py"))
GIVES_A_SECRET = {"reveal", "reveal_after"}
NAMES_OF_SECRETS = {"presented", "secret", "password", "pepper", "credential", "api_key"}


@cache
def trees() -> dict[str, ast.AST]:
    """Returns every module by its path; all that collect tests would pay for it otherwise, whatever they run."""
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in FILES}


def nodes(kind: type[ast.AST], below: str = "") -> Iterator[tuple[str, ast.AST]]:
    for name, tree in trees().items():
        if name.startswith(below):
            for node in ast.walk(tree):
                if isinstance(node, kind):
                    yield f"{name}:{getattr(node, 'lineno', 0)}", node


def dotted(node: ast.AST) -> str:
    """Returns `a.b.c` for a chain of names, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else node.attr
    return ""


def is_secret(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in GIVES_A_SECRET or (
            node.func.attr in ("encode", "strip") and is_secret(node.func.value)
        )
    return isinstance(node, ast.Name | ast.Attribute) and dotted(node).rpartition(".")[2] in NAMES_OF_SECRETS


def is_harmless(node: ast.AST) -> bool:
    """Constants of our own, and None, tell nobody anything by the time that a comparison takes."""
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id.isupper())


def test_the_rules_see_the_source() -> None:
    assert len(trees()) > 200
    assert sum(1 for _ in nodes(ast.Compare)) > 500


def test_no_secret_is_compared_but_in_constant_time() -> None:
    found: list[str] = []
    for where, node in nodes(ast.Compare):
        assert isinstance(node, ast.Compare)
        sides = [node.left, *node.comparators]
        equal = any(type(each).__name__.endswith(("Eq", "In")) for each in node.ops)
        if equal and any(map(is_secret, sides)) and not any(map(is_harmless, sides)):
            found.append(where)
    assert [where for where in found if not where.startswith("gateway/settings/")] == []


def test_no_part_of_a_secret_stands_for_the_whole() -> None:
    found = [where for where, node in nodes(ast.Subscript) if isinstance(node, ast.Subscript) and is_secret(node.value)]
    (only,) = found
    assert only.startswith("gateway/access/secrets.py:"), "only the hint shows a beginning, of a key of ours"


FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "pickle.loads",
    "pickle.load",
    "marshal.loads",
    "shelve.open",
    "yaml.unsafe_load",
    "yaml.full_load",
    "yaml.load_all",
    "tempfile.mktemp",
    "copy.deepcopy",
}


def test_nothing_of_data_becomes_code() -> None:
    found = [
        where for where, node in nodes(ast.Call) if isinstance(node, ast.Call) and dotted(node.func) in FORBIDDEN_CALLS
    ]
    assert found == []
    for where, node in nodes(ast.Call):
        assert isinstance(node, ast.Call)
        if dotted(node.func) == "yaml.load":
            loaders = [dotted(each.value) for each in node.keywords if each.arg == "Loader"]
            assert all("Safe" in loader for loader in loaders) and loaders, where
        for each in node.keywords:
            assert each.arg != "shell" or not isinstance(each.value, ast.Constant), where


def test_only_modules_that_the_source_names_are_imported() -> None:
    for where, node in nodes(ast.Call):
        assert isinstance(node, ast.Call)
        if dotted(node.func) in ("import_module", "importlib.import_module"):
            assert isinstance(node.args[0], ast.Constant | ast.Name | ast.Attribute), (
                f"{where} imports what it puts together"
            )


def test_what_turns_bytes_into_objects_or_templates_is_not_imported() -> None:
    forbidden = {"pickle", "marshal", "shelve", "dill", "jinja2", "mako", "cloudpickle", "telnetlib", "xml"}
    found: list[str] = []
    for where, node in [*nodes(ast.Import), *nodes(ast.ImportFrom)]:
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [where for name in names if name.partition(".")[0] in forbidden]
    assert found == []


@pytest.mark.parametrize("name", ["text", "exec_driver_sql", "execute", "executemany", "literal_column"])
def test_no_statement_is_put_together_of_strings(name: str) -> None:
    found: list[str] = []
    for where, node in nodes(ast.Call, "gateway/storage/"):
        assert isinstance(node, ast.Call)
        if dotted(node.func).rpartition(".")[2] == name and node.args and is_made_of_strings(node.args[0]):
            found.append(where)
    assert found == []


def is_made_of_strings(node: ast.AST) -> bool:
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(each, ast.FormattedValue) for each in node.values)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Mod | ast.Add) and any(
            isinstance(each, ast.Constant) and isinstance(each.value, str) for each in ast.walk(node)
        )
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("format", "join")


def test_who_may_call_is_never_decided_by_a_url_that_the_client_wrote() -> None:
    found = [
        where
        for where, node in nodes(ast.Attribute, "gateway/http/")
        if isinstance(node, ast.Attribute)
        and dotted(node) in ("request.url", "request.base_url", "request.client.host")
    ]
    assert found == [], "scope['path'] is what is served; a URL is put together from the Host header"


def test_tls_is_verified_and_the_environment_chooses_no_proxy() -> None:
    for where, node in nodes(ast.Call):
        assert isinstance(node, ast.Call)
        for each in node.keywords:
            value = each.value.value if isinstance(each.value, ast.Constant) else None
            assert not (each.arg in ("verify", "check_hostname") and value is False), where
            assert not (each.arg == "trust_env" and value is True), where
        if dotted(node.func).endswith(("httpx2.AsyncClient", "httpx2.Client")):
            assert any(each.arg == "trust_env" for each in node.keywords), where
    found = [
        where for where, node in nodes(ast.Attribute) if isinstance(node, ast.Attribute) and node.attr == "CERT_NONE"
    ]
    assert found == []


OPENERS = {
    "gateway/access/desk.py": "shows a new key, once",
    "gateway/access/keys.py": "takes digests and lengths of the file's keys",
    "gateway/access/premises.py": "looks which kind of server a URL names",
    "gateway/access/secrets.py": "makes digests and hints of keys",
    "gateway/cli/admin_client.py": "sends the admin key to the admin API",
    "gateway/cli/batch/client.py": "sends the key of the client to the gateway",
    "gateway/cli/check.py": "says where the state is, without its password",
    "gateway/cli/db.py": "opens the database",
    "gateway/credentials/aws.py": "signs",
    "gateway/credentials/azure.py": "signs",
    "gateway/credentials/bearer.py": "puts a token on the wire",
    "gateway/credentials/codex.py": "asks for a token",
    "gateway/credentials/gemini_cli.py": "asks for a token",
    "gateway/credentials/login.py": "keeps tokens in the vault",
    "gateway/credentials/logins.py": "tells kinds of keys apart by their beginning",
    "gateway/credentials/minimax.py": "asks for a token",
    "gateway/credentials/resolve.py": "tells kinds of keys apart by their beginning",
    "gateway/credentials/scrub.py": "looks for secrets to take them out",
    "gateway/credentials/sign.py": "puts a key on the wire",
    "gateway/credentials/vault.py": "seals with the key of tokens",
    "gateway/engine/picture.py": "tells kinds of keys apart by their beginning",
    "gateway/integrations/discord/rest.py": "puts the bot's token on the wire",
    "gateway/runtime.py": "looks for passwords in URLs",
    "gateway/secret.py": "is the secret",
    "gateway/settings/provider.py": "checks how a key is written",
    "gateway/settings/scalars.py": "checks how a URL is written",
    "gateway/shared.py": "opens the database and the line to other replicas",
}


def test_only_modules_that_must_open_a_secret_do() -> None:
    found = {
        where.partition(":")[0]
        for where, node in nodes(ast.Call)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in GIVES_A_SECRET
    }
    assert found == set(OPENERS), "say in this file what the module needs the secret itself for"

"""The command line: check, providers, version, exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import COMMANDS, GROUPS, build_app

ROOT = Path(__file__).parents[3]
FILE = """\
server: {api_keys: ["${CLIENT_KEY}", "client-2"], port: 9000}
providers:
  groq: {credentials: ["${GROQ_A}", gsk_second]}
  my-vllm: {base_url: "http://127.0.0.1:8000/v1", requires_credential: false}
routes:
  fast: {deployments: [{model: groq/llama}, {model: my-vllm/llama}]}
"""
ENVIRON = {"CLIENT_KEY": "client-1", "GROQ_A": "gsk_first"}
SECRETS = ("client-1", "client-2", "gsk_first", "gsk_second")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory and an empty environment."""
    import os

    for name in os.environ:
        if name.startswith("ABI_") or name.endswith(("_KEY", "_TOKEN", "_URL", "_HOST")) or "ANYPORT" in name:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, text: str | None = None) -> Result:
    if text is not None:
        Path("anyport.yaml").write_text(text, encoding="utf-8")
    return CliRunner().invoke(build_app(), list(arguments), env=dict(ENVIRON))


def test_version_prints_the_version(directory: Path) -> None:
    assert re.fullmatch(r"anyport \d+\.\d+\.\d+\n", run("version").stdout)
    assert set(json.loads(run("version", "--json").stdout)) == {"version", "python", "platform"}


def test_check_without_a_file_says_so(directory: Path) -> None:
    result = run("check")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (
        0,
        "no file, all settings have their defaults: ok",
    )
    assert "need no key" in result.stdout


def test_check_refuses_to_serve_strangers_without_any_key_as_serve_does(directory: Path) -> None:
    result = run("check", text="server: {host: 0.0.0.0}\n")
    assert result.exit_code == 2
    assert "no API key is there, and other machines can reach 0.0.0.0" in result.stdout
    assert run("check", text="server: {host: 0.0.0.0, api_keys: [client-1]}\n").exit_code == 0
    assert run("check", "--allow-unauthenticated", text="server: {host: 0.0.0.0}\n").exit_code == 0
    (directory / ".anyport").mkdir()
    (directory / ".anyport" / "anyport.db").touch()
    assert run("check", text="server: {host: 0.0.0.0}\n").exit_code == 0, "keys may be there"


def test_check_reads_the_urls_of_storage_and_state_and_connects_to_neither(directory: Path) -> None:
    text = "storage: {{url: '{}'}}\nstate: {{url: '{}'}}\n"
    there = ("sqlite:///kept/a.db", "redis://user:canary-1@localhost:1/2")
    result = run("check", text=text.format(*there))
    assert result.exit_code == 0, result.output
    assert f"sqlite at {directory}/kept/a.db, not connected to now" in result.stdout
    assert "redis at localhost:1, not connected to now" in result.stdout
    assert "canary" not in result.output
    assert list(json.loads(run("check", "--json").stdout)["places"]) == ["storage.url", "state.url"]
    assert not (directory / "kept").exists()
    for wrong in (("mysql://canary-1@x/y", there[1]), (there[0], "redis://canary-1@")):
        result = run("check", text=text.format(*wrong))
        assert (result.exit_code, "canary" in result.output) == (2, False)
        assert re.search(r"anyport.yaml:\d+:\d+  (storage|state)\.url", result.stdout)


def test_check_prints_what_the_file_means_but_no_secret(directory: Path) -> None:
    result = run("check", text=FILE)
    assert result.exit_code == 0
    assert result.stdout.startswith("anyport.yaml: ok\n")
    assert "must present one of 2 keys" in result.stdout
    assert re.search(r"groq +https://api\.groq\.com/openai/v1 +2 from config\n", result.stdout)
    assert re.search(r"^fast +weighted +groq/llama, my-vllm/llama$", result.stdout, re.MULTILINE)
    assert not any(secret in result.output for secret in SECRETS)


def test_check_as_json_prints_one_document(directory: Path) -> None:
    result = run("check", "--json", text=FILE)
    summary = json.loads(result.stdout)
    assert (summary["ok"], summary["file"], summary["port"], summary["api_keys"]) == (True, "anyport.yaml", 9000, 2)
    assert summary["routes"] == {
        "fast": {
            "strategy": "weighted",
            "deployments": ["groq/llama", "my-vllm/llama"],
            "fallbacks": [],
            "left_out": [],
        }
    }
    assert [each["id"] for each in summary["providers"]] == ["groq", "my-vllm"]
    assert not any(secret in result.output for secret in SECRETS)


def test_check_prints_every_fault_and_exits_with_2(directory: Path) -> None:
    result = run("check", text="server: {prot: 1}\nroutes: {a: {deployments: [{model: groqq/x}]}}\n")
    assert result.exit_code == 2
    assert result.stdout.splitlines() == [
        "anyport.yaml:1:10  server.prot  unknown setting 'prot'; did you mean 'port'?",
        "anyport.yaml:2:36  routes.a.deployments.0.model  unknown provider 'groqq'; did you mean 'groq'?",
    ]


def test_check_as_json_prints_faults_as_well(directory: Path) -> None:
    result = run("check", "--json", text="server: {prot: 1}\n")
    assert result.exit_code == 2
    assert json.loads(result.stdout) == {
        "ok": False,
        "faults": [
            {
                "file": "anyport.yaml",
                "line": 1,
                "column": 10,
                "path": "server.prot",
                "message": "unknown setting 'prot'; did you mean 'port'?",
            }
        ],
    }


def test_a_fault_that_only_shows_when_everything_is_built_has_its_place(directory: Path) -> None:
    result = run("check", text="providers:\n  moonshot:\n    region: mars\n")
    assert result.exit_code == 2
    assert result.stdout.startswith("anyport.yaml:3:5  providers.moonshot  ")
    assert "`mars`" in result.stdout


def test_a_route_without_a_credential_is_a_warning_that_names_the_variable(directory: Path) -> None:
    result = run("check", text="routes:\n  v1.5:\n    deployments:\n      - model: openai/x\n")
    assert result.exit_code == 0
    assert "warning: route v1.5: openai has no credential; set OPENAI_API_KEY" in result.stdout


def test_check_shows_how_routes_choose_where_they_go_next_and_what_is_left_out(directory: Path) -> None:
    route = "{strategy: sticky, deployments: [{model: openai/x}, {model: demo/echo}], fallbacks: [demo/echo]}"
    text = f"routes: {{a: {route}}}\n"
    found = run("check", text=text)
    assert re.search(r"^a +sticky +openai/x, demo/echo +demo/echo +1 of 2$", found.stdout, re.MULTILINE), found.stdout
    routes = json.loads(run("check", "--json").stdout)["routes"]
    assert routes["a"]["fallbacks"] == ["demo/echo"]
    (reason,) = routes["a"]["left_out"]
    assert reason.startswith("openai has no credential; set OPENAI_API_KEY")


@pytest.mark.parametrize("model", ["demo/echo", "lm-studio/some-model", "ollama/llama3.2:3b"])
def test_check_knows_aliases_and_the_built_in_echo(directory: Path, model: str) -> None:
    result = run("check", text=f"routes: {{a: {{deployments: [{{model: '{model}'}}]}}}}\n")
    assert result.exit_code == 0, result.output


def test_the_file_may_be_named(directory: Path) -> None:
    Path("other.yaml").write_text(FILE, encoding="utf-8")
    assert run("check", "--config", "other.yaml").stdout.startswith("other.yaml: ok\n")


@pytest.mark.parametrize("command", [("check",), ("providers",), ("providers", "list"), ("providers", "show", "groq")])
def test_a_named_file_that_is_not_there_exits_with_2(directory: Path, command: tuple[str, ...]) -> None:
    result = run(*command, "--config", "none.yaml")
    assert result.exit_code == 2
    assert "none.yaml  no such file (named by --config)" in result.output


def test_every_command_exits_with_2_for_a_wrong_file(directory: Path) -> None:
    result = run("providers", text="server: {prot: 1}\n")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "anyport.yaml:1:10  server.prot" in result.stderr


@pytest.mark.parametrize("command", [("providers",), ("providers", "list")])
def test_providers_lists_the_usable_ones_first(directory: Path, command: tuple[str, ...]) -> None:
    result = run(*command, text=FILE)
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0].split() == ["PROVIDER", "NAME", "WHERE", "STATE", "CREDENTIALS", "BASE", "URL"]
    assert [line.split()[0] for line in lines[1:3]] == ["groq", "my-vllm"]
    assert not any(secret in result.output for secret in SECRETS)


def test_providers_as_json_names_all_of_them(directory: Path) -> None:
    listed = {each["id"]: each for each in json.loads(run("providers", "list", "--json", text=FILE).stdout)}
    assert len(listed) > 20
    assert (listed["groq"]["state"], listed["groq"]["credential_source"]) == ("ready", "config")
    assert listed["openai"]["state"] == "no credential"
    assert listed["ollama"]["state"] == "needs no credential"
    assert listed["cloudflare"]["state"] == "its base URL needs a variable"


@pytest.mark.parametrize("name", ["lmstudio", "lm-studio", "LM-Studio"])
def test_show_takes_ids_and_aliases_in_any_case(directory: Path, name: str) -> None:
    shown = json.loads(run("providers", "show", name, "--json").stdout)
    assert (shown["id"], shown["requires_credential"]) == ("lmstudio", False)
    assert "LM_STUDIO_API_KEY" in shown["credential_variables"]


def test_show_is_readable(directory: Path) -> None:
    lines = run("providers", "show", "groq", text=FILE).stdout.splitlines()
    pairs = dict(re.split(r"  +", line, maxsplit=1) for line in lines if "  " in line)
    assert pairs["base url"] == "https://api.groq.com/openai/v1"
    assert pairs["credential variables"] == "ABI_GROQ_API_KEY, GROQ_API_KEY"
    assert pairs["requires credential"] == "yes"


def test_headers_are_named_but_not_shown(directory: Path) -> None:
    text = "providers: {groq: {headers: {X-Team-Token: hidden-value}}}\n"
    result = run("providers", "show", "groq", "--json", text=text)
    assert "x-team-token" in json.loads(result.stdout)["headers"]
    assert "hidden-value" not in result.output


def test_show_of_an_unknown_provider_exits_with_1_and_a_hint(directory: Path) -> None:
    result = run("providers", "show", "opnai")
    assert result.exit_code == 1
    assert "no provider is called 'opnai'; did you mean openai" in result.stderr


@pytest.mark.parametrize("arguments", [("bogus",), ("check", "--bogus"), ("providers", "bogus"), ("providers", "show")])
def test_a_wrong_command_line_exits_with_2(directory: Path, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_every_command_is_documented() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [name for name in (*COMMANDS, *GROUPS) if f"## `anyport {name}`" not in page] == []


def test_help_names_every_command_and_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from gateway.cli.main import run\n"
        "sys.argv = ['anyport', '--help']\n"
        "try:\n    run()\n"
        "finally:\n    print('IMPORTED', *sorted(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    shown, _, imported = done.stdout.partition("IMPORTED ")
    assert all(re.search(rf"\b{name}\b", shown) for name in (*COMMANDS, *GROUPS))
    heavy = {"pydantic", "fastapi", "uvicorn", "httpx2", "yaml", "msgspec", "asyncio", "prometheus_client"}
    assert heavy.isdisjoint(imported.split())


def test_tables_fit_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from gateway.cli.output import print_table

    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    print_table(("A", "B"), [("x" * 15, "[red]" + "y" * 15)])
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 20
    assert "[red]" in "".join(lines)


def test_a_provider_that_points_at_the_gateway_itself_is_a_warning(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:8484/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-unused")
    result = run("check", text="server: {port: 8484}\n")
    assert result.exit_code == 0
    assert "warning: openai: its base URL http://localhost:8484/v1 (from env OPENAI_BASE_URL) is this" in result.stdout

"""`anyport explain` and `anyport keys upstream` without a running gateway."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import build_app
from gateway.engine.script import WORDS

FILE = """\
server: {api_keys: ["${CLIENT_KEY}"]}
providers:
  groq: {credentials: ["${GROQ_A}", gsk_second_canary]}
  my-vllm: {base_url: "http://127.0.0.1:9/v1", requires_credential: false}
routes:
  fast:
    strategy: ordered
    aliases: [quick]
    deployments:
      - {model: groq/llama, weight: 3, price: {input_usd_per_million: 0.5, output_usd_per_million: 1.5}}
      - {model: my-vllm/llama}
      - {model: openai/gpt-4.1}
    fallbacks: [spare]
    hedge: {after_seconds: 2, share: 1}
    mirror: {to: my-vllm/llama, share: 1}
  spare: {deployments: [{name: own, model: groq/other, keys: [gsk_own_canary]}], fallback_on: [timeout]}
"""
ENVIRON = {"CLIENT_KEY": "client-canary-1", "GROQ_A": "gsk_first_canary", "ANYPORT_CONFIG": ""}


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in os.environ:
        if name.startswith("ABI_") or name.endswith(("_KEY", "_TOKEN", "_URL", "_HOST")) or "ANYPORT" in name:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "anyport.yaml").write_text(FILE)
    return tmp_path


def run(*arguments: str, text: str | None = None) -> Result:
    environ = {name: value for name, value in ENVIRON.items() if value}
    result = CliRunner().invoke(build_app(), list(arguments), env=environ, input=text)
    assert "canary" not in result.output
    return result


def test_an_explanation_is_printed_for_people() -> None:
    result = run("explain", "quick", "--fail", "0=429:20,1=timeout", "--seed", "7")
    assert result.exit_code == 0
    said = result.stdout
    assert re.search(r"^model +quick \(alias of fast\)$", said, re.MULTILINE)
    assert re.search(r"^seed +7$", said, re.MULTILINE)
    assert re.search(r"^mirror +my-vllm/llama, 100% of the requests; copied$", said, re.MULTILINE)
    assert re.search(r"^hedge +after 2 s$", said, re.MULTILINE)
    assert re.search(r"^groq/llama +0 +3 +0\.5 in, 1\.5 out +- +0 +2 +ready$", said, re.MULTILINE)
    assert "left out: openai/gpt-4.1: openai has no credential; set OPENAI_API_KEY\n" in said
    assert "spare (weighted), takes over after any failure that is not the request's own\n" in said
    assert re.search(r"^0 +0\.00 s +groq/llama +1 of 2 +rate_limit 429: .*; key 1 rests for 20 s$", said, re.MULTILINE)
    assert re.search(r"^1 +0\.00 s +groq/llama +2 of 2 +timeout after 300 s: ", said, re.MULTILINE)
    assert re.search(r"^2 +300\.00 s +my-vllm/llama +1 of 1 +ok$", said, re.MULTILINE)
    assert re.search(r"^the client gets +200 from my-vllm/llama, 3 attempts, 300\.00 s$", said, re.MULTILINE)
    assert re.search(r"^answer +300 s +upstream\.answer_seconds$", said, re.MULTILINE)
    assert "\nPOST https://api.groq.com/openai/v1/chat/completions\n" in said
    assert "\nauthorization: Bearer ***\n" in said


def test_a_hedge_is_marked() -> None:
    said = run("explain", "fast", "--fail", "0=timeout").stdout
    assert re.search(r"^0 +0\.00 s +groq/llama +1 of 2 +lost$", said, re.MULTILINE)
    assert re.search(r"^1 +2\.00 s +my-vllm/llama +1 of 1 +ok; hedge$", said, re.MULTILINE)


def test_an_explained_failure_is_an_explanation() -> None:
    result = run("explain", "my-vllm/x", "--fail", "0=400")
    assert result.exit_code == 0
    assert re.search(r"^the client gets +400 invalid_request, 1 attempt, 0\.00 s$", result.stdout, re.MULTILINE)
    assert re.search(r"^x-should-retry +false$", result.stdout, re.MULTILINE)


def test_as_json_it_is_one_document_and_the_same_for_the_same_seed() -> None:
    first = run("explain", "fast", "--seed", "3", "--json", "--fail", "0=reset")
    told = json.loads(first.stdout)
    assert (told["kind"], told["seed"], told["steps"][0]["result"]) == ("route", 3, "connect")
    assert json.loads(run("explain", "fast", "--seed", "3", "--json", "--fail", "0=reset").stdout) == told


def test_without_a_seed_it_says_which_one_it_took() -> None:
    seeds = {json.loads(run("explain", "fast", "--json").stdout)["seed"] for _ in range(4)}
    assert len(seeds) > 1


def test_the_request_comes_from_a_file_or_from_standard_input(directory: Path) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "stream": True, "max_tokens": 9}
    (directory / "body.json").write_text(json.dumps(body))
    told = json.loads(run("explain", "fast", "--json", "--body", "body.json").stdout)
    assert (told["stream"], told["answer_tokens"]) == (True, 9)
    told = json.loads(run("explain", "fast", "--json", "--body", "-", text='{"input": "x"}').stdout)
    assert told["operation"] == "embeddings"


@pytest.mark.parametrize("script", ["0=later", "0=200", "first=429"])
def test_a_wrong_script_is_named_with_what_is_allowed(script: str) -> None:
    result = run("explain", "fast", "--fail", script)
    assert (result.exit_code, result.stdout) == (2, "")
    assert repr(script.partition("=")[2]) in result.stderr or repr(script) in result.stderr
    assert "0=429:20" in result.stderr or all(word in result.stderr for word in WORDS)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("fasst",), 1, "did you mean fast?"),
        (("openai/gpt-4.1",), 1, "openai has no credential; set OPENAI_API_KEY"),
        (("fast", "--body", "missing.json"), 2, "--body: missing.json cannot be read: no such file or directory"),
        (("fast", "--seed", "-1"), 2, "seed"),
        (("fast", "--live"), 1, "no admin API is configured; set admin.port and admin.key"),
        ((), 2, "MODEL"),
    ],
)
def test_what_cannot_be_explained_is_said_on_stderr(arguments: tuple[str, ...], code: int, said: str) -> None:
    result = run("explain", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr


@pytest.mark.parametrize("text", ["", "[]", "{", '{"messages": 1}', '{"x": 1}'])
def test_a_body_that_would_be_refused_is_refused(text: str) -> None:
    result = run("explain", "fast", "--body", "-", text=text)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr


def test_a_fault_of_the_file_is_told_with_its_place(directory: Path) -> None:
    (directory / "anyport.yaml").write_text("routes: {a: {deployments: [{model: 7}]}}\n")
    for command in (("explain", "a"), ("keys", "upstream")):
        result = run(*command)
        assert (result.exit_code, result.stderr.startswith("anyport.yaml:1:")) == (2, True)


def test_a_port_that_the_system_chooses_cannot_be_asked(directory: Path) -> None:
    (directory / "anyport.yaml").write_text('admin: {port: 0, key: "admin-canary"}\n')
    result = run("explain", "a", "--live")
    assert (result.exit_code, "admin.port is 0" in result.stderr) == (1, True)


def test_keys_are_listed_with_where_they_are_from() -> None:
    result = run("keys", "upstream")
    assert result.exit_code == 0
    lines = [re.split(r"  +", line) for line in result.stdout.splitlines()]
    assert lines[1:] == [
        ["groq", "1 of 2", "config", "ready", "0"],
        ["groq", "2 of 2", "config", "ready", "0"],
        ["groq (own)", "1 of 1", "config", "ready", "0"],
    ]
    assert result.stderr == (
        "from the configuration alone, since no admin API is configured; set admin.port and admin.key\n"
    )


def test_keys_as_json_say_who_told_them(directory: Path) -> None:
    (directory / "anyport.yaml").write_text("{}")
    told = json.loads(run("keys", "upstream", "--json").stdout)
    assert (told["from"], told["data"]) == ("configuration", [])
    assert "no admin API" in told["reason"]


def test_a_key_of_the_environment_is_named_by_its_variable(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "anyport.yaml").write_text("{}")
    monkeypatch.setenv("MISTRAL_API_KEY", "mistral-canary")
    (key,) = json.loads(run("keys", "upstream", "--json").stdout)["data"]
    assert (key["provider"], key["source"], key["deployment"]) == ("mistral", "env MISTRAL_API_KEY", "")

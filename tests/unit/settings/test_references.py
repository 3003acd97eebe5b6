"""Secrets of which the file says only where they are."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.settings.load import load_settings
from gateway.settings.model import Settings
from gateway.settings.secrets import secrets_in

KNOWN = {"groq": "groq", "openai": "openai"}
CANARY = "canary-0123456789abcdef"
ALLOWED = "credentials: {allow_commands: true, command_seconds: 5}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    secret = tmp_path / "secret"
    secret.write_text(CANARY + "\n")
    secret.chmod(0o600)
    return secret


def load(tmp_path: Path, text: str, **environ: str) -> Settings:
    path = tmp_path / "anyport.yaml"
    path.write_text(text)
    return load_settings(path, {"PATH": os.environ["PATH"], **environ}, KNOWN)


def fault(tmp_path: Path, text: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **environ)
    (only,) = caught.value.faults
    assert only.line
    assert CANARY not in str(only)
    return only.message


def groq(settings: Settings) -> tuple[str, str]:
    (key,) = settings.providers["groq"].credentials or ()
    return key.reveal(), key.source


def named(text: str) -> str:
    return f"providers: {{groq: {{credentials: ['{text}']}}}}\n"


def test_a_file_holds_a_secret_without_the_newline_at_its_end(tmp_path: Path, file: Path) -> None:
    assert groq(load(tmp_path, named(f"file:{file}"))) == (CANARY, f"file {file}")


def test_a_variable_of_the_environment_holds_one(tmp_path: Path) -> None:
    assert groq(load(tmp_path, named("env:MY_KEY"), MY_KEY="k-1")) == ("k-1", "env MY_KEY")


def test_a_command_prints_one_and_no_shell_reads_its_words(tmp_path: Path) -> None:
    settings = load(tmp_path, ALLOWED + named('cmd:printf "%s" "$$HOME;`x`"'))
    assert groq(settings) == ("$HOME;`x`", "cmd printf")


def test_no_command_runs_unless_the_file_allows_it(tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert "credentials.allow_commands" in fault(tmp_path, named(f"cmd:touch {made}"))
    assert not made.exists()


@pytest.mark.parametrize("scheme", ["file:", "env:", "cmd:", "literal:"])
def test_a_key_that_begins_so_is_written_behind_literal_or_in_a_variable(tmp_path: Path, scheme: str) -> None:
    assert groq(load(tmp_path, named(f"literal:{scheme}x"))) == (f"{scheme}x", "config")
    assert groq(load(tmp_path, named("${KEY}"), KEY=f"{scheme}x")) == (f"{scheme}x", "config")


def test_they_stand_wherever_a_secret_may(tmp_path: Path, file: Path) -> None:
    text = (
        f"server: {{api_keys: ['env:A', {{key: 'env:B', name: b}}]}}\n"
        f"admin: {{port: 0, key: 'env:C'}}\naccess: {{pepper: 'file:{file}'}}\n"
        "state: {url: 'env:STATE'}\nstorage: {url: 'env:STORAGE'}\n"
        "routes: {r: {deployments: [{model: groq/m, keys: ['env:D']}]}}\n" + named("env:E")
    )
    stores = {"STATE": "redis://u:pw@cache:6379/0", "STORAGE": "postgresql://u:pw@db/x"}
    settings = load(tmp_path, text, **stores, A="key-a", B="key-b", C="key-c", D="key-d", E="key-e")
    found = {path: (secret.reveal(), secret.source) for path, secret in secrets_in(settings)}
    assert found == {
        "server.api_keys.0": ("key-a", "env A"),
        "server.api_keys.1.key": ("key-b", "env B"),
        "admin.key": ("key-c", "env C"),
        "access.pepper": (CANARY, f"file {file}"),
        "state.url": (stores["STATE"], "env STATE"),
        "storage.url": (stores["STORAGE"], "env STORAGE"),
        "routes.r.deployments.0.keys.0": ("key-d", "env D"),
        "providers.groq.credentials.0": ("key-e", "env E"),
    }


def test_keys_are_compared_as_they_are_and_not_as_they_are_written(tmp_path: Path, file: Path) -> None:
    text = f"server: {{api_keys: ['file:{file}']}}\nadmin: {{port: 0, key: 'env:KEY'}}\n"
    assert "is a client's key as well" in fault(tmp_path, text, KEY=CANARY)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file:{}/none", "/none cannot be read: no such file"),
        ("file:{}", "is a directory"),
        ("file:{}/empty", "/empty gives nothing"),
        ("file:{}/long", "which is no secret"),
        ("file:{}/pipe", "is no regular file"),
        ("file:${{DIRECTORY}}/none", "the file that ${{DIRECTORY}} names cannot be read"),
        ("env:NOBODY", "the environment variable NOBODY is not set"),
        ("env:BLANK", "the environment variable BLANK is not set"),
        ("env:sk-no", "after `env:` comes the name"),
        ("cmd:", "after `cmd:` comes a command"),
        ('cmd:sh "x', "no closing quotation"),
        ("cmd:no-such-program x", "the command `no-such-program` cannot be run: no such file"),
        ("cmd:TOKEN=sk-no x", "the command cannot be run: no such file"),
        ("cmd:true", "the command `true` gives nothing"),
        ("cmd:false", "the command `false` ended with status 1"),
        ("cmd:cat {}/long", "which is no secret"),
        ("file:{}/two", "must be printable ASCII"),
    ],
)
def test_what_cannot_be_had_is_a_fault_that_says_why(tmp_path: Path, text: str, message: str) -> None:
    for name, said in (("empty", "\n"), ("long", "x" * 70_000), ("two", "a b")):
        (tmp_path / name).write_text(said)
        (tmp_path / name).chmod(0o600)
    os.mkfifo(tmp_path / "pipe", 0o600)
    written = ALLOWED + named(text.format(tmp_path))
    assert message.format() in fault(tmp_path, written, BLANK=" ", DIRECTORY=str(tmp_path))


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    text = "credentials: {allow_commands: true, command_seconds: 0.05}\n" + named("cmd:sleep 60")
    assert "took longer than 0.05 s" in fault(tmp_path, text)


def test_with_a_command_that_takes_too_long_ends_what_it_has_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    line = f'cmd:sh -c "sleep 60 & echo $! > {pid}; wait"'
    text = "credentials: {allow_commands: true, command_seconds: 1}\n" + named(line)
    assert "took longer than 1 s" in fault(tmp_path, text)
    deadline = time.monotonic() + 10
    while (ended := Path("/proc", pid.read_text().strip(), "stat")).exists() and ended.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "it goes on"


def test_of_a_command_that_prints_without_end_no_more_is_read(tmp_path: Path) -> None:
    assert "the command `yes` has more than 65536 bytes" in fault(tmp_path, ALLOWED + named("cmd:yes"))


def test_what_a_command_says_on_its_standard_error_is_shown_to_nobody(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = fault(tmp_path, ALLOWED + named(f'cmd:sh -c "echo {CANARY} >&2; exit 3"'))
    assert said == "the command `sh` ended with status 3; run it by hand to see why"
    assert CANARY not in "".join(capfd.readouterr())


def test_a_command_that_stands_twice_runs_once(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    line = f'cmd:sh -c "echo x >> {ran}; echo key"'
    load(tmp_path, ALLOWED + f"providers: {{groq: {{credentials: ['{line}']}}, openai: {{credentials: ['{line}']}}}}\n")
    assert ran.read_text() == "x\n"


def test_a_file_that_others_may_read_is_a_warning_and_a_fault_where_that_is_wanted(tmp_path: Path, file: Path) -> None:
    file.chmod(0o644)
    (warning,) = load(tmp_path, named(f"file:{file}")).warnings
    assert warning.startswith(f"providers.groq.credentials.0: {file}: others on this machine may read it; `chmod")
    assert "may read it" in fault(tmp_path, "credentials: {strict: true}\n" + named(f"file:{file}"))
    file.chmod(0o602)
    assert "may write it" in fault(tmp_path, named(f"file:{file}"))

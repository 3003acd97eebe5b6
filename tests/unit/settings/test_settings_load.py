"""From a file to settings, and every fault at its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.errors import ConfigError, Fault
from gateway.secret import Secret
from gateway.settings.load import find_config, load_settings, locate, with_server
from gateway.settings.model import Settings
from tests.unit.settings.loading import faults, load


def test_no_file_means_the_defaults() -> None:
    settings = load_settings(None, {})
    assert settings == Settings()
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8484)
    assert settings.server.api_keys == []


@pytest.mark.parametrize("text", ["", "server:\nroutes:\nproviders:\nupstream:\ndiscovery:\n", "{}"])
def test_empty_files_and_empty_sections_mean_the_defaults(file: Path, text: str) -> None:
    assert load(file, text) == Settings()


def test_a_whole_file_loads(file: Path) -> None:
    settings = load(
        file,
        """
server: {host: "::1", port: "${PORT}", api_keys: ["${CLIENT_KEY}"], access_log: off, metrics_port: 0}
providers:
  my-vllm: {base_url: "http://127.0.0.1:8000/v1", requires_credential: false}
  openai: {credentials: ["${KEY_A}", "${KEY_B:-sk-b}"]}
routes:
  fast: {deployments: [{model: groq/llama-3.3-70b-versatile}, {model: my-vllm/org/name}]}
upstream: {transport: httpx, connect_seconds: 2.5}
discovery: {enabled: no}
""",
    )
    assert settings.server.port == 9000
    assert settings.server.access_log == "off"
    assert settings.server.api_keys == [Secret("client-1")]
    assert settings.providers["my-vllm"].protocol == "openai"
    assert settings.providers["openai"].protocol is None
    keys = settings.providers["openai"].credentials
    assert keys is not None
    assert [key.reveal() for key in keys] == ["sk-secret-a", "sk-b"]
    assert [each.model for each in settings.routes["fast"].deployments] == [
        "groq/llama-3.3-70b-versatile",
        "my-vllm/org/name",
    ]
    assert settings.upstream.connect_seconds == 2.5
    assert settings.discovery.enabled is False


def test_all_faults_come_at_once_in_the_order_of_the_file(file: Path) -> None:
    text = """\
server:
  port: 70000
  prot: 1
upstream: {pool_secnds: 3, head_seconds: many, total_seconds: true}
providers:
  groq: {rules: {drp: [a]}, headers: 1}
routes:
  fast: {deployments: [{}]}
  fast: {deployments: [{model: groq/x}]}
"""
    assert faults(file, text) == [
        "2:9  server.port  must be at most 65535, got 70000",
        "3:3  server.prot  unknown setting 'prot'; did you mean 'port'?",
        "4:12  upstream.pool_secnds  unknown setting 'pool_secnds'; did you mean 'pool_seconds'?",
        "4:42  upstream.head_seconds  must be a number, got 'many'",
        "4:63  upstream.total_seconds  must be a number, got true",
        "6:18  providers.groq.rules.drp  unknown setting 'drp'; did you mean 'drop'?",
        "6:38  providers.groq.headers  must be a mapping of 'name: value' lines, got a number",
        "8:24  routes.fast.deployments.0.model  is required",
        "9:3  routes.fast  already set in line 8",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("server: {port: 1.5}", "must be a whole number, got 1.5"),
        ("server: {port: }", "must be a whole number, got nothing"),
        ("server: {port: [1]}", "must be a whole number, got a list"),
        ("server: {port: '${CLIENT_KEY}'}", "must be a whole number, which the value of ${CLIENT_KEY} is not"),
        ("server: {host: 'http://x'}", "must be a host name or an IP address, without scheme, port or path"),
        ("server: {host: 12}", "must be text, got 12"),
        ("server: {access_log: ''}", "must be stdout, stderr, off or the path of a file, got ''"),
        ("server: {max_in_flight: 0}", "must be at least 1, got 0"),
        ("server: {allowed_hosts: x}", "must be a list, got 'x'"),
        ("server: 1", "must be a mapping of 'name: value' lines, got 1"),
        ("upstream: {between_tokens_seconds: 0}", "must be more than 0, got 0"),
        ("upstream: {between_tokens_seconds: 60000000}", "must be at most 86400, got 60000000"),
        ("upstream: {between_tokens_seconds: .nan}", "must be a number"),
        ("upstream: {between_tokens_seconds: nan}", "must be"),
        ("upstream: {transport: curl}", "must be 'builtin' or 'httpx', got 'curl'"),
        ("discovery: {enabled: maybe}", "must be true or false, got 'maybe'"),
        ("routes: {a: {deployments: []}}", "routes.a.deployments  must not be empty"),
        ("routes: {a: }", "must be a mapping of 'name: value' lines, got nothing"),
        ("routes: {a: {deployments: [{model: x}]}}", "must be 'provider/model', got 'x'"),
        ("routes: {a: {deployments: [{model: x/}]}}", "must be 'provider/model', got 'x/'"),
        ("routes: {'a b': {deployments: [{model: groq/x}]}}", "no spaces and no control characters"),
        ("routes: {'': {deployments: [{model: groq/x}]}}", "must not be empty"),
        ("providers: {groq: {auth: magic}}", "must match"),
        ("providers: {groq: {rules: {json_schema: no}}}", "must be 'native', 'json_object' or 'reject', got 'no'"),
        ("providers: {Groq: {}}", "a provider's id must be lower-case letters"),
        ("providers: {mine: {requires_credential: false}}", "provider of your own needs a base_url"),
        ("providers: {grok: {}}", "'grok' is another name of 'xai'; write that here"),
        ("providers: {grok: {base_url: 'http://x'}}", "'grok' is another name of 'xai'; write that here"),
        ("providers: {m: {base_url: 'http://x', aliases: [m, grok]}}", "'grok' is already a name of 'xai'"),
        ("routes: {%s: {deployments: [{model: groq/x}]}}" % ("a" * 257), "must have at most 256 characters"),
        ("providers: {gorq: {}}", "called 'gorq'; did you mean 'groq'? A provider of your own needs a base_url"),
        ("routes: {a: {deployments: [{model: gorq/x}]}}", "unknown provider 'gorq'; did you mean 'groq'?"),
        ("providers: {groq: {base_url: groq.com}}", "must be an http:// or https:// URL"),
        ("providers: {groq: {base_url: 'http://a:b@groq.com'}}", "without user name"),
        ("extra: 1", "unknown setting 'extra'; known are server, "),
        (
            "routes: {a: {deployments: [{model: groq/x, limits: {rpm: 1}}]}}",
            "'rpm'; known are max_in_flight, requests_per_minute, tokens_per_minute",
        ),
        ("routes: {a: {deployments: [groq/x]}}", "must be a mapping such as {model: provider/model}, got 'groq/x'"),
    ],
)
def test_each_fault_is_said_in_plain_words(file: Path, text: str, expected: str) -> None:
    (fault,) = faults(file, text)
    assert expected in fault
    assert fault.startswith("1:")


def test_aliases_and_own_providers_may_be_deployed(file: Path) -> None:
    text = """\
providers: {mine: {base_url: "http://127.0.0.1:1/v1", aliases: [my-box]}}
routes: {a: {deployments: [{model: mine/x}, {model: my-box/y}]}}
"""
    assert len(load(file, text).routes["a"].deployments) == 2


def test_without_known_providers_nothing_is_said_about_them(file: Path) -> None:
    file.write_text("providers: {whatever: {}}\nroutes: {a: {deployments: [{model: other/x}]}}\n")
    assert list(load_settings(file, {}).providers) == ["whatever"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('["${NOT_SET}"]', "the environment variable NOT_SET is not set"),
        ('["${EMPTY}"]', "must not be empty, which the value of ${EMPTY} is not"),
        ('["${BLANK}"]', "must be printable ASCII without spaces, which the value of ${BLANK} is not"),
        ('[""]', "must not be empty"),
        ("[sk secret]", "must be printable ASCII without spaces"),
        ("[12345678]", "must be text, got a number"),
        ("sk-secret", "must be a list, got a text"),
        ("{sk-secret: sk-secret}", "must be a list, got a mapping"),
    ],
)
@pytest.mark.parametrize("setting", ["server: {{api_keys: {}}}", "providers: {{groq: {{credentials: {}}}}}"])
def test_an_unusable_secret_is_a_fault_that_does_not_show_it(
    file: Path, setting: str, value: str, expected: str
) -> None:
    (fault,) = faults(file, setting.format(value))
    assert expected in fault
    assert "secret" not in fault
    assert "12345678" not in fault


def test_a_short_pepper_is_a_fault_that_does_not_show_it(file: Path) -> None:
    (fault,) = faults(file, "access: {pepper: hush-hush}")
    assert fault.endswith("access.pepper  must have at least 16 characters; `openssl rand -hex 32` makes one")


def test_nothing_that_prints_settings_shows_a_secret(file: Path) -> None:
    text = 'server: {api_keys: ["${KEY_A}"]}\nproviders: {groq: {credentials: ["${KEY_A}"]}}\n'
    settings = load(file, text)
    shown = [repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())]
    assert not any("sk-secret" in each for each in shown)


def test_the_exception_does_not_carry_the_values(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(file, 'server: {api_keys: ["${KEY_A}"], port: x}\n')
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_directory_and_an_unreadable_file_are_faults(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_settings(tmp_path, {})
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_settings(tmp_path / "none.yaml", {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_a_fault(file: Path) -> None:
    file.write_text("{}")
    file.chmod(0)
    with pytest.raises(ConfigError, match="Permission denied"):
        load_settings(file, {})


def test_the_file_is_looked_for_in_order(tmp_path: Path) -> None:
    assert find_config(None, {}, tmp_path) is None
    default, other, third = (tmp_path / name for name in ("anyport.yaml", "other.yaml", "third.yaml"))
    for path in (default, other, third):
        path.touch()
    assert find_config(None, {}, tmp_path) == default
    assert find_config(None, {"ANYPORT_CONFIG": ""}, tmp_path) == default
    assert find_config(None, {"ANYPORT_CONFIG": "other.yaml"}, tmp_path) == other
    assert find_config(third, {"ANYPORT_CONFIG": "other.yaml"}, tmp_path) == third


def test_a_named_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "anyport.yaml").touch()
    with pytest.raises(ConfigError, match=r"no such file \(named by --config\)"):
        find_config(Path("none.yaml"), {}, tmp_path)
    with pytest.raises(ConfigError, match=r"no such file \(named by \$ANYPORT_CONFIG\)"):
        find_config(None, {"ANYPORT_CONFIG": "none.yaml"}, tmp_path)


def test_the_command_line_changes_the_server(file: Path) -> None:
    settings = load(file, 'server: {api_keys: ["${CLIENT_KEY}"], grace_seconds: 3}\n')
    changed = with_server(settings, {"host": "0.0.0.0", "port": 80})
    assert (changed.server.host, changed.server.port, changed.server.grace_seconds) == ("0.0.0.0", 80, 3)
    assert changed.server.api_keys == settings.server.api_keys
    assert settings.server.port == 8484


def test_the_command_line_is_checked_as_well() -> None:
    with pytest.raises(ConfigError) as caught:
        with_server(Settings(), {"host": "http://x", "port": 70000})
    assert [str(fault) for fault in caught.value.faults] == [
        "command line  host  must be a host name or an IP address, without scheme, port or path, got 'http://x'",
        "command line  port  must be at most 65535, got 70000",
    ]


def test_faults_found_later_get_their_place(file: Path) -> None:
    file.write_text("routes:\n  v1.5:\n    deployments: [{model: groq/x}]\n")
    path = "routes.v1.5.deployments.0.model"
    late = [Fault("?", 0, 0, path, "no credential"), Fault("?", 0, 0, "elsewhere", "x"), Fault("?", 7, 1, path, "y")]
    assert [str(fault) for fault in locate(late, file)] == [
        f"anyport.yaml:3:27  {path}  no credential",
        "?  elsewhere  x",
        f"?:7:1  {path}  y",
    ]


def test_locating_does_not_care_about_variables(file: Path) -> None:
    file.write_text('server: {api_keys: ["${NOT_SET}"]}\n')
    (fault,) = locate([Fault("?", 0, 0, "server.api_keys.0", "bad")], file)
    assert (fault.line, fault.column) == (1, 21)

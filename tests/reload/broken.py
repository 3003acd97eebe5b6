"""Files that nobody should serve by: what each says, and where its first fault is."""

from __future__ import annotations

from typing import Final

_ROUTE: Final = "routes:\n  main:\n    deployments:\n      - model: first/m\n"
_PROVIDER: Final = "providers:\n  first:\n    base_url: http://127.0.0.1:9/v1\n"

BROKEN: Final[tuple[tuple[str, int], ...]] = (
    # What is no YAML, or more than the data that YAML can be.
    ("routes: [", 2),
    ("routes:\n  main: {deployments: [{model: first/m}]\n", 3),
    ("server:\n\tport: 1\n", 2),
    ("server: {port: 8484}\nserver: {port: 8485}\n", 2),
    ("a: &a [1]\nb: *a\n", 1),
    ("server: !!python/object:os.system {}\n", 1),
    ("- a\n- b\n", 1),
    ("just words\n", 1),
    ("server:\n  host: 'unclosed\n", 3),
    ("routes: {main: {deployments: [{model: first/m}]}}\n---\nroutes: {}\n", 2),
    ("\x00\x01\x02\n", 1),
    ("server:\n  host: \xff\n", 2),
    # Names that there are not.
    ("serve:\n  port: 8484\n", 1),
    ("server:\n  prot: 8484\n", 2),
    ("admin:\n  prot: 8485\n", 2),
    ("storage:\n  path: here\n", 2),
    ("upstream:\n  total: 5\n", 2),
    ("discovery:\n  enable: true\n", 2),
    (f"{_PROVIDER}{_ROUTE}    polici: ordered\n", 8),
    (f"{_PROVIDER}{_ROUTE}        weightless: 3\n", 8),
    (f"{_PROVIDER}    credential: none\n", 4),
    # Values that cannot be.
    ("server:\n  port: high\n", 2),
    ("server:\n  port: 99999\n", 2),
    ("server:\n  port: -1\n", 2),
    ("server:\n  grace_seconds: soon\n", 2),
    ("server:\n  max_body_bytes: 0\n", 2),
    ("server:\n  api_keys: one\n", 2),
    ("server:\n  api_keys: [{name: no-key}]\n", 2),
    ("health:\n  max_ejected_share: 7\n", 2),
    ("health:\n  ejection_seconds: 100\n  max_ejection_seconds: 1\n", 3),
    ("storage:\n  on_ledger_failure: ignore\n", 2),
    ("storage:\n  url: mysql://host/base\n", 2),
    ("state:\n  url: http://host\n", 2),
    ("upstream:\n  transport: carrier-pigeon\n", 2),
    ("upstream:\n  max_connections: .nan\n", 2),
    ("admin:\n  port: 8485\n", 2),
    # Secrets that are not there.
    ("server:\n  api_keys: ['${NOT_SET_ANYWHERE}']\n", 2),
    ("admin:\n  key: ${NOT_SET_ANYWHERE}\n", 2),
    (f"{_PROVIDER}    credentials: ['${{NOT_SET_ANYWHERE}}']\n", 4),
    # Names that stand for nothing, or for two things.
    ("routes:\n  main:\n    deployments:\n      - model: nobody/m\n", 4),
    ("routes:\n  main:\n    deployments:\n      - model: nothing\n", 4),
    ("routes:\n  main:\n    deployments: []\n", 3),
    ("routes:\n  main: {}\n", 2),
    (f"{_PROVIDER}{_ROUTE}    fallbacks: [nobody]\n", 8),
    (f"{_PROVIDER}{_ROUTE}    fallbacks: [main]\n", 8),
    (f"{_PROVIDER}{_ROUTE}    aliases: [main]\n", 8),
    (
        f"{_PROVIDER}routes:\n"
        "  one: {deployments: [{model: first/m}], fallbacks: [two]}\n"
        "  two: {deployments: [{model: first/m}], fallbacks: [one]}\n",
        6,
    ),
    ("providers:\n  mine:\n    credentials: [secret-0123456789]\n", 2),
    ("providers:\n  mine:\n    base_url: ftp://host/v1\n", 3),
    ("providers:\n  mine:\n    base_url: http://host/v1\n    protocol: morse\n", 4),
    ("providers:\n  mine: {base_url: 'http://host/v1', protocol: anthropic, rules: {drop: [user]}}\n", 2),
    ("providers:\n  open_ai: {base_url: 'http://host/v1', aliases: [openai]}\n", 2),
)

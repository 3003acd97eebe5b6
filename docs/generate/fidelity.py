"""The page that says what becomes of each request field, printed from the adapters' own tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from adapters.fidelity import Fate, Table, Treatment
from adapters.types import Adapter, Operation
from gateway.registry.adapters import ADAPTERS

_HEAD = """\
# What becomes of each field

<!-- Printed by `make docs` from the tables in adapters/; do not edit. -->

A request for a provider that speaks OpenAI's wire is sent as it came, but for the few changes that
[providers.md](providers.md) names row by row. A request for any other protocol is translated, and then every field of
it meets one of five fates:

| Fate | Meaning |
|---|---|
| passed | sent under its own name |
| renamed | sent under another name or in another shape, with the same meaning |
| emulated | unknown to the provider; the same effect is reached in another way |
| dropped | not sent; named in the response header `x-anyport-dropped` and in the access record |
| refused | answered with a 400 that names the field, because leaving it out would change what the answer means |

Fields that no table knows are dropped and named. A value that asks for what happens anyway (`n: 1`,
`logprobs: false`) is no loss and is not named. `strict: true` on a route, or the header `x-anyport-strict: true`,
turns every dropped field into a 400 that names it. A note says on what the fate depends.
"""


def fidelity_page() -> str:
    """Returns docs/fidelity.md."""
    translators = {name: adapter for name, adapter in ADAPTERS.items() if adapter.fidelity}
    sections = [line for adapter in translators.values() for line in _section(adapter)]
    return "\n".join([_HEAD, *_matrix(translators), *sections])


def _matrix(translators: Mapping[str, Adapter]) -> Iterator[str]:
    own = {name: adapter.fidelity for name, adapter in translators.items()}
    tables = {name: of[Operation.CHAT] for name, of in own.items() if Operation.CHAT in of}
    fields = sorted({field for table in tables.values() for field in table if not _is_vendors(field, tables)})
    yield "## Chat, all protocols at a glance\n"
    yield "A star: the protocol's own table below has a note. A dash: what becomes of the field that it is part of.\n"
    yield f"| Field | {' | '.join(tables)} |"
    yield "|---|" + "---|" * len(tables)
    for field in fields:
        yield f"| `{field}` | {' | '.join(_word(field, table.get(field)) for table in tables.values())} |"
    yield ""


def _is_vendors(field: str, tables: Mapping[str, Table]) -> bool:
    """True for an extra of one vendor, which would only make the overview long."""
    return sum(field in table for table in tables.values()) < 2


def _word(field: str, treatment: Treatment | None) -> str:
    if treatment is None:
        return "-" if "." in field else Fate.DROPPED.value
    return treatment.fate.value + ("*" if treatment.note else "")


def _section(adapter: Adapter) -> Iterator[str]:
    yield f"## `{adapter.protocol}`\n"
    for operation, table in adapter.fidelity.items():
        yield f"### {operation.value.capitalize()} over `{adapter.protocol}`\n"
        yield "| Field | Fate | Upstream | Note |"
        yield "|---|---|---|---|"
        for field in sorted(table):
            treatment = table[field]
            to = f"`{treatment.to}`" if treatment.to else ""
            yield f"| `{field}` | {treatment.fate.value} | {to} | {_cell(treatment.note)} |"
        yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

"""JSON Schemas, brought down to the part of the language that a provider takes.

Theory. Vendors take subsets of JSON Schema for constrained answers and refuse the rest with a 400. A keyword that is
refused is not forgotten but told in the description, where the model reads it. What cannot be told at all (recursion,
objects with free keys where objects must be closed, references to other documents) raises `Inexpressible`, and the
caller asks for the answer's form in another way. References are put in place: half of the vendors know none, and the
others refuse them beside other keywords. What is no schema (`enum`, `const`, `default`) is never walked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from adapters.codec import JSON, as_list, as_object, encode

Schema = dict[str, Any]
MOST_NODES: Final = 5_000
"""A schema that unfolds to more is refused: references to references double with every level."""
MOST_DEPTH: Final = 64
MOST_GROWTH: Final = 8
"""How many times its own length the references of a schema may bring, put in place one by one."""
FREE_BYTES: Final = 16 * 1024
"""What they may bring beside that: short schemas grow more."""
MOST_PATH: Final = 4_096
"""Characters of a path inside a schema: every keyword that is told in a description is noted with its own."""
_OWN: Final = frozenset(
    {"type", "description", "$defs", "definitions", "additionalProperties", "unevaluatedProperties", "nullable"}
)
"""Keywords that are read together with others."""
_SILENT: Final = frozenset(
    {
        "$schema", "$id", "$comment", "$anchor", "title", "examples", "example", "deprecated", "readOnly", "writeOnly",
        "discriminator", "xml", "externalDocs",
    }
)  # fmt: skip
"""Keywords that say nothing about the form of the answer: not told where they are not taken."""
_LISTS: Final = ("allOf", "anyOf", "oneOf")


class Inexpressible(Exception):
    """A provider's part of JSON Schema has no words for this schema."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{where or 'the schema'}: {message}")
        self.where = where
        self.message = message


@dataclass(frozen=True, slots=True)
class Dialect:
    """The part of JSON Schema that a provider takes."""

    keywords: frozenset[str]
    """Keywords sent as they are; others go to the description."""
    formats: frozenset[str] | None = None
    """Values of `format` that are taken; None means all."""
    most_min_items: int | None = None
    """The largest `minItems`; None means any."""
    closes_objects: bool = False
    """Every object must say `additionalProperties: false`."""
    has_type_lists: bool = True
    """`type` may be a list; if not, null becomes `nullable: true` and other lists `anyOf`."""
    cuts_recursion: bool = False
    """A schema inside itself becomes any value, instead of raising `Inexpressible`."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A schema in a provider's words."""

    schema: Schema
    moved: tuple[str, ...]
    """Paths of the keywords that only the description tells now: `properties.age.minimum`."""
    optional: int
    """How many properties are not required, in the whole schema."""
    unions: int
    """How many types are unions, in the whole schema."""


def fit(schema: Mapping[str, Any], dialect: Dialect) -> Fitted:
    """Returns `schema` in the dialect's words; raises Inexpressible. The argument is not changed."""
    work = _Fitting(schema, dialect)
    fitted = work.node(dict(schema), "", frozenset())
    return Fitted(fitted, tuple(work.moved), work.optional, work.unions)


def object_schema(parameters: Mapping[str, Any] | None) -> tuple[Schema, bool]:
    """Returns the schema of a tool's arguments with `type: object` and no union at its top; True if that lost some.

    Alternatives at the top are laid together: all their properties may be given, those in all of them must.
    """
    if not parameters:
        return {"type": "object", "properties": {}}, False
    schema = dict(parameters)
    if "$ref" in schema:
        schema = _without(_resolved(parameters, schema), "$ref")
    is_lossy = False
    for word in _LISTS:
        if word in schema:
            members, is_cut = _members(parameters, as_list(schema.pop(word)))
            _lay_together(schema, members, is_all=word == "allOf")
            is_lossy = is_lossy or is_cut or word != "allOf"
    for word in (*_LISTS, "$ref"):
        is_lossy = schema.pop(word, None) is not None or is_lossy
    return {"type": "object", "properties": {}, **schema, **_OBJECT}, is_lossy


_OBJECT: Final = {"type": "object"}


def resolve(root: Mapping[str, Any], reference: str) -> Schema:
    """Returns the schema that a `$ref` inside `root` names; raises Inexpressible for one that leads elsewhere."""
    if not reference.startswith("#"):
        raise Inexpressible("$ref", f"{reference[:100]!r} lies in another document")
    found: JSON = root
    for step in reference[1:].split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = as_object(found).get(step)
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(as_list(found)):
            found = as_list(found)[int(step)]
        else:
            found = None
    if not isinstance(found, dict):
        raise Inexpressible("$ref", f"{reference[:100]!r} leads nowhere")
    return as_object(found)


def _resolved(root: Mapping[str, Any], schema: Schema) -> Schema:
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    try:
        return {**resolve(root, reference), **_without(schema, "$ref")}
    except Inexpressible:
        return {}


def _members(root: Mapping[str, Any], schemas: list[Any]) -> tuple[list[Schema], bool]:
    """Returns the schemas with their references put in place; True if these brought too much, and the rest is left out.

    An empty schema stands for what is left out: it demands nothing, and so no alternatives have a demand in common.
    """
    found: list[Schema] = []
    left = MOST_NODES
    for schema in map(as_object, schemas):
        member = _resolved(root, schema)
        if member is not schema:
            left -= len(member) + len(as_object(member.get("properties"))) + len(as_list(member.get("required")))
        if left < 0:
            return [*found, {}], True
        found.append(member)
    return found, False


def _lay_together(schema: Schema, members: list[Schema], *, is_all: bool) -> None:
    """Lays objects into `schema`: all must hold (`is_all`), or any of them."""
    properties = dict(as_object(schema.get("properties")))
    required = _names(schema)
    demands = [_names(member) for member in members]
    for member in members:
        for name, value in as_object(member.get("properties")).items():
            properties.setdefault(name, value)
        for name, value in member.items():
            if is_all and name not in ("properties", "required"):
                schema.setdefault(name, value)
    required |= {name: None for each in demands for name in each if is_all or all(name in other for other in demands)}
    if properties:
        schema["properties"] = properties
    if required:
        schema["required"] = list(required)


def _names(schema: Schema) -> dict[str, None]:
    """Returns the names of the properties that must be there, in their order."""
    return {name: None for name in as_list(schema.get("required")) if isinstance(name, str)}


class _Fitting:
    """One walk through one schema."""

    def __init__(self, root: Mapping[str, Any], dialect: Dialect) -> None:
        self._root = root
        self._dialect = dialect
        self._nodes = 0
        self._sizes: dict[str, int] = {}
        """Bytes that a reference brings."""
        self._left: int | None = None
        """Bytes that references may still bring; None before the first."""
        self.moved: list[str] = []
        self.optional = 0
        self.unions = 0

    def node(self, schema: JSON, where: str, inside: frozenset[str]) -> Schema:
        """Returns one schema; `inside` are the references that it lies in."""
        self._step(where)
        if schema is True:
            return {}
        if not isinstance(schema, dict):
            raise Inexpressible(where, "is not a schema")
        unfolded = self._unfolded(as_object(schema), where, inside)
        if unfolded is None:
            return {"description": "A value of the enclosing form."}
        members, inside = unfolded
        made: Schema = {}
        notes: list[str] = []
        self._type(members, made)
        for name, value in members.items():
            if name not in _OWN:
                self._keyword(name, value, where, inside, made, notes)
        self._extent(members, made, notes, where, inside)
        return _described(made, members.get("description"), notes)

    def _step(self, where: str) -> None:
        """Counts whatever takes time; raises Inexpressible if it becomes too much."""
        self._nodes += 1
        if self._nodes > MOST_NODES or len(where) > MOST_PATH or where.count(".") > MOST_DEPTH:
            raise Inexpressible(where[:100], "the schema is too large")

    def _brought(self, reference: str, where: str) -> Schema:
        """Returns what a reference brings; raises Inexpressible if all of them have brought too much."""
        self._step(where)
        found = resolve(self._root, reference)
        if reference not in self._sizes:
            self._sizes[reference] = len(encode(found))
        left = FREE_BYTES + MOST_GROWTH * len(encode(self._root)) if self._left is None else self._left
        self._left = left - self._sizes[reference]
        if self._left < 0:
            raise Inexpressible(where[:100], "its references make the schema too large")
        return found

    def _unfolded(self, members: Schema, where: str, inside: frozenset[str]) -> tuple[Schema, frozenset[str]] | None:
        """Returns the schema with its references put in place, and the references that it lies in then.

        None for a schema inside itself that the dialect cuts.
        """
        while isinstance(members.get("$ref"), str):
            reference: str = members["$ref"]
            if reference in inside:
                if self._dialect.cuts_recursion:
                    return None
                raise Inexpressible(where, f"{reference[:100]!r} lies inside itself")
            inside |= {reference}
            members = {**self._brought(reference, where), **_without(members, "$ref")}
        every = as_list(members.get("allOf"))
        if len(every) == 1 or (every and "allOf" not in self._dialect.keywords) or _has_reference(every):
            members = _without(members, "allOf")
            around = inside
            for member in map(as_object, every):
                self._step(where)
                unfolded = self._unfolded(member, where, around)
                if unfolded is None:
                    return None
                _lay_together(members, [unfolded[0]], is_all=True)
                # What several references bring lies in none of them alone; the caps end what then goes round.
                inside = unfolded[1] if len(every) == 1 else around
        return members, inside

    def _keyword(
        self, name: str, value: JSON, where: str, inside: frozenset[str], made: Schema, notes: list[str]
    ) -> None:
        keywords = self._dialect.keywords
        at = f"{where}.{name}" if where else name
        if name == "oneOf" and "oneOf" not in keywords:
            name = "anyOf"
        if name == "const" and "const" not in keywords:
            name, value = "enum", [value]
        if name not in keywords or not self._takes(name, value):
            if name not in _SILENT:
                notes.append(f"{name}: {encode(value).decode()}")
                self.moved.append(at)
        elif name == "properties":
            made[name] = {key: self.node(each, f"{at}.{key}", inside) for key, each in as_object(value).items()}
        elif name == "items":
            made[name] = self.node(value, at, inside)
        elif name in _LISTS:
            self._alternatives(name, as_list(value), at, inside, made)
        else:
            made[name] = value

    def _takes(self, name: str, value: JSON) -> bool:
        dialect = self._dialect
        if name == "format":
            return dialect.formats is None or str(value) in dialect.formats
        if name == "minItems":
            return dialect.most_min_items is None or (isinstance(value, int) and value <= dialect.most_min_items)
        if name == "items":
            return not isinstance(value, list)
        if name == "enum":
            return not any(isinstance(each, dict | list) for each in as_list(value))
        return True

    def _alternatives(self, name: str, values: list[Any], at: str, inside: frozenset[str], made: Schema) -> None:
        if not self._dialect.has_type_lists:
            kept = [value for value in values if as_object(value).get("type") != "null"]
            if len(kept) < len(values):
                made["nullable"] = True
            if len(kept) == 1:
                made |= {key: each for key, each in self.node(kept[0], at, inside).items() if key not in made}
                return
            values = kept
        found = [self.node(value, f"{at}.{index}", inside) for index, value in enumerate(values)]
        self.unions += name != "allOf"
        made[name] = [*made.get(name, []), *found]

    def _type(self, members: Schema, made: Schema) -> None:
        kind: JSON = members.get("type")
        if not isinstance(kind, list):
            if kind is not None:
                made["type"] = kind
            if members.get("nullable") is True:
                made |= _nullable(kind, has_lists=self._dialect.has_type_lists)
            return
        kinds = as_list(kind)
        self.unions += len(kinds) > 1
        if self._dialect.has_type_lists:
            made["type"] = kinds
            return
        plain = [each for each in kinds if each != "null"]
        if len(plain) == 1:
            made["type"] = plain[0]
        elif plain:
            made["anyOf"] = [{"type": each} for each in plain]
        if len(plain) < len(kinds):
            made["nullable"] = True

    def _extent(self, members: Schema, made: Schema, notes: list[str], where: str, inside: frozenset[str]) -> None:
        """Settles which keys an object may have."""
        properties = as_object(made.get("properties"))
        self.optional += len(properties.keys() - {str(name) for name in as_list(made.get("required"))})
        free: JSON = members.get("additionalProperties")
        if self._dialect.closes_objects:
            if made.get("type") == "object" or "properties" in made:
                if isinstance(free, dict) or (free is not False and "properties" not in made):
                    raise Inexpressible(where, "objects with free keys cannot be asked for")
                if "properties" in made and any("properties" in as_object(each) for each in as_list(made.get("anyOf"))):
                    raise Inexpressible(where, "closed objects cannot have alternatives beside properties")
                made["additionalProperties"] = False
        elif isinstance(free, bool) and "additionalProperties" in self._dialect.keywords:
            made["additionalProperties"] = free
        elif isinstance(free, dict):
            if "additionalProperties" in self._dialect.keywords:
                made["additionalProperties"] = self.node(free, f"{where}.additionalProperties", inside)
            else:
                notes.append(f"additionalProperties: {encode(free).decode()}")
                self.moved.append(f"{where}.additionalProperties" if where else "additionalProperties")


def _nullable(kind: JSON, *, has_lists: bool) -> Schema:
    """Says OpenAPI's `nullable: true` in the dialect's words."""
    if not has_lists:
        return {"nullable": True}
    return {"type": [kind, "null"]} if isinstance(kind, str) else {}


def _without(members: Schema, name: str) -> Schema:
    return {key: value for key, value in members.items() if key != name}


def _has_reference(schemas: list[Any]) -> bool:
    return any("$ref" in as_object(schema) for schema in schemas)


def _described(made: Schema, said: JSON, notes: list[str]) -> Schema:
    text = said if isinstance(said, str) else ""
    if notes:
        told = f"({'; '.join(notes)})"
        text = f"{text}\n\n{told}" if text else told
    return {**made, "description": text} if text else made

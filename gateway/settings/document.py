"""A YAML file as plain values, and where in the file each of them stands.

Scalars mean what YAML 1.2 says, not 1.1 as PyYAML would have it: `off`, `no` and `12:30` are text. Keys are always
text. Anchors and aliases work; merge keys, tags and a second document do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import cast

import yaml

from gateway.errors import ConfigError, Fault

Path = tuple[str | int, ...]
"""Keys and list positions from the root to a value."""

SCHEMES = ("file:", "env:", "cmd:", "literal:")
"""In front of a text that is to be a secret: where that is instead. What a variable holds is never read so."""
MAX_FILE_BYTES = 1024 * 1024
MAX_DEPTH = 50
"""Deeper nesting would exhaust the stack of the C parser."""
MAX_VALUES = 100_000
"""Values after aliases are expanded; the cap of the `billion laughs` kind of file."""
_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column of a value and of its key, counted from 1."""

    line: int
    column: int
    key_line: int
    key_column: int


@dataclass(slots=True)
class Document:
    """One file, read: `root` is what it says, `places` where, `faults` what is wrong so far."""

    file: str
    root: dict[str, object] = field(default_factory=dict[str, object])
    places: dict[Path, Place] = field(default_factory=dict[Path, Place])
    faults: list[Fault] = field(default_factory=list[Fault])
    broken: set[Path] = field(default_factory=set[Path])
    """Values that have a fault already, so that no second one is reported for them."""
    variables: dict[Path, str] = field(default_factory=dict[Path, str])
    """Values that came from the environment -> the variable's name; these values are never shown."""
    references: set[Path] = field(default_factory=set[Path])
    """Texts that were written with one of `SCHEMES` in front."""
    warnings: list[str] = field(default_factory=list[str])
    files: dict[Path, str] = field(default_factory=dict[Path, str])
    """Mappings that stand in a file of their own -> that file."""

    def absorb(self, part: Document, at: Path) -> None:
        """Takes the places, faults and variables of another file, which says what is at `at`."""
        self.files[at] = part.file
        self.places.setdefault(at[:-1], Place(0, 0, 0, 0))
        self.places[at] = Place(1, 1, 1, 1)
        self.places |= part.places
        self.variables |= part.variables
        self.references |= part.references
        self.broken |= part.broken
        self.faults += part.faults

    def add(self, path: Path, message: str, *, at_key: bool = False) -> None:
        """Notes a fault at `path`, or at the nearest value around it that the file has."""
        self.broken.add(path)
        known = path
        while known and known not in self.places:
            known = known[:-1]
        place = self.places.get(known, Place(0, 0, 0, 0))
        line, column = (place.key_line, place.key_column) if at_key else (place.line, place.column)
        self.faults.append(Fault(self.file_of(path), line, column, dotted(path), message))

    def file_of(self, path: Path) -> str:
        """Returns the file in which the value at `path` stands."""
        return next(
            (self.files[path[:length]] for length in range(len(path), 0, -1) if path[:length] in self.files), self.file
        )


Substitute = Callable[[Document, Path, str], str]
"""Replaces `${VARIABLE}` in one text and notes what is wrong with it in the document."""


def dotted(path: Path) -> str:
    """Returns `routes.fast.deployments.0.model` for a path."""
    return ".".join(str(part) for part in path)


def quoted_variable(document: Document, path: Path) -> str:
    """Returns `${NAME}` if the text at `path` came from a variable, "" if it did not."""
    name = document.variables.get(path)
    return f"${{{name}}}" if name else ""


def as_mapping(value: object) -> Mapping[str, object]:
    """Returns a mapping of the document, or an empty one where it has something else."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """Returns a list of the document, or an empty one where it has something else."""
    return cast("list[object]", value) if isinstance(value, list) else []


def as_number(value: object) -> float | None:
    """Returns a number of the document, which a variable may have given as text, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def read_file(path: FilePath) -> bytes:
    """Returns the bytes of a settings file, or so many that it is too long; raises ConfigError."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError([Fault(str(path), 0, 0, "", f"cannot be read: {reason}")]) from None


def read_document(file: str, data: bytes, substitute: Substitute, at: Path = ()) -> Document:
    """Returns what `data` says, as the value at `at`; raises ConfigError if it is no YAML mapping at all."""
    document = Document(file)
    root = _compose(file, _decode(file, data))
    if root is not None and not _is_null(root):
        if not isinstance(root, yaml.MappingNode):
            raise _stop(file, root.start_mark, "the file must hold settings as 'name: value' lines")
        reader = _Reader(document, substitute)
        document.root = reader.mapping(at, root)
    return document


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "null"


def _decode(file: str, data: bytes) -> str:
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError([Fault(file, 0, 0, "", f"the file is longer than {MAX_FILE_BYTES} bytes")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        raise ConfigError([Fault(file, line, column, "", "the file is not UTF-8 text")]) from None


def _compose(file: str, text: str) -> yaml.Node | None:
    try:
        _check_depth(file, text)
        loader = yaml.CSafeLoader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise _stop(file, error.problem_mark or error.context_mark, _syntax(text, error)) from None
    except yaml.YAMLError as error:
        raise _unreadable(file, text, error) from None


def _check_depth(file: str, text: str) -> None:
    depth = 0
    parse = cast(
        "Callable[[str, type], Iterator[yaml.Event]]",
        yaml.parse,  # pyright: ignore[reportUnknownMemberType]
    )
    for event in parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _stop(file, event.start_mark, f"nested more than {MAX_DEPTH} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _syntax(text: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    problem = f"not valid YAML: {error.problem or error.context}"
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return f"{problem}; indent with spaces, not with tabs"
    if "${" in line:
        return f"{problem}; inside [...] and {{...}} put quotes around ${{VARIABLE}}"
    return problem


def _unreadable(file: str, text: str, error: yaml.YAMLError) -> ConfigError:
    # The reader's errors carry an offset into the text instead of a mark.
    offset = getattr(error, "position", None)
    if not isinstance(offset, int):
        return ConfigError([Fault(file, 0, 0, "", f"not valid YAML: {error}")])
    before = text[:offset]
    line, column = before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1
    reason = getattr(error, "reason", "unreadable character")
    return ConfigError([Fault(file, line, column, "", f"not valid YAML: {reason}")])


def _stop(file: str, mark: yaml.Mark | None, message: str) -> ConfigError:
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    return ConfigError([Fault(file, line, column, "", message)])


class _Reader:
    """Walks the nodes of one document, collecting values, places and faults."""

    def __init__(self, document: Document, substitute: Substitute) -> None:
        self._document = document
        self._substitute = substitute
        self._count = 0

    def mapping(self, path: Path, node: yaml.MappingNode) -> dict[str, object]:
        """Returns the mapping with its keys as written; of repeated keys the first one counts."""
        result: dict[str, object] = {}
        for key, value in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            name = self._key(path, key)
            if name is None:
                continue
            inner = (*path, name)
            if name in result:
                first = self._document.places[inner].key_line
                self._fault(key, inner, f"already set in line {first}")
                continue
            self._place(inner, key, value)
            result[name] = self._value(inner, value)
        return result

    def _key(self, path: Path, node: yaml.Node) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._fault(node, path, "a name must be text, not a list or a mapping")
            return None
        name = cast("str", node.value)
        if node.tag == _TAG + "merge":
            self._fault(node, (*path, name), "merge keys (<<) are not supported; repeat the settings")
            return None
        return name

    def _value(self, path: Path, node: yaml.Node) -> object:
        self._count += 1
        if self._count > MAX_VALUES or len(path) > MAX_DEPTH:
            raise _stop(self._document.file, node.start_mark, "aliases make the file too large")
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self.mapping(path, node)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return self._sequence(path, node)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(path, node)
        self._unknown_tag(path, node)
        return None

    def _sequence(self, path: Path, node: yaml.SequenceNode) -> list[object]:
        result: list[object] = []
        for index, value in enumerate(cast("list[yaml.Node]", node.value)):
            self._place((*path, index), value, value)
            result.append(self._value((*path, index), value))
        return result

    def _scalar(self, path: Path, node: yaml.ScalarNode) -> object:
        text = cast("str", node.value)
        match node.tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "int" if _INT.fullmatch(text) and len(text) <= 30:
                return int(text)
            case "float" if _FLOAT.fullmatch(text):
                return float(text)
            case "str" | "bool" | "int" | "float" | "timestamp" | "value":
                if text.startswith(SCHEMES):
                    self._document.references.add(path)
                return self._substitute(self._document, path, text)
            case _:
                self._unknown_tag(path, node)
                return None

    def _unknown_tag(self, path: Path, node: yaml.Node) -> None:
        tag = node.tag.replace(_TAG, "!!", 1)
        self._document.broken.add(path)
        self._fault(node, path, f"the tag {tag!r} is not supported")

    def _place(self, path: Path, key: yaml.Node, value: yaml.Node) -> None:
        at, of_key = value.start_mark, key.start_mark
        self._document.places[path] = Place(at.line + 1, at.column + 1, of_key.line + 1, of_key.column + 1)

    def _fault(self, node: yaml.Node, path: Path, message: str) -> None:
        mark = node.start_mark
        fault = Fault(self._document.file, mark.line + 1, mark.column + 1, dotted(path), message)
        self._document.faults.append(fault)

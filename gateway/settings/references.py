"""Secrets that the file only says the place of: `file:PATH`, `env:NAME`, `cmd:COMMAND`; `literal:TEXT` is the text.

They may stand wherever the settings have a secret, and in this module alone they become one. What was written decides:
a variable (`${NAME}`) whose value begins so is a secret that begins so.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path as FilePath
from typing import Any, Final, NamedTuple, cast

from pydantic import ValidationError

from gateway.secret import Secret
from gateway.settings.anatomy import alternatives, member
from gateway.settings.document import Document, Path, as_mapping, quoted_variable
from gateway.settings.model import CredentialsSettings, Settings
from gateway.settings.regular import read_regular
from gateway.settings.scalars import CONFIG

MAX_BYTES: Final = 64 * 1024
"""Of a file or of what a command prints: more is no secret."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OTHERS_READ: Final = "others on this machine may read it; `chmod o-r` takes that away"


class Unfetched(Exception):
    """A secret could not be had; the message says why and shows neither the secret nor what a variable holds."""


class SecretFile(NamedTuple):
    """A file that holds a secret of the settings."""

    path: str
    shown: str
    """What it is called where people read it: the value of a variable is shown to nobody."""


def secret_files(document: Document) -> list[SecretFile]:
    """Returns the files that secrets of the document stand in, each once."""
    texts = _texts(document.root, Settings, ())
    named = (_file_at(document, path, text) for path, _, _, text in texts if path not in document.broken)
    return list(dict.fromkeys(file for file in named if file is not None))


def _file_at(document: Document, path: Path, text: str) -> SecretFile | None:
    """Returns the file that the text at `path` names, None if it names none."""
    scheme, _, name = text.partition(":")
    if path not in document.references or scheme != "file":
        return None
    variable = quoted_variable(document, path)
    return SecretFile(name, f"the file that {variable} names" if variable else name)


def fetch_secrets(document: Document, environ: Mapping[str, str]) -> None:
    """Puts a `Secret` in the place of every text of the document that is one, or says it; notes faults and warnings."""
    fetcher = _Fetcher(document, environ)
    for path, holder, key, text in list(_texts(document.root, Settings, ())):
        if path in document.broken:
            continue
        try:
            holder[key] = fetcher.secret(path, text)
        except Unfetched as error:
            document.add(path, str(error))


def _texts(value: object, annotation: Any, path: Path) -> Iterator[tuple[Path, Any, str | int, str]]:
    """Yields each text below `value` that the settings want to be a secret: its path, what it stands in, and where."""
    if isinstance(value, dict):
        items: list[tuple[str | int, object]] = list(cast("dict[str | int, object]", value).items())
    elif isinstance(value, list):
        items = list(enumerate(cast("list[object]", value)))
    else:
        return
    for key, each in items:
        inner = member(annotation, key)
        if inner is None:
            continue
        if isinstance(each, str):
            if Secret in alternatives(inner):
                yield (*path, key), cast("Any", value), key, each
        else:
            yield from _texts(each, inner, (*path, key))


class _Fetcher:
    """Gets the secrets of one document; a command that stands in several places runs once."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self._document = document
        self._environ = environ
        self._rules = _rules(document)
        self._printed: dict[str, str] = {}

    def secret(self, path: Path, text: str) -> Secret:
        """Returns what `text` at `path` says; raises Unfetched."""
        if path not in self._document.references:
            return Secret(text, CONFIG)
        scheme, _, rest = text.partition(":")
        variable = quoted_variable(self._document, path)
        if file := _file_at(self._document, path, text):
            return Secret(self._read(path, file), f"file {variable or rest}")
        match scheme:
            case "env":
                return Secret(self._variable("" if variable else rest), f"env {rest}")
            case "cmd":
                return self._command(rest, is_shown=not variable)
            case _:
                return Secret(rest, CONFIG)

    def _read(self, path: Path, file: SecretFile) -> str:
        shown = file.shown
        try:
            found = read_regular(file.path, MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = (getattr(error, "strerror", None) or "no path").lower()
            raise Unfetched(f"{shown} cannot be read: {reason}") from None
        if found is None:
            raise Unfetched(f"{shown} is no regular file")
        data, mode = found
        if mode & stat.S_IWOTH:
            raise Unfetched(f"{shown}: others on this machine may write it; `chmod o-w` takes that away")
        if mode & stat.S_IROTH:
            if self._rules.strict:
                raise Unfetched(f"{shown}: {_OTHERS_READ}")
            self._document.warnings.append(f"{'.'.join(map(str, path))}: {shown}: {_OTHERS_READ}")
        return _text(data, shown)

    def _variable(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise Unfetched("after `env:` comes the name of an environment variable, as it is")
        value = self._environ.get(name, "")
        if not value.strip():
            raise Unfetched(f"the environment variable {name} is not set")
        return value

    def _command(self, line: str, *, is_shown: bool) -> Secret:
        if not self._rules.allow_commands:
            raise Unfetched("commands are not run; set credentials.allow_commands to true, or use `file:` or `env:`")
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise Unfetched(f"the command cannot be read: {str(error).lower()}") from None
        if not words:
            raise Unfetched("after `cmd:` comes a command")
        # `TOKEN=... command` is what a shell would take: here the token would be the program.
        program = FilePath(words[0]).name if is_shown and "=" not in words[0] else ""
        if line not in self._printed:
            self._printed[line] = self._run(words, f"the command `{program}`" if program else "the command")
        return Secret(self._printed[line], f"cmd {program}".strip())

    def _run(self, words: list[str], shown: str) -> str:
        # No shell. What it says on its standard error is thrown away: it may quote the secret.
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own words, and only where the file allows it
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=dict(self._environ),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = (getattr(error, "strerror", None) or "it has a null character").lower()
            raise Unfetched(f"{shown} cannot be run: {reason}") from None
        seconds = self._rules.command_seconds
        printed, is_late = _printed(process, seconds)
        if is_late:
            raise Unfetched(f"{shown} took longer than {seconds:g} s (credentials.command_seconds)")
        if process.returncode and len(printed) <= MAX_BYTES:
            raise Unfetched(f"{shown} ended with status {process.returncode}; run it by hand to see why")
        return _text(printed, shown)


def _printed(process: subprocess.Popen[bytes], seconds: float) -> tuple[bytes, bool]:
    """Returns what a command prints, cut after `MAX_BYTES`, and whether it took too long; it has ended then."""
    late = threading.Event()

    def end() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    with process:
        printed = process.stdout.read(MAX_BYTES + 1) if process.stdout else b""
        if len(printed) > MAX_BYTES:
            _kill(process)
    timer.cancel()
    return printed, late.is_set()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a command and what it has started, which would go on without it."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _rules(document: Document) -> CredentialsSettings:
    try:
        return CredentialsSettings.model_validate(as_mapping(document.root.get("credentials")))
    except ValidationError:  # what is wrong there is told with everything else
        return CredentialsSettings()


def _text(data: bytes, shown: str) -> str:
    """Returns what a file or a command says, without the newline at its end."""
    if len(data) > MAX_BYTES:
        raise Unfetched(f"{shown} has more than {MAX_BYTES} bytes, which is no secret")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Unfetched(f"{shown} gives no UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise Unfetched(f"{shown} gives nothing")
    return text

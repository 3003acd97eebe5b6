"""`${VARIABLE}` in the values of a settings file."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.settings.document import Document, Path

_PART = re.compile(r"\$\$|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^{}]*)?\}|\$\{")


class Variables:
    """Replaces `${VARIABLE}` and `${VARIABLE:-default}` once; `$$` is a literal `$`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __call__(self, document: Document, path: Path, text: str) -> str:
        """Returns `text` with the variables' values, which are not looked into again; notes faults."""
        if "$" not in text:
            return text
        return _PART.sub(lambda match: self._part(document, path, match), text)

    def _part(self, document: Document, path: Path, match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if name is None:
            if match[0] == "$$":
                return "$"
            document.add(path, "'${' must begin ${VARIABLE} or ${VARIABLE:-default}; write $${ for the text")
            return match[0]
        value = self._environ.get(name)
        if default is not None:
            value = value or default[2:]
        if value is None:
            document.add(path, f"the environment variable {name} is not set")
            return match[0]
        document.variables[path] = name
        return value

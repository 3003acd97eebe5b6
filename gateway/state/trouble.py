"""What is wrong with a Redis server, in words of our own: what a server or a library says may hold anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

# Where a script fails, the server puts its code amid other words.
_CODE: Final = re.compile(r"(?<![A-Z])(MISCONF|NOPERM|OOM|READONLY)(?![A-Z])")
_CODES: Final[Mapping[str, str]] = {
    "MISCONF": "it cannot save its data and takes no writes",
    "NOPERM": "the user may not do what is needed",
    "OOM": "it is out of memory",
    "READONLY": "it takes no writes",
}
# By the names of classes: those of a package that may not be installed cannot be imported here.
_WORDS: Final[Mapping[str, str]] = {
    "ConnectionRefusedError": "connection refused",
    "gaierror": "the name of its host is not known",
    "SSLCertVerificationError": "its certificate is not trusted",
    "SSLError": "no TLS there",
    "AuthenticationError": "it wants another user or password",
    "AuthenticationWrongNumberOfArgsError": "it wants another user or password",
    "NoPermissionError": "the user may not do what is needed",
    "ReadOnlyError": "it takes no writes",
    "OutOfMemoryError": "it is out of memory",
    "BusyLoadingError": "it is still loading its data",
    "MasterDownError": "it has lost its master",
    "NoScriptError": "it forgets what it was told",
    "MaxConnectionsError": "it has too many clients",
    "InvalidResponse": "what answers is no Redis",
    "TimeoutError": "no answer in time",
}

_LOST: Final = frozenset({"ConnectionError", "ConnectionResetError", "BrokenPipeError"})


def describe(error: BaseException) -> str:
    """Returns a few words about what ended a connection; nothing that somebody else wrote."""
    errors = list(_chain(error))
    for each in errors:
        for kind in type(each).__mro__:
            if kind.__name__ in _WORDS:
                return _WORDS[kind.__name__]
    for each in errors:
        if type(each).__name__ == "ResponseError":
            code = _CODE.search(str(each))
            return _CODES[code[1]] if code else "it refuses a command"
    if any(isinstance(each, OSError) and type(each).__name__ not in _LOST for each in errors):
        return "no connection"
    if any(type(each).__name__ in _LOST for each in errors):
        return "connection lost"
    return f"unexpected {type(errors[0]).__name__}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an error, then what it came from."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__

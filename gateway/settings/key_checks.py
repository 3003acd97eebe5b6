"""Checks of the keys that callers present, among each other; no message shows one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.secret import Secret
from gateway.settings.document import Document, Path, as_list, as_mapping
from gateway.settings.scalars import DEFAULT_PORT


def client_key_names(document: Document) -> dict[str, int]:
    """Returns the name of each client key that has one, and where in `server.api_keys` it stands first."""
    names: dict[str, int] = {}
    for index, entry in enumerate(_entries(document)):
        name = as_mapping(entry).get("name")
        if isinstance(name, str):
            names.setdefault(name, index)
    return names


def check_keys(document: Document) -> None:
    """Adds faults for clients' keys and names that occur twice, and for a way into the admin API that is none."""
    first_of_name = client_key_names(document)
    for index, entry in enumerate(_entries(document)):
        name = as_mapping(entry).get("name")
        if isinstance(name, str) and (first := first_of_name[name]) != index:
            path: Path = ("server", "api_keys", index, "name")
            if path not in document.broken:
                document.add(path, f"is the name of server.api_keys.{first} already")
    first_of_digest: dict[bytes, int] = {}
    for path, index, key in _keys(document):
        first = first_of_digest.setdefault(key.digest(), index)
        if first != index and path not in document.broken:
            document.add(path, f"is the same key as server.api_keys.{first}; give each client one of its own")
    _check_admin(document, first_of_digest)


def _check_admin(document: Document, clients: dict[bytes, int]) -> None:
    admin = as_mapping(document.root.get("admin"))
    key = admin.get("key")
    if admin.get("port") is not None and key is None and ("admin", "port") not in document.broken:
        document.add(("admin", "port"), "needs a key for the admin API; set admin.key as well")
    _check_ports(document, admin)
    if isinstance(key, Secret) and key.digest() in clients and ("admin", "key") not in document.broken:
        owner = clients[key.digest()]
        document.add(("admin", "key"), f"is a client's key as well (server.api_keys.{owner}); it must be another one")


def _check_ports(document: Document, admin: Mapping[str, object]) -> None:
    """Two listeners on one port: whoever binds last would take the other's requests, or not start."""
    server = as_mapping(document.root.get("server"))
    used = {"server.port": server.get("port", DEFAULT_PORT)}
    for path, port in (
        (("server", "metrics_port"), server.get("metrics_port")),
        (("admin", "port"), admin.get("port")),
    ):
        if not isinstance(port, int) or isinstance(port, bool) or not port or path in document.broken:
            continue
        taken = next((name for name, other in used.items() if other == port), None)
        if taken:
            document.add(path, f"is {taken} as well ({port}); give it a port of its own")
        used[".".join(path)] = port


def _entries(document: Document) -> list[object]:
    return as_list(as_mapping(document.root.get("server")).get("api_keys"))


def _keys(document: Document) -> Iterator[tuple[Path, int, Secret]]:
    for index, entry in enumerate(_entries(document)):
        path: Path = ("server", "api_keys", index)
        key = as_mapping(entry).get("key")
        if isinstance(entry, Secret):
            yield path, index, entry
        elif isinstance(key, Secret):
            yield (*path, "key"), index, key

"""What is to be explained: a request as the main port would read it, and a copy of everything that it would touch."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Raw

from adapters.codec import join_object, raw
from adapters.types import Call, Operation
from gateway.engine.explain import explain
from gateway.engine.explanation import Explanation
from gateway.engine.picture import Copies
from gateway.engine.script import Script
from gateway.errors import InvalidRequest
from gateway.http.api.inbound import read_call, split
from gateway.routing.asking import Asking
from gateway.runtime import Runtime

MINIMAL: Final = b'{"messages":[{"role":"user","content":"Hello!"}]}'
"""The body that is explained where none is given."""
MAX_SEED: Final = 2**32 - 1
_OPERATIONS: Final[Mapping[str, Operation]] = {
    "messages": Operation.CHAT,
    "prompt": Operation.COMPLETIONS,
    "input": Operation.EMBEDDINGS,
    "documents": Operation.RERANK,
}
"""The member that only requests of one operation have."""


def read_explained(model: str, body: bytes) -> Call:
    """Returns the request that `body` is, for `model` whatever it says itself; raises InvalidRequest."""
    fields = split(body, unchecked="messages")
    operation = next((operation for name, operation in _OPERATIONS.items() if name in fields), None)
    if operation is None:
        message = f"the body is of no known operation: it has none of {', '.join(_OPERATIONS)}"
        raise InvalidRequest(message, code="missing_required_parameter", param="body")
    named = raw(model)
    if bytes(fields.get("model", Raw())) != bytes(named):
        body = join_object({**fields, "model": named})
    return read_call(operation, body, id="chatcmpl-explained", created=int(time.time()))


def prepared(runtime: Runtime, call: Call, script: Script, seed: int | None = None) -> Callable[[], Explanation]:
    """Returns what explains `call` by copies of the live state as it is now; raises UnknownModel.

    To be called in the runtime's own thread. What it returns works for a while, and where no event loop runs; without
    a `seed` it takes one that cannot be foretold.
    """
    chain = Copies().chain(runtime.router.chain(call.model))
    now = time.monotonic()
    chosen = secrets.randbelow(MAX_SEED + 1) if seed is None else seed

    def work() -> Explanation:
        return explain(chain, Asking(call), script, chosen, now=now, scrubber=runtime.scrubber)

    return work

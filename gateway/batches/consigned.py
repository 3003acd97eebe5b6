"""Lines that a provider's batch API takes: what is sent of them, and what its answers mean for each."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from adapters.batches import NEVER_MADE, Answered, Item
from adapters.errors import Malformed, Unsupported, UpstreamSaid
from adapters.failures import Failure, FailureKind
from adapters.types import Call, Head, HttpRequest, Reply
from gateway.access.keys import ANONYMOUS, Caller
from gateway.batches.lines import ENDPOINTS, answered, refused
from gateway.batches.running import Done, Ending, Pause, ReadCall, ending_of
from gateway.batches.visit import Visit
from gateway.credentials.keyring import Key
from gateway.domain import Attempt, Outcome
from gateway.engine.gate import Lease
from gateway.engine.parts import parts_of
from gateway.errands import Errand, planned
from gateway.errors import GatewayError
from gateway.records import NO_LIMITS
from gateway.registry.adapters import BATCHES
from gateway.routing.asking import Asking
from gateway.routing.deployment import Deployment
from gateway.routing.route import Plan, Route, Stage
from gateway.storage.jobs import COMPLETED, Batch, Consignment, Line

_ANSWERED: Final = 200
_UNDONE: Final = Pause(0.0, is_tried=False)


class Prepared(Struct, frozen=True):
    """A line that may go."""

    line: Line
    deployment: Deployment
    request: HttpRequest
    lease: Lease | None


class Way(Struct, frozen=True):
    """How the answers of a consignment are fetched and read."""

    consignment: Consignment
    deployment: Deployment
    key: Key
    is_route_gone: bool
    """The deployment is that of `provider/model`, at the price that the route had."""


class ConsignedLines:
    """Makes requests of lines and endings of answers; one for all."""

    def __init__(self, read_call: ReadCall, next_id: Callable[[], str], told: Callable[[Outcome, str], None]) -> None:
        """`told` hears of each line that has come to its end, and the name of its key."""
        self._read_call = read_call
        self._next_id = next_id
        self._told = told

    async def prepared(self, visit: Visit, line: Line) -> Prepared | None:
        """Returns a line that its key, route and budgets let go to a batch API; None for one that is made alone.

        Whatever is wrong with a line, it hears of it there.
        """
        runtime = visit.runtime
        try:
            client = runtime.keys.caller(visit.batch.owner)
            if _has_limits(client):
                return None  # of so many a minute, or at once: those are about requests that are made one by one
            asking = self._asking(visit, line, client)
            plan = planned(runtime, asking, client, Outcome(""))
            first = plan.first
            if not takes_batches(first, asking.call) or len(parts_of(asking.call, plan, first)) > 1:
                return None
            request = first.adapter.request(asking.call, first.target)
            if plan.is_strict and request.dropped:
                return None
            lease = await runtime.gate.admit(asking, plan, client)
        except (GatewayError, Unsupported):
            return None
        return Prepared(line, first, request, lease)

    def way(self, visit: Visit, consignment: Consignment, line: Line) -> Way | None:
        """Returns how answers are fetched and read: as the route says, or, if that has gone, as `provider/model` does.

        None if the configuration has no deployment of that kind with the credential any more.
        """
        client = visit.runtime.keys.known(visit.batch.owner)
        for model in dict.fromkeys(("", consignment.model)):
            asking = self._asking(visit, line, client, model)
            try:
                plan = planned(visit.runtime, asking, ANONYMOUS, Outcome(""))
            except GatewayError:
                continue
            for each in (each for stage in plan.stages for each in stage.route.deployments):
                is_it = public_model(each) == model if model else each.id == consignment.deployment
                key = key_of(each, consignment.key)
                if not is_it or key is None or each.adapter.protocol not in BATCHES:
                    continue
                if model and consignment.price is not None:
                    each = dataclasses.replace(each, price=consignment.price, is_price_own=True)
                return Way(consignment, each, key, bool(model))
        return None

    def ending(self, visit: Visit, way: Way, line: Line, said: Answered, lease: Lease | None) -> Ending:
        """Returns what an answer makes of a line, and has it recorded, once however often it is read."""
        if said.status == NEVER_MADE:
            return _UNDONE
        runtime, deployment = visit.runtime, way.deployment
        client = runtime.keys.known(visit.batch.owner)
        outcome = _outcome(visit.batch, way, line, client)
        # It was let go; what its key may do since has no part in what was used.
        asking = self._asking(visit, line, client)
        if way.is_route_gone:
            outcome.model = runtime.router.show(asking.call.model)
            plan = Plan(outcome.model, (Stage(Route(deployment.id, (deployment,))),))
        else:
            plan = planned(runtime, asking, ANONYMOUS, outcome)
        reply = _read(deployment, asking.call, said)
        if isinstance(reply, Reply):
            outcome.usage, outcome.response_model, outcome.finish = reply.usage, reply.model, reply.finish
            outcome.status, outcome.bytes_in, outcome.bytes_out = _ANSWERED, len(line.body), len(reply.body)
            ending: Ending = Done(COMPLETED, answered(line, outcome.request_id, bytes(reply.body)))
            body = bytes(reply.body)
        else:
            outcome.attempts[0].failure = reply
            error = runtime.executor.client_error(reply, deployment.id, (), outcome.attempts)
            outcome.status, outcome.error_code = error.status, error.code or error.type
            ending, body = ending_of(error, line, refused(line, outcome.request_id, error)), error.body()
        if isinstance(ending, Done):
            errand = Errand(runtime, outcome, line.body)
            errand.resume(plan, client, lease or runtime.gate.resume(client))
            if errand.kept is not None:
                errand.kept.add(body)
            errand.settle()
            runtime.metrics.request_started()
            errand.tell()
            self._told(outcome, client.name)
        return ending

    def _asking(self, visit: Visit, line: Line, client: Caller, model: str = "") -> Asking:
        """Returns what a line asks for, in place of its own model for another one; raises GatewayError."""
        id, operation = f"chatcmpl-{self._next_id()}", ENDPOINTS[visit.batch.endpoint]
        call = self._read_call(operation, line.body, id=id, created=int(time.time()))
        if model:
            call = replace(call, model=model)
        return Asking(call, key_name=client.name, key_tags=client.tags)


def takes_batches(deployment: Deployment, call: Call) -> bool:
    """Says whether a request may go to the batch API of a deployment."""
    protocol = BATCHES.get(deployment.adapter.protocol)
    return deployment.key_ring.spec.has_batches and protocol is not None and call.operation in protocol.operations


def item_of(consignment: Consignment, prepared: Prepared) -> Item:
    """Returns what is sent of a line."""
    return Item(f"{consignment.id}-{prepared.line.number}", prepared.request.body)


def _has_limits(client: Caller) -> bool:
    owners = (client.key, client.project, client.team)
    return any(owner is not None and owner.limits != NO_LIMITS for owner in owners)


def public_model(deployment: Deployment) -> str:
    """Returns what a deployment is called as `provider/model`."""
    return f"{deployment.provider}/{deployment.target.model}"


def key_of(deployment: Deployment, fingerprint: str) -> Key | None:
    """Returns the credential with a fingerprint: a provider shows a batch to whoever sent it, and to nobody else."""
    return next((key for key in deployment.key_ring.keys if key.account.fingerprint == fingerprint), None)


def _outcome(batch: Batch, way: Way, line: Line, client: Caller) -> Outcome:
    now, deployment = time.monotonic(), way.deployment
    attempt = Attempt(1, deployment.id, started=now, first_byte=now, ended=now, provider=deployment.provider)
    attempt.key = way.key.number
    return Outcome(
        f"req_{way.consignment.id}_{line.number}",
        key=client.id,
        operation=ENDPOINTS[batch.endpoint].value,
        provider=deployment.provider,
        deployment=deployment.id,
        attempts=[attempt],
        started=now,
        first_byte=now,
        ended=now,
        is_batched=True,
    )


def _read(deployment: Deployment, call: Call, said: Answered) -> Reply | Failure:
    adapter, target, head = deployment.adapter, deployment.target, Head(said.status)
    try:
        if said.status == _ANSWERED:
            return adapter.reply(call, target, head, said.body)
        return adapter.failure(target, head, said.body)
    except UpstreamSaid as error:
        return error.failure
    except Malformed as error:
        return Failure(FailureKind.MALFORMED, error.message, code=error.code)

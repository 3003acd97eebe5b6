"""An explanation, printed for people."""

from __future__ import annotations

import json
from collections.abc import Iterator

from gateway.cli.output import print_pairs, print_table
from gateway.engine.explanation import Candidate, End, Explanation, StageView, Step
from gateway.routing.route import ANY_FAILURE

_NONE = "-"
_ANY = {kind.value for kind in ANY_FAILURE}


def print_explanation(told: Explanation) -> None:
    """Prints what was asked, who may answer, what is tried, what comes of it, and the upstream request."""
    print_pairs(_asked(told))
    for stage in told.stages:
        print()
        _print_stage(stage)
    if told.steps:
        print()
        print_table(("ATTEMPT", "AT", "DEPLOYMENT", "KEY", "RESULT"), map(_step, told.steps))
    print()
    print_pairs(_end(told.end))
    if told.timeouts:
        print()
        rows = ((each.name, f"{each.seconds:g} s", each.setting) for each in told.timeouts)
        print_table(("TIMEOUT", "AFTER", "SETTING"), rows)
    _print_request(told)


def _asked(told: Explanation) -> Iterator[tuple[str, str]]:
    yield "model", f"{told.model} ({told.kind})"
    answer = f", at most {told.answer_tokens} of answer" if told.answer_tokens else ""
    yield "request", f"{told.operation}{', streamed' if told.stream else ''}; about {told.prompt_tokens} tokens{answer}"
    if told.needs:
        yield "needs", ", ".join(told.needs)
    yield "seed", str(told.seed)
    if told.hedge is not None:
        after, paid = told.hedge.after_seconds, told.hedge.is_paid_for
        when = "not yet: too few requests are known" if after is None else f"after {after:g} s"
        yield "hedge", when + ("" if paid or after is None else f", but not now: at most {told.hedge.share:.0%}")
    if told.mirror is not None:
        copied = "copied" if told.mirror.is_copied else "not copied this time"
        yield "mirror", f"{told.mirror.to}, {told.mirror.share:.0%} of the requests; {copied}"


def _print_stage(stage: StageView) -> None:
    kinds = "any failure that is not the request's own" if set(stage.after) == _ANY else ", ".join(stage.after)
    after = f", takes over after {kinds}" if kinds else ""
    print(f"{stage.route} ({stage.strategy}){after}")
    if stage.candidates:
        columns = ("DEPLOYMENT", "ORDER", "WEIGHT", "USD PER M", "LATENCY", "IN FLIGHT", "KEYS", "NOW")
        print_table(columns, map(_candidate, stage.candidates))
    for each in stage.left_out:
        print(f"left out: {each.deployment}: {each.reason}")


def _candidate(each: Candidate) -> tuple[str, ...]:
    price = _NONE
    if each.input_usd_per_million is not None and each.output_usd_per_million is not None:
        price = f"{each.input_usd_per_million:g} in, {each.output_usd_per_million:g} out"
    latency = _NONE if each.latency_seconds is None else f"{each.latency_seconds * 1000:.0f} ms"
    return (
        each.deployment,
        str(each.order),
        f"{each.weight:g}",
        price,
        latency,
        str(each.in_flight),
        str(each.keys),
        "; ".join(_obstacles(each)) or "ready",
    )


def _obstacles(each: Candidate) -> Iterator[str]:
    if each.refuses:
        yield f"passed over: {each.refuses}"
    if each.obstacle:
        yield each.obstacle + (f" for {each.obstacle_seconds:.1f} s" if each.obstacle_seconds else "")
    for key in each.resting:
        by = "told by the provider" if key.is_told else "our judgement"
        yield f"key {key.key} rests for {key.seconds:.1f} s ({key.reason}, {by})"


def _step(step: Step) -> tuple[str, ...]:
    said = " ".join(filter(None, (step.result, str(step.status or ""))))
    if step.result not in ("ok", "lost"):
        said += f" after {step.seconds:g} s" if step.seconds else ""
        said += f": {step.message}"
    notes = list(step.effects)
    if step.waited_seconds:
        notes.insert(0, f"after a pause of {step.waited_seconds:.2f} s")
    if step.is_hedge:
        notes.insert(0, "hedge")
    if step.part:
        notes.insert(0, f"part {step.part + 1}")
    key = f"{step.key} of {step.keys}"
    return (str(step.attempt), f"{step.at_seconds:.2f} s", step.deployment, key, "; ".join((said, *notes)))


def _end(end: End) -> Iterator[tuple[str, str]]:
    attempts = f"{end.attempts} attempt{'' if end.attempts == 1 else 's'}"
    if end.status == 200:
        fallback = f", after a fallback for {end.fallback}" if end.fallback else ""
        yield "the client gets", f"200 from {end.deployment}, {attempts}, {end.seconds:.2f} s{fallback}"
        return
    yield "the client gets", f"{end.status} {end.code or end.type}, {attempts}, {end.seconds:.2f} s"
    yield "message", end.message
    yield from end.headers.items()


def _print_request(told: Explanation) -> None:
    request = told.request
    if request is None:
        return
    print(f"\n{request.method} {request.url}")
    for name, value in request.headers:
        print(f"{name}: {value}")
    print()
    text = request.body if isinstance(request.body, str) else json.dumps(request.body, indent=2, ensure_ascii=False)
    print(text)
    if request.dropped:
        print(f"\nleft out of it: {', '.join(request.dropped)}")

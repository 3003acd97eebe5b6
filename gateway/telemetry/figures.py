"""The figures of one process, to be added to those of others.

What a scrape would show is taken as it is: families with samples. Counters and histograms add up, and go on counting
for a process that is gone. Gauges add up while their process lives; where a sum means nothing, the greatest or the
least one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import add
from typing import Final

from msgspec import Struct, msgpack
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gateway.telemetry.families import GREATEST, LEAST

_LASTING: Final = frozenset({"counter", "histogram"})
Labels = tuple[tuple[str, str], ...]
Series = dict[tuple[str, Labels], float]
"""Sample's name and labels -> value."""


class Figures(Struct):
    """One family: what it is, and its samples."""

    name: str
    help: str
    kind: str
    series: Series


_decoder = msgpack.Decoder(list[tuple[str, str, str, list[tuple[str, Labels, float]]]])


def figures_of(families: Iterable[Metric]) -> list[Figures]:
    """Returns the samples of a scrape."""
    return [
        Figures(
            family.name,
            family.documentation,
            family.type,
            {(sample.name, tuple(sample.labels.items())): sample.value for sample in family.samples},
        )
        for family in families
    ]


def encode_figures(figures: Iterable[Figures]) -> bytes:
    """Returns figures for another process."""
    return msgpack.encode(
        [(each.name, each.help, each.kind, [(*key, value) for key, value in each.series.items()]) for each in figures]
    )


def decode_figures(data: bytes) -> list[Figures]:
    """Returns what `encode_figures` was given."""
    return [
        Figures(name, help, kind, {(sample, labels): value for sample, labels, value in samples})
        for name, help, kind, samples in _decoder.decode(data)
    ]


def lasting(figures: Iterable[Figures]) -> list[Figures]:
    """Returns what goes on counting when the process is gone."""
    return [each for each in figures if each.kind in _LASTING]


def added(groups: Iterable[Iterable[Figures]]) -> list[Figures]:
    """Returns the figures of several processes as those of one."""
    sums: dict[str, Figures] = {}
    for figures in groups:
        for each in figures:
            known = sums.get(each.name)
            if known is None:
                sums[each.name] = Figures(each.name, each.help, each.kind, dict(each.series))
                continue
            join = _join(each)
            for key, value in each.series.items():
                before = known.series.get(key)
                known.series[key] = value if before is None else join(before, value)
    return list(sums.values())


def _join(family: Figures) -> Callable[[float, float], float]:
    if family.kind == "info" or family.name in GREATEST:
        return max
    return min if family.name in LEAST else add


def expose_figures(figures: Iterable[Figures], accept: str) -> bytes:
    """Returns OpenMetrics text if `accept` asks for it, else the classic text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_FiguresCollector(figures))
    encode, _ = choose_encoder(accept)
    return encode(registry)


class _FiguresCollector(Collector):
    def __init__(self, figures: Iterable[Figures]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        for each in self._figures:
            family = Metric(each.name, each.help, each.kind)
            for name, labels, value in _in_order(each.series):
                family.add_sample(name, dict(labels), value)
            yield family


def _in_order(series: Mapping[tuple[str, Labels], float]) -> Iterator[tuple[str, Labels, float]]:
    """Yields samples in the order of one process: a histogram's buckets stay together."""
    groups: dict[Labels, list[tuple[str, Labels, float]]] = {}
    for (name, labels), value in series.items():
        group = tuple(pair for pair in labels if pair[0] != "le")
        groups.setdefault(group, []).append((name, labels, value))
    for group in groups.values():
        yield from group

"""`python -m bench`: measures everything that is installed here, prints the table and keeps it in bench/results/."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench import report
from bench.measure import QUICK, Figure, Plan, above_direct, machine, measure, over_pass_through, raise_file_limit
from bench.variants import Variant, installed_variants, peer_starter, upstreams

_RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark; returns 1 if a variant could not be measured or requests failed."""
    options, variants = _options(arguments)
    if not sys.platform.startswith("linux"):
        sys.stderr.write("The benchmark reads CPU time from /proc and so needs Linux.\n")
        return 1
    raise_file_limit()
    # Ends by an exception, so that no server outlives the benchmark.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    about = {"date": time.strftime("%Y-%m-%d %H:%M"), "python": sys.version.split()[0], **machine()}
    figures: list[Figure] = []
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="anyport-bench-") as name:
        folder = Path(name)
        with upstreams(folder, json_port=options.json_port, stream_port=options.stream_port) as ports:
            for variant in variants:
                _say(f"measuring {variant.name}")
                try:
                    figures.extend(measure(variant, ports, folder, QUICK if options.quick else Plan()))
                except (OSError, RuntimeError) as error:
                    failed[variant.name] = str(error)
                    _say(f"{variant.name} could not be measured: {error}")
    figures += [*above_direct(figures), *over_pass_through(figures)]
    text = report.markdown(figures, about, failed)
    sys.stdout.write(text)
    for path in report.write(options.results, time.strftime("%Y%m%d-%H%M%S"), figures, text, about):
        _say(f"wrote {path}")
    has_errors = any(figure.value for figure in figures if figure.measure.endswith(" errors"))
    return 1 if failed or has_errors else 0


def _options(arguments: list[str] | None) -> tuple[argparse.Namespace, list[Variant]]:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a rough answer in less than a minute")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="measure only this variant")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=URL=PID",
        help="measure a gateway that already runs and sends bench-json and bench-stream to the ports given below",
    )
    parser.add_argument("--json-port", type=int, default=0, help="port of the JSON upstream (default: any)")
    parser.add_argument("--stream-port", type=int, default=0, help="port of the stream upstream (default: any)")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="folder for the files of a run")
    options = parser.parse_args(arguments)
    try:
        peers = [_peer(text) for text in options.peer]
    except (ValueError, IndexError):
        parser.error("--peer must look like NAME=http://127.0.0.1:8000=1234")
    variants = [*installed_variants(), *peers]
    if unknown := set(options.only) - {variant.name for variant in variants}:
        parser.error(f"--only: not installed here: {', '.join(sorted(unknown))}")
    return options, [variant for variant in variants if not options.only or variant.name in options.only]


def _peer(text: str) -> Variant:
    name, url, pid = text.split("=", 2)
    return Variant(name, peer_starter(name, url, int(pid)), is_gateway=True)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(main())

"""Serves a model file with llama.cpp's own HTTP server: `llama_server.py FILE.gguf PORT NAME [--embeddings]`.

A process of its own: the server cannot be stopped inside one. It prints its address once it listens.
"""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

import xllamacpp

SEED = 3
"""Of every request that names none: the model says words by chance, and a test must not fail by it."""


def parameters(model: Path, port: int, name: str, *, embeddings: bool) -> xllamacpp.CommonParams:
    """Returns what the server is told: small, two slots, one thread, loopback only."""
    told = xllamacpp.CommonParams()
    told.model.path = str(model)
    told.model_alias = {name}
    told.hostnames = ["127.0.0.1"]
    told.port = port
    told.n_ctx = 8192
    told.n_parallel = 2
    told.n_predict = 512
    told.sampling.seed = SEED
    told.cpuparams.n_threads = 1
    told.use_jinja = True
    told.warmup = False
    if embeddings:
        told.embedding = True
        told.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return told


def main() -> None:
    """Serves until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("name")
    parser.add_argument("--embeddings", action="store_true")
    given = parser.parse_args()
    server = xllamacpp.Server(parameters(given.model, given.port, given.name, embeddings=given.embeddings))
    print("listening on", server.listening_address, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()

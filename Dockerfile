# docker build -t anyport .
# docker run --rm -p 8484:8484 --read-only --cap-drop ALL -e ANYPORT_API_KEY=... -e GROQ_API_KEY=... anyport
#
# Other machines can reach a container, so clients must present a key. The configuration inside takes it from
# ANYPORT_API_KEY; a file of your own is mounted over it:  -v ./anyport.yaml:/etc/anyport/anyport.yaml:ro
# Several replicas, with PostgreSQL and Redis: docs/deploy.md.

FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_ONLY_BINARY=:all:
WORKDIR /src
RUN ["python", "-m", "venv", "--without-pip", "/opt/anyport"]
# Before the source: layers that only change with the lock files. The first has what builds the package, for this stage
# alone; the second is what runs, with the drivers of PostgreSQL and Redis and the clouds' credentials.
COPY requirements/runtime.txt requirements/image.txt requirements/
RUN ["python", "-m", "pip", "install", "--require-hashes", "-r", "requirements/runtime.txt"]
RUN ["python", "-m", "pip", "--python", "/opt/anyport/bin/python", "install", "--require-hashes", "-r", "requirements/image.txt"]
COPY pyproject.toml README.md LICENSE ./
COPY adapters adapters
COPY config config
COPY gateway gateway
RUN ["python", "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "/wheel", "."]
RUN ["python", "-m", "pip", "--python", "/opt/anyport/bin/python", "install", "--no-deps", "--no-index", "--find-links", "/wheel", "anyport"]
RUN ["mkdir", "/opt/data"]
RUN printf 'server:\n  api_keys: ["${ANYPORT_API_KEY}"]\n' > /opt/anyport.yaml

FROM python:3.12-slim
LABEL org.opencontainers.image.title="Anyport" \
      org.opencontainers.image.description="An OpenAI-compatible gateway for language models" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/anyport /opt/anyport
COPY --from=build /opt/anyport.yaml /etc/anyport/anyport.yaml
# What must not be lost; a volume of its own, so that it can be written whatever the root file system is.
COPY --from=build --chown=65532:65532 /opt/data /data
VOLUME /data
# Bytecode was written at installation; at run time nothing is, so that the root file system may be read-only.
ENV PATH=/opt/anyport/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 ANYPORT_DATA_DIR=/data
WORKDIR /etc/anyport
USER 65532:65532
EXPOSE 8484
STOPSIGNAL SIGTERM
# Without proxies: HTTP_PROXY of the environment is not meant for the container itself. Without a shell.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:8484/health/live', timeout=2)"]
ENTRYPOINT ["anyport"]
CMD ["serve", "--host", "0.0.0.0"]

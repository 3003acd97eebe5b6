"""The OpenAPI description: what FastAPI knows of the shell, and the inference paths that go round it."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

from adapters.failures import FailureKind

_TEXT: Final = {"type": "string"}
_MODEL: Final = {"type": "string", "description": "A route of the configuration, or `provider/model`."}
_STREAM: Final = {"type": "boolean", "default": False, "description": "Answer as server-sent events."}

_BODIES: Final[dict[str, dict[str, Any]]] = {
    "/v1/chat/completions": {
        "summary": "Chat completion",
        "required": ["model", "messages"],
        "properties": {
            "model": _MODEL,
            "messages": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["role"]}},
            "stream": _STREAM,
        },
        "example": {"model": "demo/echo", "messages": [{"role": "user", "content": "Hello"}]},
    },
    "/v1/completions": {
        "summary": "Text completion (legacy)",
        "required": ["model"],
        "properties": {"model": _MODEL, "prompt": {}, "stream": _STREAM},
        "example": {"model": "demo/echo", "prompt": "Hello"},
    },
    "/v1/embeddings": {
        "summary": "Embeddings",
        "required": ["model", "input"],
        "properties": {
            "model": _MODEL,
            "input": {},
            "encoding_format": {"type": "string", "enum": ["float", "base64"]},
        },
        "example": {"model": "ollama/nomic-embed-text", "input": "Hello"},
    },
    "/v1/rerank": {
        "summary": "Rerank",
        "required": ["model", "query", "documents"],
        "properties": {
            "model": _MODEL,
            "query": _TEXT,
            "documents": {
                "type": "array",
                "minItems": 1,
                "items": {"anyOf": [_TEXT, {"type": "object"}]},
                "description": "Strings, or objects with `text`.",
            },
            "top_n": {"type": "integer", "minimum": 1, "description": "How many of the best to give."},
            "return_documents": {"type": "boolean", "default": False, "description": "Repeat each ranked document."},
        },
        "example": {
            "model": "cohere/rerank-v3.5",
            "query": "What is the capital of France?",
            "documents": ["Berlin is a city.", "Paris is the capital of France."],
        },
    },
}
_BATCH: Final[dict[str, Any]] = {
    "summary": "Run the requests of a file",
    "required": ["input_file_id", "endpoint", "completion_window"],
    "properties": {
        "input_file_id": _TEXT,
        "endpoint": _TEXT,
        "completion_window": {"type": "string", "enum": ["24h"]},
        "metadata": {"type": "object"},
    },
    "example": {
        "input_file_id": "file-0123",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    },
}
_NULLABLE: Final = {"type": ["string", "null"]}
_DETAILS: Final = {
    "type": "object",
    "description": "Where providers were asked: every attempt, in order.",
    "properties": {
        "attempts": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["deployment", "kind"],
                "properties": {
                    "deployment": _TEXT,
                    "kind": {
                        "type": "string",
                        "description": "The kind of failure; `lost` if another attempt was faster.",
                        "enum": [*(kind.value for kind in FailureKind), "lost"],
                    },
                    "status": {"type": "integer", "description": "HTTP status of the provider, if there was one."},
                },
            },
        }
    },
}
_HEADERS: Final = {
    "x-request-id": {"schema": _TEXT},
    "x-anyport-attempts": {"schema": {"type": "integer"}, "description": "How many attempts were made."},
    "x-anyport-overhead-ms": {"schema": {"type": "number"}, "description": "Milliseconds that no attempt took."},
    "x-anyport-deployment": {"schema": _TEXT, "description": "The deployment that was called last, if any was."},
    "x-anyport-fallback": {"schema": _TEXT, "description": "The kind of failure after which a fallback took over."},
}
_ERROR: Final = {
    "description": "An error in OpenAI's shape",
    "headers": {
        **_HEADERS,
        "x-should-retry": {"schema": {"type": "string", "enum": ["true", "false"]}},
        "retry-after": {"schema": {"type": "integer"}, "description": "Seconds, where they are known."},
    },
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "error": {
                        "type": "object",
                        "required": ["message", "type", "param", "code"],
                        "properties": {
                            "message": _TEXT,
                            "type": _TEXT,
                            "param": _NULLABLE,
                            "code": _NULLABLE,
                            "details": _DETAILS,
                        },
                    }
                },
            }
        }
    },
}


def describe(shell: FastAPI) -> dict[str, Any]:
    """Returns the OpenAPI document of everything that the gateway serves."""
    document = shell.openapi()
    paths: dict[str, Any] = {path: {"post": _post(body)} for path, body in _BODIES.items()}
    paths["/v1/models"] = {"get": _get("Models that are served")}
    paths["/v1/models/{id}"] = {
        "get": _get("One model", [{"name": "id", "in": "path", "required": True, "schema": _TEXT}])
    }
    span = [_moment("from", "A date or full hour."), _moment("to", "The first one that is not in it.")]
    paths["/v1/usage"] = {"get": _get("What the key has used, and what is left of its budgets", span)}
    start = _moment("from", "From when models are told apart: `models_from` of the snapshot to compare with.")
    paths["/v1/usage/snapshot"] = {"get": _get("Counters of what the key has ever used", [start])}
    paths |= _files_and_batches()
    return {
        **document,
        "paths": {**paths, **document.get("paths", {})},
        "components": {
            **document.get("components", {}),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _post(body: dict[str, Any]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": body["required"],
        "properties": body["properties"],
        "additionalProperties": True,
    }
    return {
        "summary": body["summary"],
        "tags": ["inference"],
        "security": [{"key": []}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": body["example"]}},
        },
        "responses": {
            "200": {"description": "The answer, JSON or server-sent events", "headers": _HEADERS},
            "default": _ERROR,
        },
    }


def _files_and_batches() -> dict[str, Any]:
    id = [{"name": "id", "in": "path", "required": True, "schema": _TEXT}]
    form = {
        "required": ["file", "purpose"],
        "properties": {"file": {"format": "binary"}, "purpose": {"const": "batch"}},
    }
    upload = {**_get("Upload a file"), "requestBody": {"content": {"multipart/form-data": {"schema": form}}}}
    return {
        "/v1/files": {"post": upload, "get": _get("Files of the key")},
        "/v1/files/{id}": {"get": _get("One file, without its bytes", id), "delete": _get("Delete a file", id)},
        "/v1/files/{id}/content": {"get": _get("The bytes of a file", id)},
        "/v1/batches": {"post": _post(_BATCH), "get": _get("Batches of the key")},
        "/v1/batches/{id}": {"get": _get("One batch", id)},
        "/v1/batches/{id}/cancel": {"post": _get("Cancel a batch", id)},
    }


def _moment(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": _TEXT}


def _get(summary: str, parameters: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "summary": summary,
        "tags": ["inference"],
        "security": [{"key": []}],
        "parameters": parameters or [],
        "responses": {"200": {"description": "OK"}, "default": _ERROR},
    }

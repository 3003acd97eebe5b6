"""The batch APIs of OpenAI, Anthropic and Gemini, from memory: what they hold, a test may end, lose and refuse."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from tests.upstreams.scripted import FIN, Answer, Recorded, json_response, raw, response

Answerer = Callable[[dict[str, Any]], dict[str, Any]]


class BatchApi:
    """What all have in common. `answer` makes of the body of a request what the provider says to it."""

    def __init__(self, answer: Answerer) -> None:
        self.answer = answer
        self.batches: dict[str, dict[str, Any]] = {}
        """Id -> the requests by their custom id, and how it stands."""
        self.alone: list[dict[str, Any]] = []
        """Bodies of requests that came one by one."""
        self.refuses = 0
        """A status that a new batch is refused with."""
        self.is_deaf = False
        """A batch is taken, and the connection closed before anything is said of it."""
        self.skips: set[str] = set()
        """Texts whose requests never come to their turn."""

    def begin(self, requests: dict[str, Any], **more: Any) -> dict[str, Any]:
        id = f"batch_{len(self.batches)}"
        self.batches[id] = {"id": id, "requests": requests, "is_over": False, "is_cancelled": False, **more}
        return self.batches[id]

    def end(self) -> None:
        """Has every batch come to its end."""
        for each in self.batches.values():
            each["is_over"] = True

    def __call__(self, request: Recorded) -> Answer:
        raise NotImplementedError

    def skipped(self, body: dict[str, Any]) -> bool:
        return any(text in json.dumps(body) for text in self.skips)

    def taken(self, answer: Any) -> Answer:
        return raw(FIN) if self.is_deaf else json_response(answer)


def _lines(lines: list[Any]) -> Answer:
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return raw(response(200, (("content-type", "application/octet-stream"),), body))


class OpenAIApi(BatchApi):
    """Files and batches below /v1."""

    def __init__(self, answer: Answerer) -> None:
        super().__init__(answer)
        self.files: dict[str, list[dict[str, Any]]] = {}
        self.deleted: list[str] = []
        self.keeps_files = 0
        """So many times a file is not deleted."""

    def __call__(self, request: Recorded) -> Answer:
        assert request.headers["authorization"] == "Bearer upstream-key-0123456789"
        path, method = request.path.partition("?")[0], request.method
        if path == "/v1/chat/completions":
            self.alone.append(json.loads(request.body))
            return json_response(self.answer(self.alone[-1]))
        if (method, path) == ("POST", "/v1/files"):
            return self._upload(request)
        if method == "DELETE":
            return self._delete(path.removeprefix("/v1/files/"))
        if (method, path) == ("POST", "/v1/batches"):
            return self._create(json.loads(request.body))
        if path == "/v1/batches":
            return json_response({"object": "list", "data": [self._shown(each) for each in self.batches.values()]})
        if path.startswith("/v1/batches/"):
            id, _, verb = path.removeprefix("/v1/batches/").partition("/")
            batch = self.batches[id]
            batch["is_cancelled"] |= verb == "cancel"
            return json_response(self._shown(batch))
        id, _, word = path.removeprefix("/v1/files/").removesuffix("/content").rpartition("-")
        return _lines(self._results(self.batches[id], word))

    def _upload(self, request: Recorded) -> Answer:
        assert b'name="purpose"\r\n\r\nbatch\r\n' in request.body
        data = request.body.partition(b"application/jsonl\r\n\r\n")[2].rpartition(b"\r\n--")[0]
        id = f"file-{len(self.files)}"
        self.files[id] = [json.loads(line) for line in data.splitlines()]
        return json_response({"id": id, "object": "file"})

    def _delete(self, id: str) -> Answer:
        if self.keeps_files:
            self.keeps_files -= 1
            return json_response({"error": {"message": "not now"}}, 500)
        self.deleted.append(id)
        return json_response({"id": id, "object": "file", "deleted": True})

    def _create(self, wish: dict[str, Any]) -> Answer:
        assert (wish["completion_window"], wish["endpoint"]) == ("24h", "/v1/chat/completions")
        if self.refuses:
            return json_response({"error": {"message": "no batches here"}}, self.refuses)
        lines = self.files[wish["input_file_id"]]
        assert all((each["method"], each["url"]) == ("POST", wish["endpoint"]) for each in lines)
        requests = {each["custom_id"]: each["body"] for each in lines}
        return self.taken(self._shown(self.begin(requests, **wish)))

    def _shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        status = "in_progress"
        if batch["is_over"]:
            status = "cancelled" if batch["is_cancelled"] else "completed"
        files = {
            f"{word}_file_id": f"{batch['id']}-{word}" if batch["is_over"] else None for word in ("output", "error")
        }
        counts = {"total": len(batch["requests"]), "completed": 0, "failed": 0}
        shown = {"id": batch["id"], "object": "batch", "status": status, **files}
        shown |= {name: batch[name] for name in ("metadata", "input_file_id")}
        return {**shown, "created_at": int(time.time()), "request_counts": counts}

    def _results(self, batch: dict[str, Any], word: str) -> list[Any]:
        output: list[Any] = []
        errors: list[Any] = []
        for id, body in reversed(batch["requests"].items()):  # in any order
            if self.skipped(body):
                error = {"code": "batch_expired", "message": "too late"}
                errors.append({"custom_id": id, "response": None, "error": error})
                continue
            answer = self.answer(body)
            status = answer["error"].get("status", 400) if "error" in answer else 200
            said = {"status_code": status, "request_id": "r", "body": answer}
            (errors if "error" in answer else output).append({"custom_id": id, "response": said, "error": None})
        return output if word == "output" else errors


class AnthropicApi(BatchApi):
    """Message Batches below /v1/messages."""

    def __call__(self, request: Recorded) -> Answer:
        assert request.headers["x-api-key"] == "upstream-key-0123456789"
        assert request.headers["anthropic-version"] == "2023-06-01"
        path, method = request.path.partition("?")[0], request.method
        if path == "/v1/messages":
            self.alone.append(json.loads(request.body))
            return json_response(self.answer(self.alone[-1]))
        if (method, path) == ("POST", "/v1/messages/batches"):
            if self.refuses:
                error = {"type": "invalid_request_error", "message": "no batches here"}
                return json_response({"type": "error", "error": error}, self.refuses)
            requests = {each["custom_id"]: each["params"] for each in json.loads(request.body)["requests"]}
            return self.taken(self._shown(self.begin(requests)))
        if path == "/v1/messages/batches":
            return json_response({"data": [self._shown(each) for each in self.batches.values()]})
        id, _, verb = path.removeprefix("/v1/messages/batches/").partition("/")
        batch = self.batches[id]
        if verb == "results":
            return _lines([self._line(id, body) for id, body in reversed(batch["requests"].items())])
        batch["is_cancelled"] |= verb == "cancel"
        return json_response(self._shown(batch))

    def _shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        total, is_over = len(batch["requests"]), batch["is_over"]
        counts = {"processing": 0 if is_over else total, "succeeded": total if is_over else 0}
        status = "ended" if is_over else "canceling" if batch["is_cancelled"] else "in_progress"
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000001Z", time.gmtime())
        shown = {"id": batch["id"], "type": "message_batch", "processing_status": status, "created_at": at}
        return {**shown, "request_counts": counts, "results_url": "https://elsewhere.example/results"}

    def _line(self, id: str, body: dict[str, Any]) -> Any:
        if self.skipped(body):
            return {"custom_id": id, "result": {"type": "expired"}}
        answer = self.answer(body)
        if answer["type"] == "error":
            return {"custom_id": id, "result": {"type": "errored", "error": answer}}
        return {"custom_id": id, "result": {"type": "succeeded", "message": answer}}


class GeminiApi(BatchApi):
    """Batches below /v1beta."""

    has_keys = True

    def __call__(self, request: Recorded) -> Answer:
        assert request.headers["x-goog-api-key"] == "upstream-key-0123456789"
        path = request.path.partition("?")[0]
        if path == "/v1beta/models/m:generateContent":
            self.alone.append(json.loads(request.body))
            return json_response(self.answer(self.alone[-1]))
        if path == "/v1beta/models/m:batchGenerateContent":
            if self.refuses:
                error = {"code": self.refuses, "message": "no batches here", "status": "FAILED_PRECONDITION"}
                return json_response({"error": error}, self.refuses)
            batch = json.loads(request.body)["batch"]
            requests = {e["metadata"]["key"]: e["request"] for e in batch["inputConfig"]["requests"]["requests"]}
            return self.taken(self._shown(self.begin(requests, name=batch["displayName"])))
        if path == "/v1beta/batches":
            return json_response({"operations": [self._shown(each) for each in self.batches.values()]})
        id, _, verb = path.removeprefix("/v1beta/batches/").partition(":")
        batch = self.batches[id]
        batch["is_cancelled"] |= verb == "cancel"
        return json_response({} if verb else self._shown(batch))

    def _shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000001Z", time.gmtime())
        state = "BATCH_STATE_SUCCEEDED" if batch["is_over"] else "BATCH_STATE_RUNNING"
        stats = {"requestCount": str(len(batch["requests"]))}
        about = {"displayName": batch["name"], "state": state, "createTime": at, "batchStats": stats}
        shown: dict[str, Any] = {"name": f"batches/{batch['id']}", "metadata": about}
        if batch["is_over"]:
            answers = [self._one(id, body) for id, body in batch["requests"].items()]
            shown |= {"done": True, "response": {"inlinedResponses": {"inlinedResponses": answers}}}
        return shown

    def _one(self, id: str, body: dict[str, Any]) -> Any:
        whose = {"metadata": {"key": id}} if self.has_keys else {}
        answer = self.answer(body)
        if self.skipped(body):
            return {"error": {"code": 1, "message": "cancelled"}, **whose}
        if "error" in answer:
            return {"error": {"code": 3, "message": answer["error"]["message"]}, **whose}
        return {"response": answer, **whose}

"""A chat completions server on loopback for tests: deterministic text, and every fault that is asked for."""

import json
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from srlm.engines.scripted import WORDS

Plan = Callable[[int, dict], "Callable[[Handler], None] | None"]
TOKENS = ["0", "1", "2", "3", "4", "5", "A", "B", "tie", "the", "\n"]


class FakeServer(ThreadingHTTPServer):
    """`plan(number, body)` names the fault of the number-th request, or None. What was asked is kept."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, plan: Plan | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan = plan or (lambda number, body: None)
        self.bodies: list[dict] = []
        self.headers: list[dict] = []
        self.under_way = self.most_under_way = 0
        self.delay = 0.0
        self.likely: Callable[[dict], list[dict[str, float]]] = likely
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request, client_address) -> None:
        """Clients that go away are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = len(self.server.bodies)
            self.server.bodies.append(body)
            self.server.headers.append(dict(self.headers))
            self.server.under_way += 1
            self.server.most_under_way = max(self.server.most_under_way, self.server.under_way)
        time.sleep(self.server.delay)
        fault = self.server.plan(number, body)
        with self.server.lock:
            self.server.under_way -= 1
        if self.path != "/v1/chat/completions":
            return self.send(404, {"detail": "Not Found"})
        return fault(self) if fault else self.send(200, completion(body, self.server.likely))

    def send(self, status: int, value: object, headers: dict | None = None, kind="application/json") -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in (
            {"Content-Type": kind, "Content-Length": str(len(content))} | (headers or {})
        ).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


def completion(body: dict, likely: Callable[[dict], list[dict[str, float]]]) -> dict:
    """Words that follow from messages and seed; their prompt and reply tokens are words."""
    text = " ".join(message["content"] for message in body["messages"])
    chance = random.Random(f"{body['seed']} {text}" if body["temperature"] else text)
    words = chance.choices(WORDS, k=chance.randint(6, 18))
    if "instruction>" in text:
        words += [f"\nScore: {chance.randint(0, 5)}"]
    budget = body.get("max_tokens") or body["max_completion_tokens"]
    reply = " ".join(words[:budget])
    ended = "length" if len(words) > budget else "stop"
    for stop in body.get("stop", []):
        reply, found, _ = reply.partition(stop)
        ended = "stop" if found else ended
    choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": ended}
    if body.get("logprobs"):
        places = likely(body)[:budget]
        choice["logprobs"] = {"content": [logprobs(place, body["top_logprobs"]) for place in places]}
    usage = {"prompt_tokens": len(text.split()), "completion_tokens": min(len(words), budget)}
    return {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}


def likely(body: dict) -> list[dict[str, float]]:
    """The probabilities of the next token, then of the one after it."""
    chance = random.Random(body["messages"][-1]["content"])
    weights = [chance.random() + 0.01 for _ in TOKENS]
    return [{token: weight / sum(weights) for token, weight in zip(TOKENS, weights, strict=True)}] * 2


def logprobs(place: dict[str, float], top: int) -> dict:
    ranked = sorted(place, key=place.get, reverse=True)[:top]
    listed = [{"token": token, "logprob": math.log(place[token])} for token in ranked]
    return listed[0] | {"top_logprobs": listed}


@contextmanager
def serving(plan: Plan | None = None) -> Iterator[FakeServer]:
    """A fake server in a thread of its own."""
    server = FakeServer(plan)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def status(code: int, value: object = None, headers: dict | None = None, kind="application/json"):
    """Answer with a status, and an error as OpenAI words it unless another is given."""
    value = {"error": {"message": f"fault {code}", "type": "fault"}} if value is None else value
    return lambda handler: handler.send(code, value, headers, kind)


def hang(seconds: float):
    """Take the request and say nothing for a while."""

    def fault(handler: Handler) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return fault


def drip(seconds: float):
    """Send a byte now and then, so that no single read takes long."""

    def fault(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            handler.wfile.write(b" ")
            time.sleep(0.05)
        handler.close_connection = True

    return fault


def cut(content: bytes = b'{"choices": [{"mess', *, promised: int | None = 1000):
    """Close the connection in the middle of the body, which had a length or had none."""

    def fault(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        if promised:
            handler.send_header("Content-Length", str(promised))
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(content)
        handler.close_connection = True

    return fault


def drop(handler: Handler) -> None:
    """Close the connection without a word."""
    handler.close_connection = True

"""The engine for OpenAI-compatible servers, against a server on loopback that fails in every way."""

import json
import math
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx2
import pytest

from fake_server import FakeServer, cut, drip, drop, hang, serving, status
from srlm.config import Config, JudgeSection, OpenAIEngineSection, ResponsesSection
from srlm.engines.base import Request
from srlm.engines.openai import OpenAIEngine
from srlm.engines.opening import open_engine
from srlm.engines.server import retry_after
from srlm.errors import ConfigError, EngineError, PromptTooLong
from srlm.judging.rubric import load_rubric
from srlm.models import Model
from srlm.recipes import load
from srlm.records import Judgment, Message, Prompt, Response, ask, seed_for
from srlm.stages.judgments import judge
from srlm.stages.replies import replies_to
from srlm.stages.responses import respond
from srlm.store.run import open_run

KEY = "sk-very-secret-0123456789"


class FakeTime:
    """A clock that goes on only while somebody sleeps; `slept` are all waits."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._now, self._lock = 1000.0, threading.Lock()

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self._now += seconds


def made(server: FakeServer, clock: FakeTime | None = None, **values) -> OpenAIEngine:
    section = OpenAIEngineSection(**{"base_url": server.url, "model": "m", "timeout_s": 5} | values)
    clock = clock or FakeTime()
    return OpenAIEngine(section, clock.sleep, clock.now)


def req(key: str = "a", text: str = "What is the capital of France?", **values) -> Request:
    return Request(
        **{"id": key, "conversation": ask(text), "purpose": "response", "seed": 7, "max_tokens": 12} | values
    )


def one(engine: OpenAIEngine, **values):
    [reply] = engine.generate([req(**values)])
    return reply


def only(*faults):
    """A plan: these faults for the first requests, none afterwards."""
    return lambda number, body: faults[number] if number < len(faults) else None


def always(fault):
    return lambda number, body: fault


# What is sent, and what is read


def test_what_is_sent():
    conversation = (Message(role="system", content="Be brief."), Message(role="user", content="Hi \ud83d"))
    with serving() as server:
        list(made(server).generate([req(conversation=conversation, n=3, temperature=0.3, stop=("\nTask",))]))
    bodies = {body["seed"]: body for body in server.bodies}
    assert set(bodies) == {seed_for(7, draw) % 2**31 for draw in range(3)}
    assert bodies[seed_for(7, 0) % 2**31] == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi ?"}],
        "temperature": 0.3,
        "top_p": 0.9,
        "max_tokens": 12,
        "seed": seed_for(7, 0) % 2**31,
        "stop": ["\nTask"],
    }


def test_a_draw_does_not_depend_on_n_or_on_what_is_asked_beside_it():
    with serving() as server:
        alone = one(made(server, concurrency=1))
        many = {(r.request_id, r.draw): r for r in made(server).generate([req("b"), req(n=5), req("c", n=2)])}
    assert many["a", 0] == alone
    assert len(many) == 8


def test_replies_are_joined_by_id_whatever_comes_first():
    def slower_first(number, body):
        time.sleep(0.3 if number == 0 else 0)

    with serving(slower_first) as server:
        engine = made(server, concurrency=4)
        requests = [req(f"r{n}", f"Say {n}.") for n in range(6)]
        together = {reply.request_id: reply for reply in engine.generate(requests)}
        for request in requests:
            assert [together[request.id]] == list(engine.generate([request]))


def test_extra_keys_are_added_and_null_leaves_one_out():
    with serving() as server:
        one(made(server, extra={"top_p": None, "top_k": 40}, budget_key="max_completion_tokens"))
    assert "top_p" not in server.bodies[0]
    assert server.bodies[0]["top_k"] == 40
    assert server.bodies[0]["max_completion_tokens"] == 12
    assert "max_tokens" not in server.bodies[0]


def answer(content="hello", ended="stop", **more):
    message = {"role": "assistant", "content": content}
    return {"choices": [{"index": 0, "message": message, "finish_reason": ended}]} | more


@pytest.mark.parametrize(
    ("content", "ended", "text", "finish"),
    [
        (" hello \n", "stop", "hello", "stop"),
        ("hello", "length", "hello", "length"),
        ("", "stop", "", "stop"),
        (None, "tool_calls", "", "stop"),
        ("hel", "content_filter", "hel", "length"),
        ("hello", "eos", "hello", "stop"),
        ("hello", None, "hello", "stop"),
        ("half \ud83d", "stop", "half ?", "stop"),
    ],
)
def test_how_a_reply_ends(content, ended, text, finish):
    with serving(always(status(200, answer(content, ended)))) as server:
        engine = made(server)
        reply = one(engine)
    assert (reply.text, reply.finish) == (text, finish)
    assert (reply.num_tokens, reply.num_prompt_tokens) == (0, 0)  # the server did not say
    assert engine.usage["filtered"] == (ended == "content_filter")


def test_stop_strings_are_cut_off_where_the_server_leaves_them():
    with serving(always(status(200, answer("one\nTask 2: two", "length")))) as server:
        reply = one(made(server), stop=("\nTask",))
    assert (reply.text, reply.finish) == ("one", "stop")


def test_tokens_and_cost_are_counted():
    usage = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}
    with serving(lambda n, _: status(503) if n == 0 else status(200, answer(usage=usage))) as server:
        engine = made(server, price_in=2.5, price_out=10.0)
        list(engine.generate([req(n=4)]))
        expected = {"requests": 5, "requests repeated": 1, "prompt tokens": 4000, "reply tokens": 200}
        assert engine.usage == expected | {"millionths of cost": 12000}
        assert engine.summary() == ("5 requests, 1 of them repeated, 4,000 tokens in, 200 out, cost 0.0120")
        assert engine.spent() == engine.usage
        assert not engine.spent()
        one(engine)
        assert engine.spent() == {
            "requests": 1,
            "prompt tokens": 1000,
            "reply tokens": 50,
            "millionths of cost": 3000,
        }


@pytest.mark.parametrize("usage", [None, [], {"prompt_tokens": None}, {"completion_tokens": "many"}])
def test_a_usage_that_says_nothing_counts_nothing(usage):
    with serving(always(status(200, answer(usage=usage)))) as server:
        assert one(made(server)).num_tokens == 0


# Concurrency


@pytest.mark.parametrize("limit", [1, 3])
def test_concurrency_is_never_above_the_limit(limit):
    with serving(lambda n, _: status(500) if n % 5 == 0 else None) as server:
        server.delay = 0.02
        found = list(made(server, concurrency=limit).generate([req(f"r{n}", n=4) for n in range(6)]))
    assert len(found) == 24
    assert server.most_under_way == limit


def test_requests_that_a_failure_left_under_way_count_against_the_limit():
    def plan(number, body):
        if number == 0:
            wait_for(lambda: len(server.bodies) == 3)
            return status(400)
        time.sleep(0.3)
        return None

    with serving(plan) as server:
        engine = made(server, concurrency=3)
        with pytest.raises(EngineError):
            list(engine.generate([req(n=3)]))
        assert len(list(engine.generate([req("b", n=6)]))) == 6
    assert server.most_under_way == 3


# Faults


PASSING = {
    "500": status(500),
    "502 as a page": status(502, b"<html>Bad Gateway</html>", kind="text/html"),
    "503": status(503),
    "529": status(529),
    "408": status(408),
    "429": status(429),
    "cut in the body": cut(),
    "cut without a length": cut(promised=None),
    "dropped": drop,
    "hanging": hang(30),
    "dripping": drip(30),
    "malformed JSON": status(200, b'{"choices": [}'),
    "JSON that is no object": status(200, [1]),
    "no choices": status(200, {"object": "chat.completion"}),
    "empty choices": status(200, {"choices": []}),
    "a choice without a message": status(200, {"choices": [{"text": "hi"}]}),
    "content that is no text": status(200, answer({"a": 1})),
    "a router's error inside 200": status(200, {"error": {"code": 502, "message": "upstream"}}),
    "a reply broken off": status(200, answer("hel", "abort")),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_is_asked_again(name):
    clock = FakeTime()
    with serving(only(PASSING[name], PASSING[name])) as server:
        engine = made(server, clock, timeout_s=1.0 if "ing" in name else 20.0)
        assert one(engine) == one(made(server, timeout_s=20.0))
    assert engine.usage["requests"] == 3
    assert len(clock.slept) == 2
    assert clock.slept[1] > clock.slept[0] > 0


STAYING = {
    "400": status(400),
    "401": status(401),
    "402": status(402),
    "403": status(403),
    "404": status(404),
    "422": status(422, {"detail": "Unexpected fields in the request: {'seed'}"}),
    "501": status(501),
    "a redirect": status(307, {}, {"Location": "https://elsewhere.example/v1"}),
    "no money left": status(429, {"error": {"message": "quota", "code": "insufficient_quota"}}),
    "a page": status(200, b"<html>Welcome</html>", kind="text/html"),
    "a router's 403 inside 200": status(200, {"error": {"code": 403, "message": "no"}}),
}


@pytest.mark.parametrize("name", STAYING)
def test_what_stays_is_asked_once(name):
    clock = FakeTime()
    with serving(always(STAYING[name])) as server, pytest.raises(EngineError) as raised:
        one(made(server, clock))
    assert len(server.bodies) == 1
    assert clock.slept == []
    assert server.url in raised.value.given
    assert raised.value.why and raised.value.todo


def test_retries_end_with_three_parts_and_growing_waits():
    clock = FakeTime()
    with (
        serving(always(status(500, {"error": {"message": "x" * 5000}}))) as server,
        pytest.raises(EngineError, match="goes on after the last block") as raised,
    ):
        one(made(server, clock, max_retries=8))
    assert len(server.bodies) == 9
    assert "9 attempts" in raised.value.why
    assert len(str(raised.value)) < 900
    assert clock.slept == sorted(clock.slept[:6]) + clock.slept[6:]
    assert all(0.8 * 60 <= wait <= 1.2 * 60 for wait in clock.slept[6:])


def test_a_server_that_is_not_there():
    with serving() as server:
        pass
    clock = FakeTime()
    with pytest.raises(EngineError, match="connection failed"):
        one(made(server, clock, max_retries=2))
    assert len(clock.slept) == 2


def test_a_failure_keeps_what_was_answered():
    with serving(lambda n, body: status(400) if "bad" in body["messages"][0]["content"] else None) as server:
        engine = made(server, concurrency=1)
        with pytest.raises(EngineError):
            list(engine.generate([req("a", n=3), req("b", "bad")]))
        asked = len(server.bodies)
        assert len(list(engine.generate([req("a", n=3), req("c", n=1)]))) == 4
        assert len(server.bodies) == asked + 1
        list(engine.generate([req("a", n=3)]))  # and nothing is kept for ever
        assert len(server.bodies) == asked + 4


# Rate limits


def in_a_moment(seconds: int, own_clock_is_wrong_by: int = 0) -> dict[str, str]:
    now = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=own_clock_is_wrong_by)
    then = now + timedelta(seconds=seconds)
    return {"Date": format_datetime(now, usegmt=True), "Retry-After": format_datetime(then, usegmt=True)}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "17"}, 17),
        ({"Retry-After": "0.5"}, 0.5),
        (in_a_moment(90), 90),
        (in_a_moment(90, own_clock_is_wrong_by=9999), 90),
        (in_a_moment(-90), 0),
        ({"Retry-After": "soon"}, 0),
        ({"Retry-After": "-5"}, 0),
        ({"Retry-After": "Wed, 99 Foo 2026"}, 0),
        ({}, 0),
    ],
)
def test_retry_after_in_both_forms(headers, seconds):
    assert retry_after(httpx2.Headers(headers)) == pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_holds_back_every_request(code):
    clock, times = FakeTime(), []

    def plan(number, body):
        times.append(clock.now())
        return status(code, headers={"Retry-After": "40"}) if number == 0 else None

    with serving(plan) as server:
        found = list(made(server, clock, concurrency=1).generate([req(n=6)]))
    assert len(found) == 6
    assert times[1] - times[0] >= 40
    assert times[-1] - times[1] < 1


def test_no_worker_asks_before_the_time():
    clock, times = FakeTime(), []

    def plan(number, body):
        times.append(clock.now())
        if number == 0:
            return status(429, headers={"Retry-After": "40"})
        wait_for(lambda: clock.slept)  # the limit is known before another answer comes
        return None

    with serving(plan) as server:
        assert len(list(made(server, clock, concurrency=6).generate([req(n=20)]))) == 20
    assert len(times) == 21
    assert sum(at < 1040 for at in times) <= 6  # those under way when it came


def wait_for(condition) -> None:
    until = time.monotonic() + 20
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)


def test_a_server_that_wants_hours_ends_the_run_without_being_asked_again():
    clock = FakeTime()
    with (
        serving(always(status(429, headers={"Retry-After": "86400"}))) as server,
        pytest.raises(EngineError, match=r"24\.0 hours"),
    ):
        one(made(server, clock))
    assert len(server.bodies) == 1
    assert clock.slept == []


# The key


def test_the_key_is_sent_and_nowhere_else(monkeypatch, tmp_path):
    monkeypatch.setenv("MY_KEY", KEY + "\n")
    with serving() as server:
        config = Config(
            engine=OpenAIEngineSection(base_url=server.url, model="m", api_key_env="MY_KEY"),
            responses=ResponsesSection(samples=2),
        )
        with open_run(tmp_path, config) as run, open_engine(config.engine, model()) as engine:
            run.records("M2/responses", Response, respond, config.responses, engine, PROMPTS)
        assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
        digest = made(server).digest
        assert made(server, api_key_env="MY_KEY").digest == digest
    assert KEY not in config.model_dump_json()
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or KEY not in path.read_text("utf-8")


@pytest.mark.parametrize("code", [400, 401, 500])
def test_the_key_is_in_no_error_even_when_the_server_repeats_it(monkeypatch, code):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    said = {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}
    with serving(always(status(code, said))) as server, pytest.raises(EngineError) as raised:
        one(made(server, max_retries=1))
    assert KEY not in str(raised.value) + repr(raised.value.__cause__)
    assert "***" in raised.value.why
    assert code != 401 or "OPENAI_API_KEY" in raised.value.todo


def test_without_a_key_none_is_sent(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving() as server:
        one(made(server))
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        one(made(server, api_key_env=""))
    assert not any("Authorization" in headers for headers in server.headers)


def test_a_key_that_cannot_be_one_is_not_sent(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\r\nX-Other: 1")
    with serving() as server, pytest.raises(EngineError, match="characters that no key has") as raised:
        one(made(server))
    assert KEY not in str(raised.value)
    assert not server.bodies


def test_no_key_crosses_a_network_in_the_clear(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    section = OpenAIEngineSection(base_url="http://gpu.example:8000/v1", model="m", max_retries=0)
    with pytest.raises(EngineError, match="everybody can read"):
        list(OpenAIEngine(section).generate([req()]))


def test_no_proxy_stands_between_this_machine_and_itself(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with serving() as server:
        assert one(made(server, max_retries=0)).text


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (f"engine.api_key_env={KEY}", "never the key"),
        (f"engine.base_url=https://user:{KEY}@api.example/v1", "no user, key or query"),
        (f"engine.base_url=https://api.example/v1?key={KEY}", "no user, key or query"),
        (f"engine.base_url=ftp://{KEY}", "must be an address"),
        (f"engine.api_key={KEY}", "did you mean 'engine.api_key_env'"),
    ],
)
def test_a_key_in_the_config_is_refused_and_not_repeated(override, said):
    for also in ([], ["engine.model=m"]):
        with pytest.raises(ConfigError, match=said) as raised:
            load("smollm2", ["engine.kind=openai", *also, override])
        assert KEY not in str(raised.value)


def test_the_config_section():
    given = ["engine.kind=openai", "engine.model=m", "engine.extra={top_k: 5}", "engine.extra.seed="]
    section = load("smollm2", given).config.engine
    assert isinstance(section, OpenAIEngineSection)
    assert section.extra == {"top_k": 5, "seed": None}
    with pytest.raises(ConfigError, match=r"engine\.model: Field required"):
        load("smollm2", ["engine.kind=openai"])


def test_the_digest_names_what_changes_the_text():
    section = OpenAIEngineSection(model="m")
    same = {
        "concurrency": 1,
        "timeout_s": 9,
        "max_retries": 0,
        "api_key_env": "",
        "price_in": 1,
        "price_out": 1,
    }
    other = {"model": "n", "base_url": "https://a.example/v1", "extra": {"top_k": 1}, "continues": False}
    digest = OpenAIEngine(section).digest
    for key, value in same.items():
        assert OpenAIEngine(section.model_copy(update={key: value})).digest == digest
    for key, value in other.items():
        assert OpenAIEngine(section.model_copy(update={key: value})).digest != digest


# Prefix and continuations


def test_a_prefix_is_put_into_the_assistants_mouth():
    with serving() as server:
        one(made(server), prefix="Task 9:")
    assert server.bodies[0]["messages"][-1] == {"role": "assistant", "content": "Task 9:"}
    assert server.bodies[0]["continue_final_message"] is True
    assert server.bodies[0]["add_generation_prompt"] is False


@pytest.mark.parametrize("reply", ["Task 9: Name a bird.", "\n Task 9:Name a bird. ", "Name a bird."])
def test_without_continues_a_prefix_is_cut_off_the_reply(reply):
    with serving(always(status(200, answer(reply)))) as server:
        assert one(made(server, continues=False), prefix="Task 9:").text == "Name a bird."
    assert len(server.bodies[0]["messages"]) == 1
    assert "continue_final_message" not in server.bodies[0]


def test_a_server_that_cannot_go_on_with_a_message_is_an_error_with_a_way_out():
    refusal = status(422, {"detail": "Unexpected fields in the request: {'continue_final_message'}"})
    with serving(always(refusal)) as server:
        with pytest.raises(EngineError, match=r"engine\.continues=false"):
            one(made(server), prefix="Task 9:")
        with pytest.raises(EngineError, match=r"judge\.scoring=sampled"):
            one(made(server), prefix="Score: ", continuations=("0", "5"), max_tokens=1)
        with pytest.raises(EngineError, match=r"judge\.scoring=sampled"):
            one(made(server, continues=False), prefix="Score: ", continuations=("0", "5"), max_tokens=1)


def weighed(places: list[dict[str, float]], continuations: tuple[str, ...], prefix: str):
    with serving() as server:
        server.likely = lambda body: places
        reply = one(made(server), prefix=prefix, continuations=continuations, max_tokens=1)
        return reply, server.bodies


def test_one_request_tells_the_continuations():
    place = {"4": 0.6, "5": 0.25, "3": 0.1, " 4": 0.05}
    reply, [body] = weighed([place], ("3", "4", "5", "0"), "Rating: [[")
    assert reply.probabilities == pytest.approx((0.1, 0.6, 0.25, 0.0))
    assert (reply.text, reply.num_tokens) == ("4", 1)
    assert body["logprobs"] is True
    assert (body["top_logprobs"], body["max_tokens"], body["temperature"], body["top_p"]) == (20, 1, 0, 1)


def test_a_space_that_is_a_token_of_its_own_is_taken_for_granted():
    places = [{" ": 0.98, "\n": 0.02}, {"4": 0.7, "5": 0.3}]
    reply, [body] = weighed(places, ("4", "5"), "Score: ")
    assert reply.probabilities == pytest.approx((0.7, 0.3))
    assert body["messages"][-1]["content"] == "Score:"
    assert body["max_tokens"] == 2


def test_a_space_that_is_part_of_the_token_is_read_too():
    places = [{" A": 0.5, " B": 0.3, "A": 0.1, " ": 0.1}, {"x": 1.0}]
    reply, _ = weighed(places, ("A", "B", "tie"), "Verdict: ")
    assert reply.probabilities == pytest.approx((0.6, 0.3, 0.0))


def test_only_the_likeliest_twenty_are_told():
    place = {str(number): (40 - number) / 780 for number in range(1, 39)} | {"x": 1 / 780}
    reply, _ = weighed([place], ("1", "x"), "[[")
    assert reply.probabilities == pytest.approx((39 / 780, 0.0))


def test_a_continuation_of_several_tokens_is_an_error_where_it_matters():
    with pytest.raises(EngineError, match=r"'10'.*\n.*several tokens") as raised:
        weighed([{"1": 0.4, "2": 0.6}], ("1", "2", "10"), "[[")
    assert "judge.scoring=sampled" in raised.value.todo
    reply, _ = weighed([{"10": 0.3, "1": 0.1, "2": 0.6}], ("1", "2", "10"), "[[")
    assert reply.probabilities == pytest.approx((0.1, 0.6, 0.3))
    reply, _ = weighed([{"1": 0.0001, "2": 0.9999}], ("1", "2", "10"), "[[")
    assert reply.probabilities == pytest.approx((0.0001, 0.9999, 0.0))


@pytest.mark.parametrize("told", [None, {}, {"content": None}, {"content": []}])
def test_a_server_without_probabilities_is_an_error_with_a_way_out(told):
    value = answer("4")
    value["choices"][0]["logprobs"] = told
    with (
        serving(always(status(200, value))) as server,
        pytest.raises(EngineError, match="gives no probabilities") as raised,
    ):
        one(made(server), prefix="Score: ", continuations=("4", "5"), max_tokens=1)
    assert "judge.justify=true" in raised.value.todo
    assert len(server.bodies) == 1


@pytest.mark.parametrize("logprob", [math.nan, 3.0, None, "low"])
def test_probabilities_that_are_none_are_not_believed(logprob):
    value = answer("4")
    value["choices"][0]["logprobs"] = {
        "content": [{"token": "4", "logprob": logprob, "top_logprobs": [{"token": "5", "logprob": -1}]}]
    }
    with serving(always(status(200, value))) as server, pytest.raises(EngineError, match="logprobs"):
        one(made(server, max_retries=1), prefix="[[", continuations=("4", "5"), max_tokens=1)
    assert len(server.bodies) == 2


def test_an_expected_judgment_costs_one_request_a_draw():
    section = JudgeSection(scoring="expected", justify=False, samples=1)
    with serving() as server:
        blocks = list(judge(section, made(server), load_rubric("additive"), answers(3)))
    assert len(server.bodies) == 3
    assert all(0 < item.score < 5 for block in blocks for item in block.records)


# Too long


def too_long(words: dict):
    def plan(number, body):
        return status(400, words) if "long" in body["messages"][0]["content"] else None

    return plan


OPENAI = {"error": {"message": "This is too much.", "code": "context_length_exceeded"}}
VLLM = {
    "object": "error",
    "message": "This model's maximum context length is 2048 tokens. However, you requested 3000 tokens",
    "code": 400,
}
LLAMA = {
    "error": {
        "code": 400,
        "message": "the request exceeds the available context size, try increasing it",
        "type": "exceed_context_size_error",
    }
}


@pytest.mark.parametrize("words", [OPENAI, VLLM, LLAMA])
def test_a_prompt_too_long_costs_only_itself_and_nothing_is_asked_twice(words):
    with serving(too_long(words)) as server:
        engine = made(server)
        requests = [req("a", n=2), req("b", "a long one"), req("c"), req("d", "another long one")]
        with pytest.raises(PromptTooLong) as raised:
            next(engine.generate(requests))
        assert sorted(raised.value.request_ids) == ["b", "d"]
        replies, left_out = replies_to(engine, requests)
        assert left_out == {"b": "too long for the context", "d": "too long for the context"}
        assert set(replies) == {("a", 0), ("a", 1), ("c", 0)}
        assert len([body for body in server.bodies if "long" not in body["messages"][0]["content"]]) == 3


def test_another_400_is_not_taken_for_a_prompt_too_long():
    with (
        serving(too_long({"error": {"message": "max_tokens is too large: 9999"}})) as server,
        pytest.raises(EngineError, match="too large"),
    ):
        one(made(server), text="long")


# Runs


PROMPTS = [Prompt.of(f"How does machine {n} work in detail?", (), n) for n in range(5)]


def model() -> Model:
    return Model("M0", Path("nowhere"), "0" * 64)


def answers(count: int) -> list[Response]:
    return [
        Response(
            id=f"{n:016x}",
            prompt_id="p",
            prompt=f"Question {n}?",
            draw=0,
            text=f"Answer {n}.",
            num_tokens=3,
            finish="stop",
        )
        for n in range(count)
    ]


def judged(server: FakeServer, folder: Path) -> bytes:
    engine = OpenAIEngineSection(base_url=server.url, model="m", max_retries=0, concurrency=4)
    config = Config(engine=engine, judge=JudgeSection(block=4, samples=3))
    with open_run(folder, config) as run, open_engine(config.engine, model()) as opened:
        opened.digest = "the server's port differs between these runs"
        given = (opened, load_rubric("additive"), answers(18))
        return run.records("judgments", Judgment, judge, config.judge, *given).path.read_bytes()


def test_a_run_whose_server_dies_goes_on_to_the_same_bytes(tmp_path):
    with serving() as server:
        whole = judged(server, tmp_path / "whole")
        asked = len(server.bodies)
    with (
        serving(lambda number, body: status(500) if number >= 30 else None) as server,
        pytest.raises(EngineError, match="goes on after the last block"),
    ):
        judged(server, tmp_path / "cut")
    state = json.loads((tmp_path / "cut/judgments.step.json").read_text("utf-8"))
    assert (state["blocks"], state["done"]) == (2, False)
    failed = state["counts"]["requests"] - 24
    assert 7 <= failed <= 12  # the requests of the block that failed are paid, too
    with serving() as server:
        assert judged(server, tmp_path / "cut") == whole
        assert len(server.bodies) == asked - 24  # what was committed is not asked again
    state = json.loads((tmp_path / "cut/judgments.step.json").read_text("utf-8"))
    assert state["counts"]["requests"] == asked + failed


def test_a_server_that_stumbles_changes_nothing(tmp_path):
    def stumbling(number, body):
        return [None, status(500), cut(), drop, status(200, b"{"), None, None][number % 7]

    with serving() as server:
        whole = judged(server, tmp_path / "whole")
    with serving(stumbling) as server:
        clock = FakeTime()
        engine = made(server, clock, max_retries=12)
        blocks = list(judge(JudgeSection(block=4, samples=3), engine, load_rubric("additive"), answers(18)))
    lines = "".join(item.model_dump_json() + "\n" for block in blocks for item in block.records)
    assert lines.encode() == whole
    assert engine.usage["requests repeated"] > 10

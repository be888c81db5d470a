"""One suite that every engine passes."""

from pathlib import Path

import pytest

from fake_server import serving
from srlm.config import (
    LocalEngineSection,
    OpenAIEngineSection,
    RayEngineSection,
    ScriptedEngineSection,
    VllmEngineSection,
)
from srlm.engines.base import Engine, Request
from srlm.engines.local import LocalEngine
from srlm.engines.openai import OpenAIEngine
from srlm.engines.opening import make_engine
from srlm.engines.scripted import ScriptedEngine
from srlm.engines.vllm import VllmEngine
from srlm.errors import EngineError
from srlm.models import Model
from srlm.records import Message, ask


@pytest.fixture(scope="module")
def server():
    with serving() as started:
        yield started


@pytest.fixture(
    scope="module",
    params=[
        *("scripted", "openai", "ray", "local tiny"),
        pytest.param("local real", marks=pytest.mark.real),
        "vllm tiny",
        pytest.param("vllm real", marks=pytest.mark.real),
    ],
)
def engine(request) -> Engine:
    if request.param == "scripted":
        made: Engine = ScriptedEngine()
    elif request.param == "openai":
        url = request.getfixturevalue("server").url
        made = OpenAIEngine(OpenAIEngineSection(base_url=url, model="fake"))
    elif request.param == "ray":
        pytest.importorskip("ray", reason="Ray is not installed: pip install 'srlm[ray]'")
        section = RayEngineSection(engine=ScriptedEngineSection(), address="local", replicas=2, block=2)
        made = make_engine(section, Model("M0", Path("nowhere"), "0" * 64))
    elif request.param.startswith("vllm"):
        pytest.importorskip("vllm", reason="vLLM is not installed here: scripts/test-vllm brings its own")
        model = request.getfixturevalue("tiny_for_vllm" if "tiny" in request.param else "smollm2")
        made = VllmEngine(VllmEngineSection(kv_cache_gib=0.5, extra={"enforce_eager": True}), model)
    else:
        model = request.getfixturevalue("tiny" if "tiny" in request.param else "smollm2")
        made = LocalEngine(LocalEngineSection(device="cpu", batch_tokens=600), model)
    yield made
    made.close()


def req(key: str, text: str = "What is the capital of France?", **kwargs) -> Request:
    return Request(
        **{"id": key, "conversation": ask(text), "purpose": "response", "seed": 7, "max_tokens": 12} | kwargs
    )


def replies(engine: Engine, requests: list[Request]) -> dict:
    return {(reply.request_id, reply.draw): reply for reply in engine.generate(requests)}


def test_every_sample_comes_once(engine):
    requests = [req(f"r{n}", "word " * (n + 1), n=n % 3 + 1) for n in range(7)]
    found = list(engine.generate(requests))
    assert sorted((r.request_id, r.draw) for r in found) == sorted(
        (q.id, d) for q in requests for d in range(q.n)
    )


def test_the_same_request_gives_the_same_text(engine):
    requests = [req("a", n=3), req("b", "Name a colour.", n=2)]
    assert replies(engine, requests) == replies(engine, requests)


def test_draws_differ_and_follow_the_seed(engine):
    many = replies(engine, [req("a", n=8, temperature=1.5, top_p=1.0)])
    assert len({reply.text for reply in many.values()}) > 1
    other = replies(engine, [req("a", n=8, temperature=1.5, top_p=1.0, seed=8)])
    assert [r.text for r in many.values()] != [r.text for r in other.values()]


def test_the_budget_is_kept_and_named(engine):
    for reply in engine.generate([req("a", "Tell me a very long story.", n=4, max_tokens=3)]):
        assert reply.num_tokens <= 4  # three and an end token
        assert reply.finish in {"stop", "length"}
        assert reply.finish == "stop" or reply.num_tokens == 3


def test_only_new_text_comes_back(engine):
    for reply in engine.generate([req("a", "Repeat after me: zanzibar", n=2, prefix="Well,")]):
        assert "Repeat after me" not in reply.text
        assert "<|im_" not in reply.text


def test_prompt_tokens_are_counted(engine):
    found = replies(engine, [req("short", "Hi there."), req("long", "Hi there. " * 20)])
    assert found["long", 0].num_prompt_tokens > found["short", 0].num_prompt_tokens > 0


def test_stop_strings_are_cut_off(engine):
    plain = replies(engine, [req("a", n=6, temperature=1.5, top_p=1.0)])
    draw, text = next((key[1], reply.text) for key, reply in plain.items() if len(reply.text) > 4)
    stop = text[len(text) // 2 : len(text) // 2 + 2]
    cut = replies(engine, [req("a", n=6, temperature=1.5, top_p=1.0, stop=(stop,))])["a", draw]
    assert stop not in cut.text
    assert cut.finish == "stop"


def test_probabilities_of_continuations(engine):
    reply = replies(engine, [req("a", continuations=("0", "5"))])["a", 0]
    assert len(reply.probabilities) == 2
    assert all(0 < value < 1 for value in reply.probabilities)
    assert sum(reply.probabilities) <= 1


def test_an_empty_conversation_is_an_error(engine):
    with pytest.raises(EngineError, match="holds no text"):
        list(engine.generate([req("a", "  ")]))


def test_a_user_turn_is_written_from_nothing_or_refused_by_a_server(engine):
    wanted = [
        req("u", conversation=(), speaker="user", n=4, temperature=1.5, top_p=1.0),
        req("after", speaker="user", conversation=(*ask("Hi."), Message(role="assistant", content="Hello."))),
        req("a"),
    ]
    if isinstance(engine, OpenAIEngine):
        with pytest.raises(EngineError, match=r"user's turn is wanted(.|\n)*prompts.method=few_shot"):
            list(engine.generate(wanted))
        return
    found = replies(engine, wanted)
    assert sorted(found) == [("a", 0), ("after", 0), *(("u", draw) for draw in range(4))]
    assert len({found["u", draw].text for draw in range(4)}) > 1
    assert found["u", 0].num_prompt_tokens < found["after", 0].num_prompt_tokens
    assert not any("<|im_" in reply.text for reply in found.values())
    with pytest.raises(EngineError, match="holds no text"):
        list(engine.generate([req("blank", "  ", speaker="user")]))


def test_no_requests_no_replies(engine):
    assert list(engine.generate([])) == []


def test_digests_are_stable(engine):
    assert engine.digest == engine.digest
    assert len(engine.digest) == 64

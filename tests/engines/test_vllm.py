"""vLLM beside this process, next to the same model in it. scripts/test-vllm runs what needs vLLM."""

import importlib.util
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import chisquare

from srlm.chat_format import load_tokenizer
from srlm.config import LocalEngineSection, ModelSection, VllmEngineSection
from srlm.engines.base import Request
from srlm.engines.encoding import Encoding
from srlm.engines.local import LocalEngine
from srlm.engines.opening import open_engine
from srlm.engines.vllm import VllmEngine
from srlm.engines.vllm_errors import not_started, too_large
from srlm.errors import ConfigError, EngineError, PromptTooLong
from srlm.models import Model, load_weights, resolve
from srlm.records import ask

INSTALLED = importlib.util.find_spec("vllm") is not None
needs_vllm = pytest.mark.skipif(
    not INSTALLED, reason="vLLM is not installed here: scripts/test-vllm brings its own"
)
EAGER = {"enforce_eager": True}
"""Nothing is compiled, which starts faster."""
QUESTIONS = (
    "What is the capital of France?",
    "Name three colours.",
    "What is 2 + 3?",
    "Why do cats purr?",
    "Write one line about the sea.",
    "Who wrote Hamlet?",
    "How long is a week?",
    "What do bees make?",
)
GRADES = ("0", "1", "2", "3", "4", "5", "10")


def section(**values) -> VllmEngineSection:
    return VllmEngineSection(**{"dtype": "float32", "kv_cache_gib": 0.5, "extra": EAGER} | values)


def req(key: str = "a", text: str = QUESTIONS[0], **values) -> Request:
    return Request(
        **{"id": key, "conversation": ask(text), "purpose": "response", "seed": 7, "max_tokens": 12} | values
    )


def replies(engine, requests) -> dict:
    return {(reply.request_id, reply.draw): reply for reply in engine.generate(requests)}


def _is_vllms(process: psutil.Process) -> bool:
    return "VLLM" in process.name()


def memory_gib() -> float:
    """What this process and all below it hold that nobody shares."""
    here = psutil.Process()
    return sum(one.memory_full_info().uss for one in [here, *here.children(recursive=True)]) / 2**30


@pytest.fixture(scope="module")
def engine(tiny_for_vllm):
    made = VllmEngine(section(), tiny_for_vllm)
    yield made
    made.close()


@pytest.fixture(scope="module")
def local(tiny_for_vllm):
    made = LocalEngine(LocalEngineSection(device="cpu", dtype="float32"), tiny_for_vllm)
    yield made
    made.close()


@pytest.mark.skipif(INSTALLED, reason="vLLM is installed here")
def test_without_vllm_the_error_names_the_ways_out(tiny):
    with open_engine(VllmEngineSection(), tiny) as engine, pytest.raises(ConfigError, match=r"srlm\[vllm\]"):
        list(engine.generate([req()]))


@pytest.mark.parametrize("key", ["model", "logprobs_mode", "enable_prefix_caching", "skip_tokenizer_init"])
def test_what_srlm_sets_is_not_taken_from_extra(key):
    with pytest.raises(ValidationError, match=f"must leave {key} to"):
        VllmEngineSection(extra={"seed": 1, key: "x"})


def test_what_is_written_decides_the_digest(tiny):
    def digest(model=tiny, **values):
        return VllmEngine(section(**values), model).digest

    same = [digest(), digest(kv_cache_gib=3), digest(tensor_parallel=2), digest(prefix_caching=False)]
    assert len(set(same)) == 1
    others = [
        digest(dtype="bfloat16"),
        digest(max_length=99),
        digest(extra={}),
        digest(replace(tiny, digest="x")),
    ]
    assert len({*same, *others}) == 5


def test_the_first_error_of_the_log_is_the_cause(tiny):
    log = """(EngineCore pid=7) Failed to import vllm._C: ImportError('no')
(EngineCore pid=7) ValueError: To serve at least one request with the max seq len (8192), more is needed
(EngineCore pid=7) RuntimeError: Engine core initialization failed
"""
    error = not_started(section(), tiny, RuntimeError("See root cause above."), log)
    assert error.why == (
        "vLLM did not start: To serve at least one request with the max seq len (8192), more is needed"
    )
    assert "engine.max_length" in error.todo


def test_weights_that_do_not_fit_say_what_would(tiny):
    error = too_large(section(), tiny, weights=100 * 2**30, room=40 * 2**30, dtype="bfloat16")
    assert "100.0 GiB" in error.why
    assert "at most 21 billion weights" in error.todo
    assert "3 such devices" in error.todo


@needs_vllm
def test_greedy_texts_are_the_local_engines(engine, local):
    requests = [req(str(n), text, temperature=0, max_tokens=24) for n, text in enumerate(QUESTIONS)]
    written, wanted = replies(engine, requests), replies(local, requests)
    share = np.mean([written[key].text == wanted[key].text for key in wanted])
    print("share of equal greedy texts", share)
    assert share >= 0.75  # rounding may decide between two tokens that are almost equally likely
    assert all(written[key].num_prompt_tokens == wanted[key].num_prompt_tokens for key in wanted)


@needs_vllm
@pytest.mark.real
def test_the_real_model_writes_and_weighs_as_the_local_engine_does(smollm2):
    """float32 on both sides. Probabilities to 0.001."""
    greedy = [req(str(n), text, temperature=0, max_tokens=24) for n, text in enumerate(QUESTIONS)]
    weighing = [
        req(f"w{n}", text, prefix="Score: ", max_tokens=1, continuations=GRADES)
        for n, text in enumerate(QUESTIONS)
    ]
    with open_engine(section(), smollm2) as engine:
        written = replies(engine, [*greedy, *weighing])
    with open_engine(LocalEngineSection(device="cpu", dtype="float32"), smollm2) as engine:
        wanted = replies(engine, [*greedy, *weighing])
    share = np.mean([written[q.id, 0].text == wanted[q.id, 0].text for q in greedy])
    apart = max(
        abs(one - other)
        for q in weighing
        for one, other in zip(written[q.id, 0].probabilities, wanted[q.id, 0].probabilities, strict=True)
    )
    print("share of equal greedy texts", share)
    print("largest difference of a probability", apart)
    assert share >= 0.75
    assert apart < 1e-3
    assert max(max(wanted[q.id, 0].probabilities) for q in weighing) > 0.05


@needs_vllm
def test_probabilities_are_the_models_own(engine, local):
    """Of one token, of several, of one that begins another; whatever temperature and top-p are."""
    texts = (*GRADES, "A", "Although it is late", " and then")
    asked = {
        key: req(key, "Rate it.", continuations=texts, prefix="Score: ", **values)
        for key, values in {
            "cold": {"temperature": 0.1, "top_p": 0.2},
            "hot": {"temperature": 1.9, "n": 2},
        }.items()
    }
    found, wanted = replies(engine, list(asked.values())), replies(local, [asked["cold"]])
    for key in (("cold", 0), ("hot", 0), ("hot", 1)):
        assert found[key].probabilities == pytest.approx(wanted["cold", 0].probabilities, abs=1e-5, rel=1e-3)


@needs_vllm
def test_more_continuations_than_vllm_takes_at_a_time(engine, local, tiny_for_vllm):
    tokenizer = load_tokenizer(tiny_for_vllm.path)
    words = tokenizer.convert_tokens_to_string
    texts = [words([token]) for token in tokenizer.convert_ids_to_tokens(range(1000, 3000))]
    texts = [text for text in texts if text.isascii() and text.strip().isalpha() and text[0] == " "][:300]
    asked = req("a", "Count.", prefix="So", max_tokens=1, continuations=tuple(texts))
    found, wanted = (replies(one, [asked])["a", 0] for one in (engine, local))
    assert len(found.probabilities) == 300
    assert found.probabilities == pytest.approx(wanted.probabilities, abs=1e-6, rel=1e-3)


@needs_vllm
def test_draws_follow_the_nucleus(engine, tiny_for_vllm):
    """Chi squared of 2,000 first tokens against temperature and top-p by their definition."""
    asked = req("a", n=2000, max_tokens=1, temperature=0.6, top_p=0.8)
    tokenizer = load_tokenizer(tiny_for_vllm.path)
    ids = Encoding(tokenizer, None).job(asked).ids
    with torch.inference_mode():
        logits = load_weights(tiny_for_vllm.path, "float32")(torch.tensor([ids])).logits[0, -1]
    ordered, order = (logits / 0.6).softmax(-1).sort(descending=True)
    kept = ordered.cumsum(-1) - ordered < 0.8
    wanted: dict[str, float] = {}
    for token, chance in zip(
        order[kept].tolist(), (ordered[kept] / ordered[kept].sum()).tolist(), strict=True
    ):
        text = tokenizer.decode([token], skip_special_tokens=True).strip()
        wanted[text] = wanted.get(text, 0) + chance
    found = [reply.text for reply in engine.generate([asked])]
    assert set(found) <= set(wanted)
    common = [text for text, chance in wanted.items() if chance * len(found) > 5]
    counts = np.array([found.count(text) for text in common])
    means = np.array([wanted[text] for text in common])
    assert len(common) > 3
    assert chisquare(counts, means * counts.sum() / means.sum()).pvalue > 1e-3


@needs_vllm
def test_more_prompts_than_vllm_reads_at_a_time(engine):
    """On a processor, one that it read in parts would end its process (vLLM 0.32), for draws have seeds."""
    requests = [req(str(n), f"{n} {'word ' * 1500}", max_tokens=2, top_p=1.0) for n in range(12)]
    assert len(replies(engine, requests)) == 12


@needs_vllm
def test_a_draw_does_not_depend_on_what_is_asked_beside_it(engine):
    requests = [req(str(n), text, n=2, temperature=1.0, top_p=1.0) for n, text in enumerate(QUESTIONS)]
    together = replies(engine, requests)
    alone = {
        key: reply for request in reversed(requests) for key, reply in replies(engine, [request]).items()
    }
    share = np.mean([together[key].text == alone[key].text for key in alone])
    print("share of equal draws", share)
    assert share >= 0.75


@needs_vllm
def test_a_reply_ends_where_it_holds_what_is_wanted(engine):
    whole = replies(engine, [req(max_tokens=40, temperature=1.0)])["a", 0]
    place = len(whole.text) // 2
    wanted = whole.text[place : place + 3]
    cut = replies(engine, [req(max_tokens=40, temperature=1.0, until=re.escape(wanted))])["a", 0]
    assert wanted in cut.text
    assert whole.text.startswith(cut.text)
    assert cut.num_tokens < whole.num_tokens
    assert cut.finish == "stop"
    stopped = replies(engine, [req(max_tokens=40, temperature=1.0, stop=(wanted,))])["a", 0]
    assert stopped.text == whole.text.partition(wanted)[0].strip()
    assert stopped.num_tokens == cut.num_tokens


@needs_vllm
def test_all_requests_that_are_too_long_are_named_and_nothing_is_written(engine):
    requests = [req("a"), req("b", "word " * 3000), req("c", max_tokens=2048)]
    with pytest.raises(PromptTooLong, match="2048") as caught:
        next(engine.generate(requests))
    assert caught.value.request_ids == ("b", "c")


@needs_vllm
def test_a_call_that_nobody_listens_to_any_more_leaves_nothing_behind(engine):
    listening = engine.generate([req(n=20, max_tokens=400, temperature=1.0, top_p=1.0)])
    next(listening)
    listening.close()
    assert not engine._process._engine.has_unfinished_requests()
    assert len(replies(engine, [req(n=3)])) == 3


@needs_vllm
def test_a_temperature_that_vllm_does_not_take_is_an_error(tiny_for_vllm, engine):
    with pytest.raises(EngineError, match="temperature must be in"):
        list(engine.generate([req(temperature=3)]))


@needs_vllm
@pytest.mark.parametrize("who", ["engine", "worker"])
def test_a_process_that_is_killed_is_an_error_and_the_next_call_starts_anew(tiny_for_vllm, who):
    engine = VllmEngine(section(), tiny_for_vllm)
    short, long = req("short", max_tokens=1), req("long", n=4, max_tokens=1500, temperature=1.0, top_p=1.0)
    writing = engine.generate([short, long])
    first = next(writing)
    (core,) = engine._process._engine.engine_core.resources.engine_manager.processes
    below = psutil.Process(core.pid).children(recursive=True)
    (core if who == "engine" else below[-1]).kill()
    with pytest.raises(EngineError, match="ended in the middle"):
        list(writing)
    assert first.request_id == "short"
    _, alive = psutil.wait_procs(below, timeout=20)
    assert not alive
    assert len(replies(engine, [short])) == 1
    engine.close()


@needs_vllm
def test_closing_gives_the_memory_back(tiny_for_vllm, smollm2):
    with open_engine(section(), tiny_for_vllm) as engine:  # what its import takes stays
        list(engine.generate([req()]))
    before = memory_gib()
    with open_engine(section(), smollm2) as engine:
        list(engine.generate([req(n=8)]))
        during = memory_gib()
        vllms = [one for one in psutil.Process().children(recursive=True) if _is_vllms(one)]
    after = memory_gib()
    print("GiB before, while open, after", (before, during, after))
    assert during - before > 0.5  # the weights alone
    assert after - before < 0.1
    assert len(vllms) >= 2  # its engine and a worker at least
    assert not psutil.wait_procs(vllms, timeout=10)[1]


@needs_vllm
def test_an_adapter_is_served_unmerged_and_writes_what_the_merged_model_does(tiny_for_vllm, engine, tmp_path):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    base = load_weights(tiny_for_vllm.path, "float32")
    wanted = LoraConfig(
        r=12, lora_alpha=64, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False
    )
    get_peft_model(base, wanted).save_pretrained(tmp_path / "adapter")
    model = resolve(ModelSection(name=str(tmp_path / "adapter")))
    requests = [
        req(str(n), text, temperature=0, max_tokens=24, continuations=GRADES)
        for n, text in enumerate(QUESTIONS)
    ]
    plain = replies(engine, requests)
    with open_engine(LocalEngineSection(device="cpu", dtype="float32"), model) as merged:
        merged_replies = replies(merged, requests)
    with open_engine(section(), model) as adapted:
        found = replies(adapted, requests)
    equal = np.mean([found[key].text == merged_replies[key].text for key in found])
    print("share of texts equal to the merged model's", equal)
    assert equal >= 0.75
    assert np.mean([found[key].text == plain[key].text for key in found]) < 0.25
    for key, reply in found.items():
        assert reply.probabilities == pytest.approx(merged_replies[key].probabilities, abs=1e-5, rel=1e-2)


@needs_vllm
@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"tensor_parallel": 2}, ConfigError, "vLLM sees no GPU here"),
        ({"extra": {"no_such_key": 1}}, ConfigError, "no_such_key"),
        ({"max_length": 100_000}, EngineError, "100000"),
        ({"kv_cache_gib": 100_000}, EngineError, "kv"),
    ],
)
def test_what_cannot_start_says_why(tiny_for_vllm, values, kind, words):
    before = set(psutil.Process().children(recursive=True))
    with open_engine(section(**values), tiny_for_vllm) as engine, pytest.raises(kind, match=words):
        list(engine.generate([req()]))
    assert not [
        one for one in psutil.Process().children(recursive=True) if one not in before and _is_vllms(one)
    ]


@needs_vllm
def test_a_context_that_the_memory_does_not_hold_says_what_would_fit(smollm2):
    with (
        open_engine(section(kv_cache_gib=0.1), smollm2) as engine,
        pytest.raises(EngineError, match=r"(?s)maximum model length is \d+.*engine\.max_length"),
    ):
        list(engine.generate([req()]))


@needs_vllm
def test_an_architecture_that_vllm_does_not_know_is_an_error(tiny_for_vllm, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_for_vllm.path, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"architectures": ["NobodysModel"], "model_type": "nobodys"})
    )
    with (
        open_engine(section(), Model("M", folder, "")) as engine,
        pytest.raises(EngineError, match=r"engine\.kind=local"),
    ):
        list(engine.generate([req()]))

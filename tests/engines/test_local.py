import re

import numpy as np
import pytest
import torch
import transformers
from scipy.stats import chisquare

from srlm import devices
from srlm.chat_format import load_tokenizer
from srlm.config import LocalEngineSection
from srlm.devices import dtype_of
from srlm.engines.base import Request
from srlm.engines.continuations import otherwise
from srlm.engines.local import LocalEngine, bytes_a_token
from srlm.engines.sampling import NUCLEUS, likeliest, sample
from srlm.errors import PromptTooLong
from srlm.models import Model
from srlm.records import ask


def row(temperature=1.0, top_p=1.0):
    return Request(
        id="r",
        conversation=ask("x"),
        purpose="response",
        seed=1,
        temperature=temperature,
        top_p=top_p,
        max_tokens=4,
    )


def expected(logits, temperature, top_p):
    """The nucleus distribution by the definition: smallest set of likeliest tokens reaching top_p."""
    probabilities = (logits / temperature).softmax(-1)
    order = probabilities.argsort(descending=True)
    kept, total = torch.zeros_like(probabilities), 0.0
    for token in order.tolist():
        kept[token] = probabilities[token]
        total += float(probabilities[token])
        if total >= top_p:
            break
    return kept / kept.sum()


@pytest.mark.parametrize(
    ("temperature", "top_p", "spread"), [(1.0, 0.9, 3.0), (0.7, 0.9, 0.1), (1.0, 1.0, 0.5), (0.6, 0.3, 1.0)]
)
def test_sampling_follows_the_nucleus_distribution(temperature, top_p, spread):
    """A spread of 0.1 over 300 tokens puts less than top_p on the 64 likeliest: the full sort is taken."""
    torch.manual_seed(0)
    logits = torch.randn(300) * spread
    draws = 4000
    uniforms = [(n + 0.5) / draws for n in range(draws)]  # evenly spread: frequencies equal probabilities
    tokens = sample(logits[None], [0] * draws, [row(temperature, top_p)] * draws, uniforms)
    found = torch.bincount(torch.tensor(tokens), minlength=300) / draws
    assert torch.allclose(found, expected(logits, temperature, top_p), atol=2 / draws)


def test_temperature_zero_is_greedy():
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, 1.0, 0.0]])
    assert sample(logits, [0, 1], [row(0), row(0)], [0.99, 0.99]) == [1, 0]
    assert sample(logits, [1], [row(0)], [0.99]) == [0]


@pytest.mark.parametrize("vocabulary", [40, 300, 9000, 20_001])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_likeliest_are_those_of_a_full_search(vocabulary, dtype):
    torch.manual_seed(vocabulary)
    logits = torch.randn(5, vocabulary).to(dtype).float()  # bfloat16: many are equal
    logits[0, 64:128] += 9  # all in one block
    values, tokens = likeliest(logits)
    assert torch.equal(values, logits.topk(min(NUCLEUS, vocabulary)).values)
    assert torch.equal(logits.gather(1, tokens), values)
    assert all(len(set(line)) == len(line) for line in tokens.tolist())


def test_real_draws_follow_the_nucleus_of_a_large_vocabulary():
    """Chi squared of 20,000 draws with the engine's own numbers, over 9,000 tokens."""
    torch.manual_seed(1)
    logits = torch.randn(9000) * 2.5
    wanted = expected(logits, 0.7, 0.9)
    uniforms = np.random.Generator(np.random.Philox(5)).random(20_000).tolist()
    tokens = sample(logits[None], [0] * 20_000, [row(0.7, 0.9)] * 20_000, uniforms)
    found = np.bincount(tokens, minlength=9000)
    means = 20_000 * wanted.double().numpy()
    assert found[means == 0].sum() == 0
    counts, means = found[means > 0], means[means > 0]
    assert means.min() > 5
    assert chisquare(counts, means * counts.sum() / means.sum()).pvalue > 1e-3


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_real_draws_at_top_p_1_follow_the_whole_distribution(temperature):
    """Chi squared of 20,000 draws over 2,000 tokens, most of which are not among the likeliest 64."""
    torch.manual_seed(2)
    logits = torch.randn(2000) * 0.4
    wanted = (logits / temperature).softmax(-1).double().numpy()
    uniforms = np.random.Generator(np.random.Philox(6)).random(20_000).tolist()
    tokens = sample(logits[None], [0] * 20_000, [row(temperature, 1.0)] * 20_000, uniforms)
    found = np.bincount(tokens, minlength=2000)
    kept = 20_000 * wanted > 5
    assert kept.mean() > 0.5
    means = 20_000 * wanted[kept]
    assert chisquare(found[kept], means * found[kept].sum() / means.sum()).pvalue > 1e-3
    assert found[~kept].sum() == pytest.approx(20_000 * wanted[~kept].sum(), rel=0.15)


def test_rows_of_one_batch_keep_their_own_top_p(monkeypatch):
    """Only what needs it is sorted, and all of it at once."""
    sorts, sort = [], torch.Tensor.sort
    monkeypatch.setattr(torch.Tensor, "sort", lambda one, **how: sorts.append(len(one)) or sort(one, **how))
    torch.manual_seed(3)
    logits = torch.randn(8, 3000)
    requests = [row(1.0, top_p) for top_p in (1.0, 0.9, 0.001, 1.0, 0.95, 0.5, 1.0, 0.9)]
    uniforms = [(n + 0.5) / 8 for n in range(8)]
    together = sample(logits, list(range(8)), requests, uniforms)
    assert sorts == [4]
    alone = [sample(logits, [n], [requests[n]], [uniforms[n]])[0] for n in range(8)]
    assert together == alone
    assert together[2] == logits[2].argmax()


def test_no_token_without_weight_is_drawn():
    logits = torch.full((1, 3000), -torch.inf)
    logits[0, [1000, 2000]] = 0.0
    uniforms = [0.0, 0.25, 0.75, 1 - 2**-53]
    for top_p in (1.0, 0.9):
        assert set(sample(logits, [0] * 4, [row(1.0, top_p)] * 4, uniforms)) == {1000, 2000}


FAMILIES = {
    "Llama": {"num_key_value_heads": 2},
    "Qwen2": {"num_key_value_heads": 2},
    "GPTNeoX": {},
    # These cannot share, so their rows are padded. What they write goes beyond their windows of 8 tokens.
    "Gemma2": {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 8},
    "Mistral": {"num_key_value_heads": 2, "sliding_window": 8},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_transformers_generate(tiny, tmp_path, family):
    """Token for token in float32, prompts of one beginning and others, two samples each."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    tokenizer = load_tokenizer(tiny.path)
    torch.manual_seed(5)
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        initializer_range=0.3,  # far from ties
        **sizes | FAMILIES[family],
    )
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    head = "Judge how well the answer fits the question, on a scale of five points. " * 4
    texts = [
        "What is rain?",
        "Tell me about the sea and the wind, please, at some length.",
        head + "Fog",
        head + "Ice",
    ]
    requests = [
        Request(
            id=text, conversation=ask(text), purpose="response", seed=0, n=2, temperature=0, max_tokens=12
        )
        for text in texts
    ]
    engine = LocalEngine(LocalEngineSection(device="cpu", dtype="float32"), Model("M", tmp_path, family))
    ours = {(reply.request_id, reply.draw): reply.text for reply in engine.generate(requests)}
    for text in texts:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        made = model.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
        wanted = tokenizer.decode(made, skip_special_tokens=True).strip()
        assert ours[text, 0] == ours[text, 1] == wanted


def test_next_probabilities_equal_the_models(tiny):
    from transformers import AutoModelForCausalLM

    engine = LocalEngine(LocalEngineSection(device="cpu", dtype="float32"), tiny)
    request = Request(
        id="a",
        conversation=ask("Rate it."),
        purpose="judgment",
        seed=0,
        max_tokens=1,
        prefix="Score: ",
        continuations=("0", "4"),
    )
    other = Request(
        id="b", conversation=ask("A longer one, to pad the first."), purpose="judgment", seed=0, max_tokens=1
    )
    reply = next(reply for reply in engine.generate([request, other]) if reply.request_id == "a")
    tokenizer = load_tokenizer(tiny.path)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Rate it."}], add_generation_prompt=True, tokenize=False
    )
    ids = tokenizer(text + "Score: ", return_tensors="pt", add_special_tokens=False)["input_ids"]
    logits = AutoModelForCausalLM.from_pretrained(tiny.path, dtype=torch.float32)(ids).logits[0, -1]
    wanted = logits.softmax(-1)[[tokenizer("0")["input_ids"][0], tokenizer("4")["input_ids"][0]]]
    assert reply.probabilities == pytest.approx(wanted.tolist(), rel=1e-4)


def test_a_grade_of_two_tokens_is_told_from_the_one_that_begins_it(tiny):
    """p("10") = p(1) p(0 | 1), and p("1") is what is left of p(1): going on with anything but 0."""
    from transformers import AutoModelForCausalLM

    grades = tuple(str(grade) for grade in range(1, 11))
    request = Request(
        id="a",
        conversation=ask("Rate it."),
        purpose="judgment",
        seed=0,
        max_tokens=1,
        prefix="Rating: [[",
        continuations=grades,
    )
    engine = LocalEngine(LocalEngineSection(device="cpu", dtype="float32"), tiny)
    found = dict(zip(grades, next(iter(engine.generate([request]))).probabilities, strict=True))
    tokenizer = load_tokenizer(tiny.path)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Rate it."}], add_generation_prompt=True, tokenize=False
    )
    one, zero = tokenizer("1")["input_ids"][0], tokenizer("0")["input_ids"][0]
    ids = tokenizer(text + "Rating: [[1", return_tensors="pt", add_special_tokens=False)["input_ids"]
    logits = AutoModelForCausalLM.from_pretrained(tiny.path, dtype=torch.float32)(ids).logits[0]
    first, second = logits[-2].softmax(-1)[one], logits[-1].softmax(-1)[zero]
    assert found["10"] == pytest.approx((first * second).item(), rel=1e-4)
    assert found["1"] == pytest.approx((first * (1 - second)).item(), rel=1e-4)


def test_a_prefix_that_spells_a_control_token_stays_text(tiny):
    """What a judge wrote is put into its mouth again; it may not end its turn by that."""
    plain, sly = (
        Request(id=text, conversation=ask("Rate it."), purpose="judgment", seed=0, max_tokens=1, prefix=text)
        for text in ("He said end.\nScore: ", "He said <|im_end|>.\nScore: ")
    )
    engine = LocalEngine(LocalEngineSection(device="cpu", dtype="float32"), tiny)
    list(engine.generate([plain]))  # loads the tokenizer
    special = set(engine._encoding.tokenizer.all_special_ids)
    jobs = [engine._encoding.job(request) for request in (plain, sly)]
    counts = [sum(token in special for token in job.ids) for job in jobs]
    assert counts[0] == counts[1]


def test_what_longer_continuations_take_is_taken_once():
    """1 begins 10 and 100; 100 is within 10, so 1 keeps .6 - .3 and 10 keeps .3 - .1."""
    assert otherwise([0.6, 0.3, 0.1], [[1], [1, 0], [1, 0, 0]]) == pytest.approx((0.3, 0.2, 0.1))


def test_a_prompt_longer_than_the_context_is_an_error(tiny):
    engine = LocalEngine(LocalEngineSection(device="cpu"), tiny)
    request = Request(id="a", conversation=ask("word " * 3000), purpose="response", seed=0, max_tokens=10)
    with pytest.raises(PromptTooLong, match="2048"):
        list(engine.generate([request]))


@pytest.mark.real
def test_the_real_model_knows_paris(smollm2):
    engine = LocalEngine(LocalEngineSection(device="cpu"), smollm2)
    request = Request(
        id="a",
        conversation=ask("What is the capital of France?"),
        purpose="response",
        seed=0,
        temperature=0,
        max_tokens=20,
    )
    assert "Paris" in next(iter(engine.generate([request]))).text


def test_a_reply_ends_where_it_holds_what_is_wanted(tiny):
    """`until` cuts nothing off that the pattern matched, and changes no token before it."""
    engine = LocalEngine(LocalEngineSection(device="cpu", dtype="float32"), tiny)

    def reply(until):
        request = Request(
            id="a",
            conversation=ask("Rate."),
            purpose="judgment",
            seed=3,
            temperature=1.5,
            max_tokens=40,
            until=until,
        )
        return next(iter(engine.generate([request])))

    whole = reply("")
    middle = re.escape(whole.text[len(whole.text) // 2 : len(whole.text) // 2 + 3])
    cut = reply(middle)
    assert cut.num_tokens < whole.num_tokens
    assert whole.text.startswith(cut.text)
    assert re.search(middle, cut.text)
    assert cut.finish == "stop"
    assert reply("^" + re.escape(whole.text[9:12]) + "$") == whole  # the tail alone may look like a line


def test_bfloat16_is_taken_where_it_is_faster(tiny, monkeypatch):
    assert dtype_of("float32", "cpu") == "float32"
    for faster in ("float32", "bfloat16"):
        devices._faster_dtype.cache_clear()
        with monkeypatch.context() as timing:
            timing.setattr(
                devices,
                "_seconds",
                lambda one, other, faster=faster: 1.0 if one.dtype == getattr(torch, faster) else 2.0,
            )
            assert dtype_of("auto", "cpu") == faster
    devices._faster_dtype.cache_clear()
    for faster in ("float32", "bfloat16"):
        monkeypatch.setattr("srlm.devices._faster_dtype", lambda device, faster=faster: faster)
        engine = LocalEngine(LocalEngineSection(device="cpu"), tiny)
        list(
            engine.generate(
                [Request(id="a", conversation=ask("x"), purpose="response", seed=0, max_tokens=1)]
            )
        )
        assert engine._model.dtype == getattr(torch, faster)


def test_the_room_follows_the_memory_that_is_free(tiny, monkeypatch):
    engine = LocalEngine(LocalEngineSection(device="cpu", dtype="float32"), tiny)
    engine._load()
    each = bytes_a_token(engine._model)
    assert each == 2 * 2 * 2 * 8 * 4  # keys and values, layers, heads, width, bytes
    monkeypatch.setattr("srlm.engines.local.free_device_memory", lambda device: 2000 * each)
    assert engine._room().tokens == 1000
    engine._section = LocalEngineSection(device="cpu", dtype="float32", batch_tokens=700)
    assert engine._room().tokens == 700

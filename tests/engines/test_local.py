import pytest
import torch

from srlm.chat_format import load_tokenizer
from srlm.config import LocalEngineSection
from srlm.engines.base import Request
from srlm.engines.local import LocalEngine, otherwise
from srlm.engines.sampling import sample
from srlm.errors import PromptTooLong
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
    tokens = sample(logits.expand(draws, -1), [row(temperature, top_p)] * draws, uniforms)
    found = torch.bincount(torch.tensor(tokens), minlength=300) / draws
    assert torch.allclose(found, expected(logits, temperature, top_p), atol=2 / draws)


def test_temperature_zero_is_greedy():
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, 1.0, 0.0]])
    assert sample(logits, [row(0), row(0)], [0.99, 0.99]) == [1, 0]


def test_greedy_equals_transformers_generate(tiny):
    from transformers import AutoModelForCausalLM

    engine = LocalEngine(LocalEngineSection(device="cpu", dtype="float32"), tiny)
    texts = ["What is rain?", "Tell me about the sea and the wind, please, at some length."]
    requests = [
        Request(
            id=text, conversation=ask(text), purpose="response", seed=0, n=2, temperature=0, max_tokens=10
        )
        for text in texts
    ]
    ours = {reply.request_id: reply.text for reply in engine.generate(requests)}
    tokenizer = load_tokenizer(tiny.path)
    model = AutoModelForCausalLM.from_pretrained(tiny.path, dtype=torch.float32)
    for text in texts:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        made = model.generate(**ids, max_new_tokens=10, do_sample=False)[0, ids["input_ids"].shape[1] :]
        assert ours[text] == tokenizer.decode(made, skip_special_tokens=True).strip()


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
    special = set(engine._tokenizer.all_special_ids)
    counts = [sum(token in special for token in engine._encode(request).ids) for request in (plain, sly)]
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


def greedy(engine, texts):
    requests = [
        Request(id=text, conversation=ask(text), purpose="response", seed=0, temperature=0, max_tokens=8)
        for text in texts
    ]
    return {reply.request_id: reply for reply in engine.generate(requests)}


def test_a_beginning_that_is_read_once_changes_nothing(tiny, monkeypatch):
    """As the rubric is, in front of texts of different lengths; with and without sharing, in fp32."""
    head = "Judge how well the answer fits the question, on a scale of five points. " * 4
    texts = [
        head + tail for tail in ("Rain.", "Snow that melts before noon.", "Fog over a long, long river.")
    ]
    read = []
    engine = LocalEngine(LocalEngineSection(device="cpu", dtype="float32"), tiny)
    original = LocalEngine._read_shared
    monkeypatch.setattr(LocalEngine, "_read_shared", lambda *a: read.append(original(*a)) or read[-1])
    shared = greedy(engine, texts)
    assert read[0] >= 60
    monkeypatch.setattr("srlm.engines.local.SHARED_AT_LEAST", 10**6)
    assert greedy(engine, texts) == shared
    assert read[1] == 0


@pytest.mark.parametrize("family", ["Llama", "Qwen2", "GPTNeoX", "Mistral"])
def test_grouped_attention_equals_torchs(family):
    """One token after a padded prompt, over heads that share keys and heads that do not."""
    import transformers
    from transformers import DynamicCache

    from srlm.engines.attention import NAME, decode_grouped

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2} if family != "GPTNeoX" else {}
    torch.manual_seed(3)
    config = getattr(transformers, f"{family}Config")(vocab_size=50, **sizes)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()

    @torch.no_grad()
    def decode():
        cache = DynamicCache(config=config)
        mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
        model(torch.tensor([[0, 0, 5, 6], [7, 8, 9, 10]]), attention_mask=mask, past_key_values=cache)
        return model(
            torch.tensor([[11], [12]]),
            attention_mask=torch.cat([mask, torch.ones(2, 1, dtype=torch.long)], dim=1),
            past_key_values=cache,
        ).logits

    wanted = decode()
    decode_grouped(model)
    assert model.config._attn_implementation == NAME
    torch.testing.assert_close(decode(), wanted, atol=1e-5, rtol=1e-5)

"""Log-probabilities of given responses: those of a plain forward pass, whatever stands in the same batch."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from srlm.chat_format import chat_text, load_tokenizer
from srlm.config import LocalEngineSection
from srlm.engines.likelihood import Witnesses
from srlm.models import Model, folder_digest
from srlm.records import Prompt, Response, ask

SECTION = LocalEngineSection(device="cpu", dtype="float32")
TEXTS = [
    ("What is rain?", "Water.", "stop"),
    ("Name three rivers of Europe, please.", "The Rhine and the", "length"),
]


def responses() -> list[Response]:
    return [
        Response.given(str(place), Prompt.of(prompt, (), 0), text, finish=finish)
        for place, (prompt, text, finish) in enumerate(TEXTS)
    ]


@pytest.fixture
def other(tiny: Model, tmp_path) -> Model:
    model = AutoModelForCausalLM.from_pretrained(tiny.path, dtype=torch.float32)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    model.save_pretrained(tmp_path / "other")
    load_tokenizer(tiny.path).save_pretrained(tmp_path / "other")
    return Model("other", tmp_path / "other", folder_digest(tmp_path / "other"))


def plainly(model: Model, response: Response) -> float:
    tokenizer = load_tokenizer(model.path)
    before = tokenizer(chat_text(tokenizer, ask(response.prompt)), add_special_tokens=False)["input_ids"]
    said = tokenizer(response.text, add_special_tokens=False)["input_ids"]
    said += [tokenizer.eos_token_id] if response.finish == "stop" else []
    policy = AutoModelForCausalLM.from_pretrained(model.path, dtype=torch.float32).eval()
    with torch.no_grad():
        logprobs = policy(torch.tensor([before + said])).logits[0].log_softmax(-1)
    return float(sum(logprobs[len(before) - 1 + place, token] for place, token in enumerate(said)))


def test_every_model_says_how_likely_each_response_is(tiny, other):
    found = Witnesses(SECTION, [tiny, other]).logprobs(responses())
    for (nats, num_tokens), response in zip(found, responses(), strict=True):
        assert nats == pytest.approx([plainly(tiny, response), plainly(other, response)], abs=1e-3)
        assert num_tokens > 1
    assert found[0][0][0] != pytest.approx(found[0][0][1], abs=0.1)


def test_who_is_asked_is_part_of_the_digest(tiny, other):
    digests = {Witnesses(SECTION, models).digest for models in ([tiny, other], [other, tiny], [tiny])}
    assert len(digests) == 3

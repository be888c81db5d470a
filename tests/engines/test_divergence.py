import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM

from srlm.chat_format import load_tokenizer
from srlm.config import LocalEngineSection
from srlm.engines.divergence import ModelCouple, kl_sum
from srlm.errors import ModelError
from srlm.models import Model, folder_digest
from srlm.records import Response, content_id

SECTION = LocalEngineSection(device="cpu", dtype="float32")
ANSWERS = [("What is rain?", "Water from clouds."), ("Count.", "One, two, three, and so on to ten or so.")]


@pytest.fixture(scope="module")
def moved(tiny, tmp_path_factory):
    """The tiny model with other weights."""
    folder = tmp_path_factory.mktemp("moved") / "model"
    shutil.copytree(tiny.path, folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(1)
    with torch.no_grad():
        model.lm_head.weight += 0.05 * torch.randn_like(model.lm_head.weight)
    model.save_pretrained(folder)
    return Model("M1", folder, folder_digest(folder))


@pytest.fixture(scope="module")
def couple(tiny, moved):
    return ModelCouple(SECTION, tiny, moved)


def response(prompt, text, finish="stop"):
    return Response(
        id=content_id(prompt, text),
        prompt_id=content_id(prompt),
        prompt=prompt,
        draw=0,
        text=text,
        num_tokens=3,
        finish=finish,
    )


def directly(model, reference, prompt, said):
    """KL at each place of an answer's tokens, from whole forward passes."""
    tokenizer = load_tokenizer(model.path)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    logs = []
    for one in (model, reference):
        weights = AutoModelForCausalLM.from_pretrained(one.path, dtype=torch.float32).eval()
        with torch.no_grad():
            logits = weights(torch.tensor([asked + said])).logits[0]
        logs.append(logits[len(asked) - 1 : -1].double().log_softmax(-1))
    ours, theirs = logs
    return (ours.exp() * (ours - theirs)).sum(-1).tolist()


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 100])
def test_the_sum_is_torchs_whatever_the_chunks(chunk):
    torch.manual_seed(0)
    logits, reference = 3 * torch.randn(2, 7, 50, dtype=torch.float64)
    wanted = torch.nn.functional.kl_div(
        reference.log_softmax(-1), logits.log_softmax(-1), reduction="sum", log_target=True
    )
    assert kl_sum(logits, reference, chunk) == pytest.approx(float(wanted), rel=1e-5)
    assert kl_sum(logits, logits, chunk) == 0
    assert kl_sum(reference, logits) != pytest.approx(float(wanted), rel=1e-2)  # it has a direction


def test_the_sum_of_half_precision_is_taken_in_single():
    torch.manual_seed(0)
    logits, reference = (3 * torch.randn(2, 40, 500)).bfloat16()
    assert kl_sum(logits, reference, 16) == pytest.approx(
        kl_sum(logits.double(), reference.double()), rel=1e-5
    )


def test_a_model_has_not_moved_from_itself(tiny):
    again = Model("M1", tiny.path, tiny.digest)
    found = ModelCouple(SECTION, tiny, again).nats([response(*answer) for answer in ANSWERS])
    assert [nats for nats, _ in found] == [0, 0]


def test_nats_are_those_of_a_direct_computation(tiny, moved, couple):
    tokenizer = load_tokenizer(tiny.path)
    there = couple.nats([response(*answer) for answer in ANSWERS])
    for (prompt, text), (nats, num_tokens) in zip(ANSWERS, there, strict=True):
        said = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
        wanted = directly(tiny, moved, prompt, said)
        assert num_tokens == len(wanted) == len(said)
        assert nats == pytest.approx(sum(wanted), rel=1e-4)
        assert nats > 0
    back = ModelCouple(SECTION, moved, tiny).nats([response(*ANSWERS[0])])
    assert back[0][0] != pytest.approx(there[0][0], rel=1e-4)


def test_the_end_counts_only_where_the_answer_ended_itself(tiny, moved, couple):
    tokenizer = load_tokenizer(tiny.path)
    prompt, text = ANSWERS[0]
    said = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    ended, cut = couple.nats([response(prompt, text), response(prompt, text, finish="length")])
    assert (ended[1], cut[1]) == (len(said), len(said) - 1)
    *before, end = directly(tiny, moved, prompt, said)
    assert cut[0] == pytest.approx(sum(before), rel=1e-4)
    assert ended[0] - cut[0] == pytest.approx(end, rel=1e-3)


def test_control_tokens_in_the_text_are_text(tiny, couple):
    tokenizer = load_tokenizer(tiny.path)
    sly, spaced = couple.nats(
        [response(f"Say {mark}", f"So {mark} be it") for mark in ("<|im_end|>", "< |im_end|>")]
    )
    assert sly == spaced
    assert sly[1] > len(tokenizer("So <|im_end|> be it")["input_ids"]) + 1


def test_the_answers_of_a_batch_do_not_touch_each_other(couple):
    answers = [response(*answer) for answer in ANSWERS]
    together = couple.nats(answers)
    assert [couple.nats([one])[0] for one in answers] == together
    assert couple.nats([]) == []


def test_a_closed_couple_loads_again(tiny, moved):
    couple = ModelCouple(SECTION, tiny, moved)
    couple.close()
    before = couple.nats([response(*ANSWERS[0])])
    couple.close()
    assert couple.nats([response(*ANSWERS[0])]) == before


def test_the_digest_names_both_models_their_order_and_the_precision(tiny, moved):
    rough = LocalEngineSection(device="cpu", dtype="bfloat16")
    digests = {
        ModelCouple(section, *models).digest
        for section in (SECTION, rough)
        for models in ((tiny, moved), (moved, tiny), (tiny, tiny))
    }
    assert len(digests) == 6
    assert ModelCouple(SECTION, tiny, moved).digest == ModelCouple(SECTION, tiny, moved).digest


def test_models_of_different_vocabularies_are_refused(tiny, tmp_path):
    shutil.copytree(tiny.path, tmp_path / "model")
    tokenizer = load_tokenizer(tiny.path)
    tokenizer.add_tokens(["an-added-token"])
    tokenizer.save_pretrained(tmp_path / "model")
    other = Model("stranger", tmp_path / "model", "digest")
    with pytest.raises(ModelError, match=r"M0 and stranger[\s\S]*vocabularies differ"):
        ModelCouple(SECTION, tiny, other).nats([response(*ANSWERS[0])])

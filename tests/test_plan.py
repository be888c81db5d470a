import pytest

from srlm.chat_format import chat_text, load_tokenizer
from srlm.config import Config, LocalEngineSection, SftSection
from srlm.engines.local import LocalEngine
from srlm.models import num_parameters
from srlm.plan import disk_gib, generation_gib, memory_gib, plan_steps
from srlm.prefixes import num_common
from srlm.recipes import load
from srlm.seeds import load_seed
from srlm.training import calibrate


def test_every_step_of_the_run_is_planned():
    config = load("smollm2").config
    names = {step.name for step in plan_steps(config, load_seed(config.data))}
    for name in ("M1/sft", "M2/prompts", "M3/judgments", "M3/dpo", "M0/evaluation/answers"):
        assert name in names
    assert not any(name.startswith("M4") for name in names)


def test_sixteen_generations_a_prompt():
    """Paper, section 2.3: N = 4 responses and K = 3 judgments each, 4 + 12."""
    config = Config()
    steps = {step.name: step for step in plan_steps(config, load_seed(config.data))}
    asked = steps["M2/responses"].generations + steps["M2/judgments"].generations
    assert asked == 16 * config.prompts.count


def test_an_sft_baseline_is_planned_where_answers_have_ranks_alone(tmp_path):
    lines = [
        f'{{"prompt": "Question {n}?", "split": "train", "answers": '
        f'[{{"text": "Yes.", "rank": 0}}, {{"text": "No.", "rank": 1}}]}}'
        for n in range(5)
    ]
    (tmp_path / "ranked.jsonl").write_text("\n".join(lines))
    config = load("smollm2", [f"data.ranked=builtin,{tmp_path}/ranked.jsonl", "eft.samples=4"]).config
    steps = {step.name: step for step in plan_steps(config, load_seed(config.data))}
    plain = {step.name: step for step in plan_steps(load("smollm2").config, load_seed(Config().data))}
    assert steps["SFT/judgments"].generations == 10 * 4
    assert steps["M1/sft"].items == plain["M1/sft"].items + 10
    assert "SFT/sft" in steps
    assert "SFT/sft" not in plain


def test_expected_scores_at_once_write_one_token_a_response():
    config = load("smollm2", ["judge.scoring=expected", "judge.justify=false"]).config
    steps = {step.name: step for step in plan_steps(config, load_seed(config.data))}
    step = steps["M2/judgments"]
    assert step.generations == step.written == config.prompts.count * config.responses.samples


def test_parameters_are_counted_from_headers(tiny):
    # 49,152 x 32 embeddings and as many in the head;
    # a layer: q, o 32x32, k, v 16x32, three of 64x32, two norms of 32.
    layer = 2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32 + 2 * 32
    assert num_parameters(tiny) == 2 * 49152 * 32 + 2 * layer + 32


def test_memory_of_generation_follows_the_batch(tiny):
    small, large = (load("smollm2", [f"engine.batch_tokens={n}"]).config for n in (1000, 5000))
    # Two layers, keys and values, two heads of width 8, two bytes, twice over.
    extra = generation_gib(0, tiny, large) - generation_gib(0, tiny, small)
    assert extra == pytest.approx(2 * 2 * 2 * 2 * 8 * 2 * 4000 / 2**30)


def test_adapters_take_less_memory_and_disk():
    config = load("smollm2", ["sft.lora.rank=8", "dpo.lora.rank=8"]).config
    plain = load("smollm2").config
    assert memory_gib(10**9, config.sft) < memory_gib(10**9, plain.sft)
    assert disk_gib(10**9, config) < disk_gib(10**9, plain)
    assert disk_gib(10**9, plain) == pytest.approx((3 * 4 + 2 * 3 * 4) * 10**9 / 2**30)


def test_memory_of_the_demo_is_near_what_was_measured():
    """5.2 GiB for M1's training (docs/results.md)."""
    assert memory_gib(134_515_008, load("smollm2").config.sft) == pytest.approx(5.2, rel=0.1)


class Clock:
    """One second between any two looks."""

    def __init__(self):
        self.seconds = 0.0

    def perf_counter(self):
        self.seconds += 1.0
        return self.seconds


@pytest.fixture
def clock(monkeypatch):
    """A clock for what is calibrated alone: a rate is then a number of tokens."""
    monkeypatch.setattr(calibrate, "time", Clock())


def test_the_reading_rate_counts_what_prompts_share_once(tiny, clock, monkeypatch):
    """Prompts of about 300 tokens that share the chat format's beginning alone."""
    asked, generate = [], LocalEngine.generate

    def noting(engine, requests):
        asked.append([*requests])
        return generate(engine, asked[-1])

    monkeypatch.setattr(LocalEngine, "generate", noting)
    prefill, written = calibrate.generation_rates(LocalEngineSection(device="cpu"), tiny.path)
    tokenizer = load_tokenizer(tiny.path)
    texts = [chat_text(tokenizer, request.conversation) for request in asked[1]]
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    head = num_common(rows[0], rows[2])
    assert max(num_common(one, other) for one in rows for other in rows if one is not other) <= head + 1
    assert prefill < sum(map(len, rows)) - head * (len(rows) - 1) + 1
    assert prefill > sum(len(row) - head - 1 for row in rows)
    assert written <= 48 * calibrate.ROWS


def test_the_training_rate_counts_what_the_model_sees(tiny, clock, monkeypatch):
    """On flat rows, as training has them: each distinct token once, and no padding."""
    seen = []
    whole = calibrate.answer_logprobs

    def noting(model, batch, autocast):
        seen.append(batch)
        return whole(model, batch, autocast)

    monkeypatch.setattr(calibrate, "answer_logprobs", noting)
    rate = calibrate.training_rate(SftSection(device="cpu", dropout=0), tiny.path)
    assert rate == seen[-1].num_distinct == seen[-1].ids.numel()
    assert seen[-1].ids.shape[0] == 1
    assert seen[-1].num_distinct < seen[-1].num_tokens < 1.5 * seen[-1].num_distinct

import pytest

from srlm.config import Config
from srlm.judging.rubric import load_rubric
from srlm.loop import step_names
from srlm.planning.steps import Requests, plan_steps
from srlm.recipes import load
from srlm.seeds import load_seed


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


def test_a_user_turn_is_written_without_reading_examples():
    def read(*overrides: str) -> float:
        config = load("smollm2", list(overrides)).config
        steps = {step.name: step for step in plan_steps(config, load_seed(config.data))}
        return sum(asked.prompt for asked in steps["M2/prompts"].requests)

    assert read("prompts.method=synthesis") < 100 < read()


def test_expected_scores_at_once_write_one_token_a_response():
    config = load("smollm2", ["judge.scoring=expected", "judge.justify=false"]).config
    steps = {step.name: step for step in plan_steps(config, load_seed(config.data))}
    step = steps["M2/judgments"]
    assert step.generations == step.written == config.prompts.count * config.responses.samples


def test_a_rubric_is_read_once_a_block():
    """32 prompts, 4 responses each: 128 judgments are one block of 128, and four blocks of 32.

    The head of the rubric is in every prompt, and read once a block: three more blocks, three times.
    """
    whole = load("smollm2", ["judge.block=128"]).config
    cut = load("smollm2", ["judge.block=32"]).config
    one, four = (
        {step.name: step for step in plan_steps(config, load_seed(config.data))}["M2/judgments"]
        for config in (whole, cut)
    )
    head = -(-len(load_rubric("additive").text.partition("{{")[0]) // 4)
    assert head > 150
    assert four.prefill - one.prefill == 3 * head


def test_requests_add_up():
    """10 requests in blocks of 4 are 3 blocks: 3 heads of 100 and 10 prompts of 7.5 are 375 tokens."""
    asked = Requests(10, 3, 100, 7.5, 20, 4)
    assert (asked.blocks, asked.generations, asked.prefill) == (3, 30, 375)


def test_expected_scores_after_reasons_read_every_reply_again():
    """128 responses, 3 replies each of at most 96 tokens: 384 replies, and 384 weighings of one token."""
    config = load("smollm2", ["judge.scoring=expected"]).config
    step = {step.name: step for step in plan_steps(config, load_seed(config.data))}["M2/judgments"]
    assert step.generations == 2 * 384
    assert step.written == 384 * 96 + 384


def test_updates_are_counted():
    """32 pairs, two epochs, 8 a batch: 8 updates."""
    config = load("smollm2").config
    step = {step.name: step for step in plan_steps(config, load_seed(config.data))}["M2/dpo"]
    assert step.updates == 8


@pytest.mark.parametrize("recipe", ["smollm2", "meta-rewarding-8b", "temporal-8b", "cream-7b", "no-eft"])
@pytest.mark.parametrize("more", [[], ["judge_training.methods=self_taught", "pairs.earlier=1"]])
def test_every_step_that_asks_or_trains_is_planned(recipe, more):
    """What is left out asks no model: what is paired, taught from scores, or reckoned."""
    config = load(recipe, [*more, "evaluation.suites=[]", "gates.preset=off"]).config
    reckoned = ("pairs", "figures", "eft", "monitors")
    wanted = {name for name in step_names(config, ranks_alone=False) if not name.endswith(reckoned)}
    assert {step.name for step in plan_steps(config, load_seed(config.data))} == wanted


def test_pairs_of_earlier_rounds_and_lessons_beside_are_trained_on_too():
    config = load("smollm2", ["pairs.earlier=0.5", "judge_training.methods=replay"]).config
    steps = {step.name: step for step in plan_steps(config, load_seed(config.data))}
    assert steps["M2/dpo"].items == round(config.prompts.count / 0.85)
    assert steps["M3/dpo"].items == round(config.prompts.count * 1.5 / 0.85)

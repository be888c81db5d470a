"""Steps that another run has done alike are taken over; what differs is done."""

from srlm.config import Config, PairsSection, ResponsesSection
from srlm.engines.scripted import ScriptedEngine
from srlm.records import Prompt, Response
from srlm.stages.responses import respond
from srlm.store.blocks import Items
from srlm.store.run import Run, open_run
from srlm.store.states import run_states


class Prompts(Items[Prompt]):
    digest = "prompts"


class Counting(ScriptedEngine):
    """Counts what it is asked."""

    asked = 0

    def generate(self, requests):
        Counting.asked += len(requests)
        return super().generate(requests)


PROMPTS = Prompts([Prompt.of(f"Name {number}.", (), number) for number in range(4)])


def answered(run: Run) -> list[Response]:
    return list(run.records("M2/responses", Response, respond, run.config.responses, Counting(), PROMPTS))


def test_the_same_step_is_done_once_and_another_anew(tmp_path):
    Counting.asked = 0
    config = Config(responses=ResponsesSection(samples=2))
    with open_run(tmp_path / "one", config) as run:
        first = answered(run)
    assert Counting.asked == 4
    other = config.model_copy(update={"pairs": PairsSection(rank_by="random")})
    with open_run(tmp_path / "two", other, others=[tmp_path / "nowhere", tmp_path / "one"]) as run:
        assert answered(run) == first
        assert run.counts("M2/responses") == {"tokens": sum(item.num_tokens for item in first)}
    assert Counting.asked == 4
    changed = config.model_copy(update={"responses": ResponsesSection(samples=3)})
    with open_run(tmp_path / "three", changed, others=[tmp_path / "one", tmp_path / "two"]) as run:
        assert len(answered(run)) == 12
    assert Counting.asked == 8


def test_a_step_that_is_not_done_is_not_taken(tmp_path):
    Counting.asked = 0
    config = Config(responses=ResponsesSection(samples=2))
    with open_run(tmp_path / "one", config) as run:
        answered(run)
    state = tmp_path / "one/M2/responses.step.json"
    state.write_text(state.read_text().replace('"done": true', '"done": false'))
    with open_run(tmp_path / "two", config, others=[tmp_path / "one"]) as run:
        answered(run)
    assert Counting.asked == 8


def test_a_result_and_its_order_come_along(tmp_path):
    config, made = Config(), []

    def figures(value: str) -> dict:
        made.append(value)
        return {"is": value}

    with open_run(tmp_path / "one", config) as run:
        run.result("M1/figures", figures, "this")
        run.result("M2/figures", figures, "that")
    with open_run(tmp_path / "two", config, others=[tmp_path / "one"]) as run:
        assert run.result("M2/figures", figures, "that") == {"is": "that"}
        assert run.result("M1/figures", figures, "other") == {"is": "other"}
    assert made == ["this", "that", "other"]
    assert [state["step"] for state in run_states(tmp_path / "two")] == ["M2/figures", "M1/figures"]

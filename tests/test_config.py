import pytest

from srlm.config import Config, flatten
from srlm.errors import ConfigError
from srlm.recipes import load, recipe_names


def test_every_recipe_loads_and_names_its_origins():
    for name in recipe_names():
        loaded = load(name)
        assert set(loaded.origins) == set(flatten(loaded.config.model_dump()))
        assert name in loaded.origins.values()


def test_paper_values_are_the_papers():
    config = load("paper-70b").config
    assert (config.sft.learning_rate, config.sft.min_learning_rate) == (5.5e-6, 1.1e-6)
    assert (config.dpo.learning_rate, config.dpo.min_learning_rate, config.dpo.beta) == (1e-6, 1e-7, 0.1)
    assert (config.responses.samples, config.judge.samples, config.sft.batch_size) == (4, 3, 16)
    assert (config.prompts.temperature, config.responses.temperature, config.prompts.top_p) == (0.6, 0.7, 0.9)
    assert (config.prompts.demonstrations, config.prompts.generated_demonstrations) == (6, 2)


def test_precedence_is_default_recipe_override():
    loaded = load("smollm2", ["judge.samples=5"])
    assert loaded.config.judge.samples == 5
    assert loaded.origins["judge.samples"] == "override"
    assert loaded.origins["judge.max_tokens"] == "smollm2"
    assert loaded.origins["judge.temperature"] == "default"


def test_all_mistakes_come_in_one_message_with_the_nearest_name():
    with pytest.raises(ConfigError) as caught:
        load("smollm2", ["judge.sample=5", "responses.samples=1", "dpo.min_learning_rate=1"])
    text = str(caught.value)
    assert "3 mistakes" in text
    assert "did you mean 'judge.samples'" in text
    assert "responses.samples" in text
    assert "min_learning_rate is above learning_rate" in text
    assert "What to do" in text


def test_a_key_written_twice_is_refused_with_its_line(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("judge:\n  samples: 3\n  samples: 4\n")
    with pytest.raises(ConfigError, match=r"'samples' is written twice \(line 3\)"):
        load(str(path))


def test_exponents_without_a_point_are_numbers(tmp_path):
    path = tmp_path / "rate.yaml"
    path.write_text("dpo: {learning_rate: 1e-6}\n")
    assert load(str(path)).config.dpo.learning_rate == 1e-6
    assert load(str(path), ["dpo.learning_rate=2e-6"]).config.dpo.learning_rate == 2e-6


def test_extends_once(tmp_path):
    (tmp_path / "one.yaml").write_text("extends: smollm2\niterations: 2\n")
    loaded = load(str(tmp_path / "one.yaml"))
    assert loaded.config.iterations == 2
    assert loaded.config.prompts.count == load("smollm2").config.prompts.count
    (tmp_path / "two.yaml").write_text(f"extends: {tmp_path / 'one.yaml'}\n")
    with pytest.raises(ConfigError, match="extends another"):
        load(str(tmp_path / "two.yaml"))


def test_a_changed_kind_starts_its_section_anew(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("extends: smollm2\nengine: {batch_tokens: 900}\n")
    assert load(str(recipe)).config.engine.batch_tokens == 900
    assert load(str(recipe), ["engine.kind=scripted"]).config.engine.kind == "scripted"
    with pytest.raises(ConfigError, match="batch_tokens"):  # asked for by the same person
        load("smollm2", ["engine.batch_tokens=900", "engine.kind=scripted"])


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'smollm2'"):
        load("smolm2")


def test_override_without_equals_is_refused():
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        load("smollm2", ["judge.samples"])


def test_number_of_knobs_stays_small():
    assert len(flatten(Config().model_dump())) < 145  # the paper, and a key for each method that came after


@pytest.mark.parametrize("override", ["model.name=@x", "data.ranked=a: b", "judge.samples=[1"])
def test_an_override_that_is_not_yaml_is_refused(override):
    with pytest.raises(ConfigError):
        load("smollm2", [override])


def test_a_range_that_allows_nothing_is_refused():
    with pytest.raises(ConfigError, match="no prompt could be kept"):
        load("smollm2", ["prompts.min_words=10", "prompts.max_words=5"])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["prompts.method=synthesis", "prompts.given=x.jsonl"], "given takes prompts from a file"),
        (["prompts.demonstrate=hard", "prompts.given=x.jsonl"], "given shows none"),
        (["prompts.demonstrate=diverse", "prompts.method=synthesis"], "method=synthesis shows none"),
        (["prompts.demonstrate=hard", "prompts.generated_demonstrations=0"], "demonstrate=diverse"),
    ],
)
def test_ways_to_new_prompts_that_do_not_go_together_are_refused(overrides, said):
    with pytest.raises(ConfigError, match=said):
        load("smollm2", overrides)


SERVED = ["engine.kind=openai", "engine.base_url=http://127.0.0.1/v1", "engine.model=m"]
NAMED = ["servers.big.base_url=http://127.0.0.1/v1", "servers.big.model=m"]
OVER_RAY = [
    "engine.kind=ray",
    "engine.engine.kind=openai",
    "engine.engine.base_url=http://127.0.0.1/v1",
    "engine.engine.model=m",
]


@pytest.mark.parametrize(
    ("overrides", "who"),
    [
        ([*SERVED, "prompts.writer="], "engine.kind=openai is a server"),
        ([*OVER_RAY, "prompts.writer="], "engine.kind=openai is a server"),
        ([*NAMED, "prompts.writer=big"], "prompts.writer=big is a server"),
    ],
)
def test_a_server_cannot_write_the_users_turn(overrides, who):
    with pytest.raises(ConfigError, match=rf"{who}(.|\n)*prompts.method=few_shot"):
        load("smollm2", [*overrides, "prompts.method=synthesis"])
    assert load("smollm2", overrides)
    # A model beside the server writes it.
    asked = [*overrides, "prompts.writer=smollm2-135m-instruct", "prompts.method=synthesis"]
    assert load("smollm2", asked).config.prompts.method == "synthesis"

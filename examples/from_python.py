"""One round by hand, from a notebook: prompts, responses, judgments and pairs, without a run folder.

A stage is a plain function from its config section and its inputs to blocks of records, so each can
be called, looked at and repeated alone. Run it: ``python examples/from_python.py`` (two minutes).
"""

from srlm.config import Config, JudgeSection, ModelSection, PromptsSection, ResponsesSection
from srlm.engines.base import Engine
from srlm.engines.opening import open_engine
from srlm.judging.rubric import load_rubric
from srlm.models import resolve
from srlm.records import Pair
from srlm.seeds import load_seed
from srlm.stages import records_of
from srlm.stages.judgments import judge
from srlm.stages.pairs import make_pairs
from srlm.stages.prompts import write_prompts
from srlm.stages.responses import respond

CONFIG = Config(
    prompts=PromptsSection(count=4, block=8),
    responses=ResponsesSection(samples=4, max_tokens=96),
    judge=JudgeSection(samples=3, max_tokens=96),
)


def one_round(config: Config, engine: Engine) -> list[Pair]:
    """What section 2.3 of the paper does, with the current model as writer, answerer and judge."""
    seed = load_seed(config.data)
    prompts = records_of(write_prompts(config.prompts, engine, seed.instructions))
    responses = records_of(respond(config.responses, engine, prompts))
    rubric = load_rubric(config.judge.rubric)
    judgments = records_of(judge(config.judge, engine, rubric, responses))
    for judgment in judgments[:4]:
        print(judgment.score, judgment.reasons, judgment.replies[0][-60:])
    return records_of(make_pairs(config.pairs, responses, judgments))


def main() -> None:
    with open_engine(CONFIG.engine, resolve(ModelSection())) as engine:
        for pair in one_round(CONFIG, engine):
            print(f"\n{pair.prompt}\n  + {pair.chosen_score}  {pair.chosen[:70]!r}")
            print(f"  - {pair.rejected_score}  {pair.rejected[:70]!r}")


if __name__ == "__main__":
    main()

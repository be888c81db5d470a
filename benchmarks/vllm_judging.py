"""Judging of 64 responses with vLLM, with and without prefix caching, and with the local engine.

    .venv-vllm/bin/python benchmarks/vllm_judging.py

Every engine writes and weighs a few tokens first, so that starting is counted apart from judging.
"""

import time

from srlm.config import (
    Config,
    EngineSection,
    JudgeSection,
    LocalEngineSection,
    ModelSection,
    VllmEngineSection,
)
from srlm.engines.base import Request
from srlm.engines.opening import open_engine
from srlm.judging.rubric import load_rubric
from srlm.models import Model, resolve
from srlm.records import Prompt, Response, ask
from srlm.seeds import load_seed
from srlm.stages import records_of
from srlm.stages.judgments import judge

NUMBER = 64


def responses() -> list[Response]:
    """The first ranked answers of the built-in seed set."""
    ranked = load_seed(Config().data).ranked
    texts = [(Prompt.of(item.prompt, (), 0), answer.text) for item in ranked for answer in item.answers]
    return [Response.given(f"r{n}", prompt, text) for n, (prompt, text) in enumerate(texts[:NUMBER])]


def measured(engine: EngineSection, section: JudgeSection, model: Model, asked: list[Response]) -> str:
    """Seconds to start, seconds to judge, and how many judgments have a score."""
    started = time.perf_counter()
    with open_engine(engine, model) as opened:
        warm = Request(id="w", conversation=ask("Hello."), purpose="response", seed=0, n=4, max_tokens=4)
        list(opened.generate([warm]))
        begun = time.perf_counter()
        judgments = records_of(judge(section, opened, load_rubric(section.rubric), asked, seed=0))
        ended = time.perf_counter()
    scores = [item.score for item in judgments if item.score is not None]
    return f"{begun - started:.1f} s to start, {ended - begun:.1f} s to judge, {len(scores)} scores"


def main() -> None:
    model, asked = resolve(ModelSection()), responses()
    engines = {
        "local": LocalEngineSection(device="cpu"),
        "vllm": VllmEngineSection(),
        "vllm, nothing compiled": VllmEngineSection(extra={"enforce_eager": True}),
        "vllm without prefix caching": VllmEngineSection(prefix_caching=False),
    }
    for scoring, section in {
        "sampled, 96 tokens": JudgeSection(samples=1, max_tokens=96, block=NUMBER, retries=0),
        "expected at once": JudgeSection(scoring="expected", justify=False, block=NUMBER),
    }.items():
        for name, engine in engines.items():
            print(f"{scoring}, {name}: {measured(engine, section, model, asked)}", flush=True)


if __name__ == "__main__":
    main()

"""MT-Bench from a model to its grades: two turns of 80 questions, each turn graded on its own."""

from dataclasses import dataclass
from typing import Any

from srlm.config import MTBenchSuite
from srlm.errors import ConfigError
from srlm.evaluation.heldout import answer_shape
from srlm.evaluation.mt_bench import (
    Grade,
    Question,
    mt_bench,
    read_questions,
    read_references,
    wrong_references,
)
from srlm.evaluation.suites.asking import Answers, Contestant, Place, spread
from srlm.evaluation.suites.bench import Help
from srlm.judging.rubric import grading_rubric
from srlm.records import Judgment, Response, content_id
from srlm.seeds.hub import data_file
from srlm.stages.judgments import judge
from srlm.stages.turns import Conversations, Turns, converse, turn_id
from srlm.store.jsonl import Records

TEMPERATURES = {"writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1}
"""MT-Bench's own, by category; any other is 0."""
LOWEST = 1.0
"""The grade of a turn that could not be asked: left out, a model of short context would be graded on less."""


@dataclass
class MTBench:
    """Answers are asked of models alone: the second turn depends on the first answer."""

    section: MTBenchSuite

    def __post_init__(self) -> None:
        self.questions = spread(read_questions(data_file(self.section.questions)), self.section.limit)
        references = self.section.references
        self.references = read_references(data_file(references)) if references else {}
        self.wrong = wrong_references(data_file(references)) if references else []
        self.rubric = grading_rubric(self.section.rubric)
        self.turns = Conversations([self._turns(question) for question in self.questions])

    def asked(self) -> list[str]:
        return [text for question in self.questions for text in question.turns]

    def answer(self, at: Place, who: Contestant) -> Answers:
        if who.given:
            raise ConfigError(
                f"answers {who.given.path}",
                "MT-Bench has two turns, and the second depends on the answer to the first",
                "give a model; grades that were made elsewhere are read by `srlm eval mt-bench-judgments`",
            )
        given = (self.section, who.engine, self.turns)
        made = at.run.records(at.step("answers"), Response, converse, *given)
        said = {item.prompt_id for item in made}
        every = {turn_id(one, turn) for one in self.turns for turn in range(len(one.texts))}
        return Answers(list(made), unanswered=frozenset(every - said))

    def examine(self, at: Place, who: Contestant, answers: Answers, help_: Help) -> Records[Judgment]:
        given = (help_.the_judge(), self.rubric, Answers(self._as_judged(answers)))
        return at.run.records(at.step("judgments"), Judgment, judge, help_.config.evaluation.judge, *given)

    def figures(
        self, at: Place, who: Contestant, answers: Answers, findings: Records[Judgment]
    ) -> dict[str, Any]:
        given = (answers, findings, self.questions, [one.digest for one in self.wrong], at.run.config.seed)
        return at.run.result(at.step("figures"), self._measure, *given)

    def _measure(
        self, answers: Answers, judgments: Records[Judgment], _questions: object, _wrong: object, seed: int
    ) -> dict[str, Any]:
        places = {
            turn_id(turns, turn): (question.number, turn + 1)
            for question, turns in zip(self.questions, self.turns, strict=True)
            for turn in range(len(question.turns))
        }
        grades = [Grade(*places[item.prompt_id], item.score) for item in judgments]
        grades += [Grade(*places[turn], LOWEST) for turn in sorted(answers.unanswered)]
        categories = {question.number: question.category for question in self.questions}
        figures = mt_bench(grades, categories, self.wrong, seed)
        figures["missing"] = [turn for turn in figures["missing"] if tuple(turn) in places.values()]
        return figures | {
            "answers": answer_shape(list(answers)),
            "unanswered": len(answers.unanswered),
            "scale": [self.rubric.lowest, self.rubric.highest],
        }

    def _turns(self, question: Question) -> Turns:
        temperature = self.section.temperature
        if temperature is None:
            temperature = TEMPERATURES.get(question.category, 0.0)
        return Turns(content_id("question", question.number, question.turns), question.turns, temperature)

    def _as_judged(self, answers: Answers) -> list[Response]:
        """The answers with all that the judge has to see in place of the prompt."""
        by_id = {item.prompt_id: item for item in answers}
        seen = []
        for question, turns in zip(self.questions, self.turns, strict=True):
            for turn in range(len(question.turns)):
                response = by_id.get(turn_id(turns, turn))
                if response:
                    before = by_id[turn_id(turns, 0)].text if turn else ""
                    references = self.references.get(question.number, ())[: turn + 1]
                    prompt = as_shown(question.turns[: turn + 1], before, references)
                    seen.append(response.model_copy(update={"prompt": prompt}))
        return seen


def as_shown(turns: tuple[str, ...], before: str, references: tuple[str, ...]) -> str:
    """A question as the judge sees it: the turn before with its answer, and the references there are."""
    parts = []
    if len(turns) > 1:
        parts += [
            "This is the second turn of a conversation. Rate the response to the second turn alone.",
            f"First turn:\n{turns[0]}",
            f"The assistant's response to the first turn:\n{before}",
            f"Second turn:\n{turns[1]}",
        ]
    else:
        parts.append(turns[0])
    for number, reference in enumerate(references, 1):
        name = f"Reference answer to turn {number}" if len(references) > 1 else "Reference answer"
        parts.append(f"{name}, to compare with; the response need not be worded like it:\n{reference}")
    return "\n\n".join(parts)

"""Suites whose answers a program checks: IFEval, GSM8K, and a user's own."""

from dataclasses import dataclass
from typing import Any

from srlm.config import CheckedSuite, GSM8KSuite, IFEvalSuite
from srlm.errors import DataError
from srlm.evaluation.checked import checked_figures
from srlm.evaluation.gsm8k import grade_draws, gsm8k_figures, read_questions, request_text
from srlm.evaluation.heldout import answer_shape
from srlm.evaluation.ifeval import ifeval_figures, read_tasks, verify_all
from srlm.evaluation.suites.asking import Answers, Contestant, GivenAnswers, Place, answers_of, spread
from srlm.evaluation.suites.bench import Help
from srlm.judging.checkers import Checker, load_checker
from srlm.records import Prompt
from srlm.seeds.hub import data_file
from srlm.seeds.prompts import read_prompts
from srlm.seeds.source import listed, shown


@dataclass
class IFEval:
    """An answer that a file lacks is refused; one that a model could not give is a fail."""

    section: IFEvalSuite

    def __post_init__(self) -> None:
        self.tasks = spread(read_tasks(data_file(self.section.data)), self.section.limit)
        self.prompts = [Prompt.of(task.prompt, (), 0) for task in self.tasks]

    def asked(self) -> list[str]:
        return [prompt.text for prompt in self.prompts]

    def answer(self, at: Place, who: Contestant) -> Answers:
        return answers_of(at, self.section, who, self.prompts)

    def examine(self, at: Place, who: Contestant, answers: Answers, help_: Help) -> None:
        return None

    def figures(self, at: Place, who: Contestant, answers: Answers, findings: None) -> dict[str, Any]:
        return at.run.result(at.step("figures"), self._measure, answers, self.tasks, at.run.config.seed)

    def _measure(self, answers: Answers, _tasks: object, seed: int) -> dict[str, Any]:
        texts = answers.by_prompt()
        verdicts = verify_all(self.tasks, texts)
        raw = [
            {"key": item.task.key, "strict": item.strict, "loose": item.loose, "empty": item.is_empty}
            for item in verdicts
        ]
        shape = answer_shape(list(answers))
        figures = ifeval_figures(verdicts, seed)
        return figures | {"answers": shape, "unanswered": len(answers.unanswered), "verdicts": raw}


@dataclass
class GSM8K:
    """A question is asked with the wish to end in `#### n`; an answer file may have the bare question."""

    section: GSM8KSuite

    def __post_init__(self) -> None:
        self.questions = spread(read_questions(data_file(self.section.data)), self.section.limit)
        self.prompts = [Prompt.of(request_text(question.text), (), 0) for question in self.questions]

    def asked(self) -> list[str]:
        return [prompt.text for prompt in self.prompts]

    def answer(self, at: Place, who: Contestant) -> Answers:
        if who.given:
            who = Contestant(who.name, given=self._asked(who.given))
        return answers_of(at, self.section, who, self.prompts)

    def examine(self, at: Place, who: Contestant, answers: Answers, help_: Help) -> None:
        return None

    def figures(self, at: Place, who: Contestant, answers: Answers, findings: None) -> dict[str, Any]:
        return at.run.result(at.step("figures"), self._measure, answers, self.questions, at.run.config.seed)

    def _measure(self, answers: Answers, _questions: object, seed: int) -> dict[str, Any]:
        by_prompt: dict[str, list[str]] = {}
        for item in answers:
            by_prompt.setdefault(item.prompt_id, []).append(item.text)
        draws = [by_prompt[prompt.id] for prompt in self.prompts]
        grades = grade_draws(self.questions, draws)
        rows = [grade.row() for group in grades for grade in group]
        shape = answer_shape(list(answers))
        return gsm8k_figures(grades, seed) | {
            "answers": shape,
            "unanswered": len(answers.unanswered),
            "grades": rows,
        }

    def _asked(self, given: GivenAnswers) -> GivenAnswers:
        """The file's answers by the question as it is asked."""
        bare = {question.text: request_text(question.text) for question in self.questions}
        if twice := [text for text, asked in bare.items() if {text, asked} <= given.texts.keys()]:
            raise DataError(
                f"answers {shown(str(given.path), 400)}",
                f"{len(twice)} questions stand in it bare and as they are asked: {listed(twice, 5)}",
                "keep one answer a question",
            )
        texts = {bare.get(prompt, prompt): text for prompt, text in given.texts.items()}
        return GivenAnswers(given.path, texts)


@dataclass
class Checked:
    """Points from a program; what could not be answered has none, and is wrong."""

    section: CheckedSuite

    def __post_init__(self) -> None:
        self.prompts = spread(read_prompts(data_file(self.section.prompts)), self.section.limit)
        self.check = load_checker(self.section.checker)

    def asked(self) -> list[str]:
        return [prompt.text for prompt in self.prompts]

    def answer(self, at: Place, who: Contestant) -> Answers:
        return answers_of(at, self.section, who, self.prompts)

    def examine(self, at: Place, who: Contestant, answers: Answers, help_: Help) -> None:
        return None

    def figures(self, at: Place, who: Contestant, answers: Answers, findings: None) -> dict[str, Any]:
        decisive = (self.check, self.section.top, at.run.config.seed)
        return at.run.result(at.step("figures"), self._measure, answers, *decisive)

    def _measure(self, answers: Answers, check: Checker, top: float, seed: int) -> dict[str, Any]:
        points: dict[str, list[float]] = {prompt.id: [] for prompt in self.prompts}
        for item in answers:
            unanswered = item.prompt_id in answers.unanswered
            points[item.prompt_id].append(0.0 if unanswered else check(item.prompt, item.text))
        return checked_figures(list(points.values()), top, seed) | {
            "answers": answer_shape(list(answers)),
            "unanswered": len(answers.unanswered),
            "by_prompt": list(points.values()),
        }

"""Step 3 of a round: the model judges every response K times (paper, sections 2.3 and 3.1.3).

`sampled`: K replies, their grades averaged; what cannot be read is asked for again, at most `retries`
times. `expected`: the probabilities of the grades, after each of K sampled justifications or at once. A
draw without a score is None with a reason, never a number.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from srlm.config import Judges
from srlm.engines.base import Engine, Reply, Request
from srlm.judging.reading import Reading, attempts_a_verdict, mean_score, read_verdict, until_verdict
from srlm.judging.rubric import Rubric
from srlm.judging.scoring import Expectation, expectation, expected_variance, sampled_variance
from srlm.records import Judgment, Response, content_id, seed_for
from srlm.stages.replies import Made, in_blocks, replies_to
from srlm.store.blocks import Block, Resume, Sized


def judge(
    section: Judges,
    engine: Engine,
    rubric: Rubric,
    responses: Sized[Response],
    *,
    seed: int = 0,
    resume: Resume[Judgment] | None = None,
) -> Iterator[Block[Judgment]]:
    """Blocks with one Judgment a response, in their order; unreadable draws counted by reason."""

    def ask(block: list[Response]) -> Made[Judgment]:
        trials = {item.id: _Trial(item, _is_flagged(item, rubric)) for item in block}
        if section.justify:
            _write(section, engine, rubric, list(trials.values()), seed)
        if section.scoring == "expected":
            _weigh(section, engine, rubric, list(trials.values()), seed)
        judgments = [_judgment(section, rubric, trials[item.id]) for item in block]
        return judgments, _count(judgments)

    return in_blocks(engine, responses, section.block, resume, ask)


@dataclass
class _Trial:
    """One response under judgment: what was said about it so far, one item a draw."""

    response: Response
    flagged: bool
    replies: list[Reply] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    expectations: list[Expectation | str] = field(default_factory=list)  # a text: why there is none
    unasked: str = ""  # why there are no replies
    retries: int = 0
    num_tokens: int = 0

    def put(self, draw: int, reply: Reply, reading: Reading) -> None:
        """Take a reply as that of a draw, in place of an earlier one."""
        self.num_tokens += reply.num_tokens
        if draw < len(self.replies):
            self.replies[draw], self.readings[draw] = reply, reading
            self.retries += 1
        else:
            self.replies.append(reply)
            self.readings.append(reading)

    def missing(self) -> list[int]:
        """The draws that gave no score."""
        return [draw for draw, reading in enumerate(self.readings) if reading.verdict is None]


def _write(section: Judges, engine: Engine, rubric: Rubric, trials: Sequence[_Trial], seed: int) -> None:
    """Sample the replies of all trials, and those again that cannot be read but have to be."""
    retries = section.retries if section.scoring == "sampled" else 0
    wanted = {trial.response.id: (trial, list(range(section.samples))) for trial in trials}
    for attempt in range(retries + 1):
        requests = [
            _request(section, rubric, trial, seed, n=len(draws), attempt=attempt)
            for trial, draws in wanted.values()
        ]
        replies, left_out = replies_to(engine, requests)
        for key, (trial, draws) in wanted.items():
            trial.unasked = left_out.get(key, "")
            for place, draw in enumerate([] if trial.unasked else draws):
                reply = replies[key, place]
                reading = read_verdict(reply.text, reply.finish, rubric, flagged=trial.flagged)
                trial.put(draw, reply, reading)
        wanted = {key: (trial, missing) for key, (trial, _) in wanted.items() if (missing := trial.missing())}
        if not wanted:
            return


def _weigh(section: Judges, engine: Engine, rubric: Rubric, trials: Sequence[_Trial], seed: int) -> None:
    """Read the probabilities of the grades where they would stand, for every draw of all trials."""
    requests, places = [], []
    for trial in trials:
        for draw, before in enumerate(_justifications(section, trial)):
            requests.append(_weighing(rubric, trial.response, before, draw, seed))
            places.append(trial)
    replies, left_out = replies_to(engine, requests)
    for request, trial in zip(requests, places, strict=True):
        reply = replies.get((request.id, 0))
        trial.expectations.append(expectation(reply.probabilities, rubric) if reply else left_out[request.id])


def _justifications(section: Judges, trial: _Trial) -> list[str]:
    """What stands before the grade, for each draw: the reply up to its verdict, or nothing."""
    if not section.justify:
        return [""]
    return [
        reply.text[: reading.start].rstrip() + "\n"
        for reply, reading in zip(trial.replies, trial.readings, strict=True)
    ]


def _request(section: Judges, rubric: Rubric, trial: _Trial, seed: int, *, n: int, attempt: int) -> Request:
    again, response = (attempt,) if attempt else (), trial.response
    return Request(
        id=response.id,
        conversation=rubric.conversation(response.prompt, response.text),
        purpose="judgment",
        seed=seed_for(seed, "judgment", response.id, *again),
        n=n,
        temperature=section.temperature,
        top_p=section.top_p,
        max_tokens=section.max_tokens,
        # Of a text that holds a verdict the judge may quote one first.
        until="" if trial.flagged else until_verdict(rubric),
    )


def _weighing(rubric: Rubric, response: Response, before: str, draw: int, seed: int) -> Request:
    return Request(
        id=f"{response.id} {draw}",
        conversation=rubric.conversation(response.prompt, response.text),
        purpose="judgment",
        seed=seed_for(seed, "weighing", response.id, draw),
        max_tokens=1,
        prefix=before.lstrip() + rubric.before_grade,
        continuations=rubric.grades,
    )


def _judgment(section: Judges, rubric: Rubric, trial: _Trial) -> Judgment:
    sampled = [reading.score for reading in trial.readings]
    known = [item for item in trial.expectations if isinstance(item, Expectation)]
    expected = [item.score if isinstance(item, Expectation) else None for item in trial.expectations]
    scores = sampled if section.scoring == "sampled" else expected
    variance = sampled_variance(sampled) if section.scoring == "sampled" else expected_variance(known)
    return Judgment(
        id=content_id("judgment", trial.response.id, [reply.text for reply in trial.replies], expected),
        response_id=trial.response.id,
        prompt_id=trial.response.prompt_id,
        rubric=rubric.version,
        scoring=section.scoring,
        score=mean_score(scores),
        variance=variance,
        scores=tuple(sampled),
        reasons=_reasons(section, trial),
        replies=tuple(reply.text for reply in trial.replies),
        finishes=tuple(reply.finish for reply in trial.replies),
        expected=tuple(expected),
        outside=tuple(item.outside for item in known),
        retries=trial.retries,
        num_tokens=trial.num_tokens,
        flagged=trial.flagged,
    )


def _reasons(section: Judges, trial: _Trial) -> tuple[str | None, ...]:
    """Why each draw has no score of the kind that is used, None where it has one."""
    draws = section.samples if section.justify else 1
    if section.scoring == "sampled":
        found = [reading.reason for reading in trial.readings]
    else:
        found = [_why(item) for item in trial.expectations]
    return tuple(found) or (trial.unasked,) * draws


def _why(item: Expectation | str) -> str | None:
    if isinstance(item, str):
        return item
    return None if item.score is not None else "off the grades"


def _is_flagged(response: Response, rubric: Rubric) -> bool:
    """Whether the judge's prompt holds a verdict that a judge could quote."""
    return any(attempts_a_verdict(text, rubric) for text in (response.prompt, response.text))


def _count(judgments: list[Judgment]) -> Counter[str]:
    counts = Counter(f"unreadable: {reason}" for item in judgments for reason in item.reasons if reason)
    counts["replies"] = sum(len(item.reasons) for item in judgments)
    counts["retries"] = sum(item.retries for item in judgments)
    counts["tokens"] = sum(item.num_tokens for item in judgments)
    counts["flagged"] = sum(item.flagged for item in judgments)
    return +counts

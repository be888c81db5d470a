"""EFT: the judge's prompt and what a good judge replies to it (paper, section 2.1).

Answers that people scored are examples as they are. Where people only ranked, the SFT baseline judges each
answer K times, and a prompt's judgments are kept when their order agrees with the people's; then the
commonest score is capped. The paper leaves open how; our rules:

- one draw of all answers to a prompt agrees when every answer that people placed higher has a higher score;
  an equal one agrees only with `ties=keep`. The first draw that agrees is kept, the others are not looked at.
- of the commonest score so many items are left out, by chance from their content, that its share is
  `max_share` at most. Their answers keep their rank.
- scores are kept from 0 to 5; a grade of another scale becomes the nearest of them, and back when taught.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

from srlm.config import EftSection
from srlm.judging.reading import read_verdict
from srlm.judging.rubric import SEED_TOP, Rubric
from srlm.records import Example, Judgment, Prompt, Response, content_id, seed_for
from srlm.seeds import RankedAnswer, RankedPrompt


def eft_examples(ranked: Iterable[RankedPrompt], rubric: Rubric) -> list[Example]:
    """One supervised example a scored answer; answers without a score teach nothing yet."""
    examples = []
    for line in ranked:
        for answer in line.answers:
            if answer.score is None:
                continue
            prompt = rubric.conversation(line.prompt, answer.text)[0].content
            target = rubric.target(answer.justification, answer.score)
            examples.append(
                Example(id=content_id("eft", prompt, target), kind="eft", prompt=prompt, response=target)
            )
    return examples


def as_responses(ranked: Iterable[RankedPrompt]) -> list[Response]:
    """The scored answers as responses, for the model to judge."""
    return [_response(line, draw, answer) for line in ranked for draw, answer in enumerate(line.answers)]


def _response(line: RankedPrompt, draw: int, answer: RankedAnswer) -> Response:
    prompt = Prompt.of(line.prompt, (), 0)
    return Response.given(content_id("seed answer", prompt.id, answer.text), prompt, answer.text, draw=draw)


def agreed(
    section: EftSection,
    rubric: Rubric,
    ranked: Iterable[RankedPrompt],
    judgments: Iterable[Judgment],
    seed: int,
) -> tuple[list[RankedPrompt], Counter[str]]:
    """The prompts on which a draw agrees with the people, scored by it; and what each filter kept.

    Counts: `prompts`, `dropped: ...` by reason, `kept`; items by score as `score 4 before the cap` and `score
    4 after the cap`.
    """
    judged = {item.response_id: item for item in judgments}
    counts: Counter[str] = Counter()
    kept: list[RankedPrompt] = []
    for line in ranked:
        counts["prompts"] += 1
        if len(set(line.places)) < 2:
            counts["dropped: people placed all alike"] += 1
            continue
        given = [judged.get(response.id) for response in as_responses([line])]
        outcome = _first_agreement(section, rubric, line, given)
        if isinstance(outcome, RankedPrompt):
            kept.append(outcome)
            counts["kept"] += 1
        else:
            counts[f"dropped: {outcome}"] += 1
    counts.update(f"score {score} before the cap" for score in _scores(kept))
    capped = cap_commonest(kept, section.max_share, seed)
    counts.update(f"score {score} after the cap" for score in _scores(capped))
    return capped, counts


def agrees(places: Sequence[int], scores: Sequence[float], ties: str) -> bool:
    """Whether every answer that people placed higher (0 = best) has the higher score."""
    for (one, score), (other, other_score) in combinations(zip(places, scores, strict=True), 2):
        better, worse = (score, other_score) if one < other else (other_score, score)
        if one != other and (better < worse or (better == worse and ties == "drop")):
            return False
    return True


def cap_commonest(lines: list[RankedPrompt], max_share: float, seed: int) -> list[RankedPrompt]:
    """The lines without so many scores of the commonest kind that its share is at most `max_share`."""
    counts = Counter(_scores(lines))
    if not counts or max_share == 1:
        return lines
    commonest, number = counts.most_common(1)[0]
    allowed = int(max_share / (1 - max_share) * (counts.total() - number) + 1e-9)
    items = [
        (line.prompt, answer.text) for line in lines for answer in line.answers if answer.score == commonest
    ]
    items.sort(key=lambda item: seed_for(seed, "cap", *item))
    dropped = set(items[allowed:])

    def without(line: RankedPrompt, answer: RankedAnswer) -> RankedAnswer:
        if (line.prompt, answer.text) not in dropped:
            return answer
        return RankedAnswer(text=answer.text, rank=answer.rank, author=answer.author)

    return [
        line.model_copy(update={"answers": tuple(without(line, answer) for answer in line.answers)})
        for line in lines
    ]


def _first_agreement(
    section: EftSection, rubric: Rubric, line: RankedPrompt, given: list[Judgment | None]
) -> RankedPrompt | str:
    """The line with the scores of the first draw that agrees, or why no draw does."""
    reason = "unreadable"
    whole = [item for item in given if item]
    for draw in range(section.samples if len(whole) == len(given) else 0):
        scores = [item.scores[draw] if draw < len(item.scores) else None for item in whole]
        readable = [score for score in scores if score is not None]
        if len(readable) < len(scores):
            continue
        reason = "order"
        if agrees(line.places, readable, section.ties):
            answers = zip(line.answers, line.places, whole, readable, strict=True)
            update = tuple(
                RankedAnswer(
                    text=answer.text,
                    rank=place,
                    author=answer.author,
                    score=rubric.seed_score(score),
                    justification=_justification(judgment, draw, rubric),
                    labelled_by="agreement",
                )
                for answer, place, judgment, score in answers
            )
            return line.model_copy(update={"answers": update})
    return reason


def _justification(judgment: Judgment, draw: int, rubric: Rubric) -> str:
    """What the judge wrote before its verdict."""
    reply = judgment.replies[draw]
    reading = read_verdict(reply, judgment.finishes[draw], rubric, flagged=judgment.flagged)
    return reply[: reading.start].strip()


def agreement_table(counts: Counter[str]) -> str:
    """What each filter kept, and the scores before and after the cap of the commonest, as plain text."""
    dropped = {key: number for key, number in counts.items() if key.startswith("dropped")}
    rows = [f"{'ranked prompts':<34}{counts['prompts']:>8,}"]
    rows += [f"{key:<34}{number:>8,}" for key, number in sorted(dropped.items())]
    rows += [
        f"{'kept: a draw agrees':<34}{counts['kept']:>8,}",
        "",
        f"{'score':<10}{'before':>12}{'after':>12}",
    ]
    for score in range(SEED_TOP + 1):
        before, after = (counts[f"score {score} {when} the cap"] for when in ("before", "after"))
        rows.append(f"{score:<10}{before:>12,}{after:>12,}")
    return "\n".join(rows)


def _scores(lines: Iterable[RankedPrompt]) -> list[int]:
    return [answer.score for line in lines for answer in line.answers if answer.score is not None]

"""EFT examples: the judge's prompt and what a good judge replies (paper, section 2.1)."""

from collections.abc import Iterable

from srlm.judging.rubric import judge_conversation, judge_target
from srlm.records import Example, Prompt, Response, content_id
from srlm.seeds import RankedAnswer, RankedPrompt


def eft_examples(ranked: Iterable[RankedPrompt]) -> list[Example]:
    """One supervised example a scored answer; answers without a score teach nothing yet."""
    examples = []
    for line in ranked:
        for answer in line.answers:
            if answer.score is None:
                continue
            prompt = judge_conversation(line.prompt, answer.text)[0].content
            target = judge_target(answer.justification, answer.score)
            examples.append(
                Example(id=content_id("eft", prompt, target), kind="eft", prompt=prompt, response=target)
            )
    return examples


def as_responses(ranked: Iterable[RankedPrompt]) -> list[Response]:
    """The scored answers as responses, for the model to judge."""
    return [_response(line, draw, answer) for line in ranked for draw, answer in enumerate(line.answers)]


def _response(line: RankedPrompt, draw: int, answer: RankedAnswer) -> Response:
    prompt = Prompt.of(line.prompt, (), 0)
    return Response(
        id=content_id("seed answer", prompt.id, answer.text),
        prompt_id=prompt.id,
        prompt=line.prompt,
        draw=draw,
        text=answer.text,
        num_tokens=0,
        finish="stop",
    )

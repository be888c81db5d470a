"""What to read: each kind is found where it is, and every sample can be traced."""

import pytest

from srlm.records import Judgment, Pair, Prompt, Response
from srlm.report.reading import Reading
from srlm.report.samples import SHOWN, changes, cut, samples


def response(n, text):
    return Response.given(f"r{n}", Prompt.of(f"Prompt {n}?", (), n), text)


def judgment(response, score, **more):
    plain = {
        "id": f"j-{response.id}",
        "response_id": response.id,
        "prompt_id": response.prompt_id,
        "rubric": "r@1",
        "scoring": "sampled",
        "score": score,
        "variance": 0.0,
        "scores": (score,),
        "reasons": (None if score is not None else "no score",),
        "replies": (f"I give {score}.",),
        "finishes": ("stop",),
        "num_tokens": 1,
        "flagged": False,
    }
    return Judgment(**plain | more)


def write(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(item.model_dump_json() + "\n" for item in records))


@pytest.fixture
def run(tmp_path):
    """A round of eight responses: lengths 1 to 8 words, response 2 unread, 3 flagged, 4 disputed."""
    responses = [response(n, "word " * (n + 1)) for n in range(8)]
    judged = [judgment(item, float(n % 5)) for n, item in enumerate(responses)]
    judged[2] = judgment(responses[2], None)
    judged[3] = judgment(responses[3], 5.0, flagged=True)
    judged[4] = judgment(responses[4], 2.5, variance=4.0)
    pair = Pair(
        id="pair",
        prompt_id=responses[0].prompt_id,
        prompt=responses[0].prompt,
        chosen_id="r1",
        rejected_id="r0",
        chosen=responses[1].text,
        rejected=responses[0].text,
        chosen_score=1.0,
        rejected_score=0.0,
        chosen_finish="stop",
        rejected_finish="stop",
    )
    write(tmp_path / "M2/responses.jsonl", responses)
    write(tmp_path / "M2/judgments.jsonl", judged)
    write(tmp_path / "M2/pairs.jsonl", [pair])
    return tmp_path


def reading(folder):
    """The run with all of its steps done."""
    steps = [path.relative_to(folder).as_posix().removesuffix(".jsonl") for path in folder.rglob("*.jsonl")]
    trained = {"M1/sft": {"digest": "abc"}, "M3/dpo": {"digest": "def"}}
    return Reading(folder, {step: {"records": None} for step in steps} | trained, [])


def of(found, kind):
    return [item for item in found if item.kind == kind]


def test_every_kind_is_found(run):
    found = samples(reading(run), ["M2"], None)
    (pair,) = of(found, "pairs")
    assert [side.mark for side in pair.sides] == ["chosen", "judge", "rejected", "judge"]
    assert pair.trace["responses"] == "r1, r0"
    assert pair.trace["judgments"] == "j-r1, j-r0"
    assert pair.trace["answered and judged by"] == "M1 abc"
    (disputed,) = of(found, "largest disagreement of the judge with itself")
    assert disputed.trace["response"] == "r4"
    assert [item.trace["response"] for item in of(found, "shortest responses")] == ["r0", "r1", "r2"]
    assert [item.trace["response"] for item in of(found, "longest responses")] == ["r7", "r6", "r5"]
    (unread,) = of(found, "judgments that could not be read")
    assert unread.sides[0].label == "response, no score"
    assert unread.sides[1].label == "the judge, draw 1: no score"
    (flagged,) = of(found, "texts in the form of a verdict")
    assert flagged.trace["judgment"] == "j-r3"


def test_a_round_that_is_not_there_yet_gives_nothing(tmp_path):
    assert samples(reading(tmp_path), ["M2"], None) == []
    assert changes(reading(tmp_path), "M2", None) == []


def test_a_judge_that_is_set_is_named(run):
    trace = of(samples(reading(run), ["M2"], "big"), "pairs")[0].trace
    assert trace["answered by"] == "M1 abc"
    assert trace["judged by"] == "big"
    assert "answered and judged by" not in trace


@pytest.fixture
def answered(tmp_path):
    """Six held-out prompts, M1's answers 2.0 each by its own word, M3's by M1's word."""
    before = [response(n, f"before {n}") for n in range(6)]
    after = [item.model_copy(update={"id": f"{item.id}-after", "text": "after"}) for item in before]
    write(tmp_path / "M1/evaluation/answers.jsonl", before)
    write(tmp_path / "M3/evaluation/answers.jsonl", after)
    write(tmp_path / "M1/watch/own.jsonl", [judgment(item, 2.0) for item in before])
    write(tmp_path / "M3/watch/own.jsonl", [judgment(item, 5.0) for item in after])
    scores = [2.0, 5.0, 0.0, 3.0, None, 2.5]
    frozen = [judgment(item, score) for item, score in zip(after, scores, strict=True)]
    write(tmp_path / "M3/watch/frozen.jsonl", frozen)
    return tmp_path


def test_gains_and_losses_are_by_the_frozen_judge(answered):
    found = changes(reading(answered), "M3", None)
    gains = of(found, "best gains")
    assert [item.prompt for item in gains] == ["Prompt 1?", "Prompt 3?", "Prompt 5?"]
    assert [side.label for side in gains[0].sides] == ["M1, score 2.00", "M3, score 5.00"]
    assert gains[0].trace["judgments"] == "j-r1, j-r1-after"
    assert gains[0].trace["answered by"] == "M1 abc, M3 def"
    assert gains[0].trace["judged by"] == "M1 abc"
    (loss,) = of(found, "worst losses")
    assert loss.prompt == "Prompt 2?"


def test_no_other_judge_stands_in_for_the_frozen_one(answered):
    """M3's own word on M3 is none; nor is M1/watch/own M1's where another judges."""
    half = reading(answered)
    assert changes(half, "M3", "big") == []
    (answered / "M3/watch/frozen.jsonl").unlink()
    late = reading(answered)
    assert changes(late, "M3", None) == []
    assert late.missing == ["best gains and worst losses: no word of M1 on answers of M3"]


def test_long_texts_are_cut_and_say_so():
    assert cut("x" * SHOWN) == "x" * SHOWN
    assert cut("x" * (SHOWN + 7)).endswith("… (7 more characters)")

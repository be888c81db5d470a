import pytest

from srlm.config import ResponsesSection
from srlm.records import Prompt, Response, content_id
from srlm.stages import records_of
from srlm.stages.drift import drift
from srlm.store.blocks import Resume

SECTION = ResponsesSection(block=2)


class Couple:
    """A letter costs half a nat, and a word is a token."""

    def __init__(self, digest="couple"):
        self.digest, self.asked = digest, []

    def nats(self, responses):
        self.asked.append([one.text for one in responses])
        return [(len(one.text) / 2, len(one.text.split())) for one in responses]


def responses(*texts):
    prompts = [Prompt.of(f"Prompt {place // 2}", (), 0) for place in range(len(texts))]
    return [
        Response(
            id=content_id(place, text),
            prompt_id=prompt.id,
            prompt=prompt.text,
            draw=place % 2,
            text=text,
            num_tokens=1,
            finish="stop",
        )
        for place, (prompt, text) in enumerate(zip(prompts, texts, strict=True))
    ]


ANSWERS = responses("one", "two words", "three", "four", "five or six")


def test_a_response_has_its_nats_and_its_tokens():
    couple = Couple()
    blocks = list(drift(SECTION, couple, ANSWERS))
    made = records_of(blocks)
    assert [(one.response_id, one.prompt_id, one.nats, one.num_tokens) for one in made] == [
        (one.id, one.prompt_id, len(one.text) / 2, len(one.text.split())) for one in ANSWERS
    ]
    assert couple.asked == [["one", "two words"], ["three", "four"], ["five or six"]]
    assert [(block.done, block.total, dict(block.counts)) for block in blocks] == [
        (2, 5, {}),
        (4, 5, {}),
        (5, 5, {}),
    ]


def test_empty_responses_are_left_out_and_counted():
    answers = responses("", "one", "", "", "two words", "three")
    couple = Couple()
    blocks = list(drift(SECTION, couple, answers))
    assert [one.response_id for one in records_of(blocks)] == [answers[n].id for n in (1, 4, 5)]
    assert [one.nats for one in records_of(blocks)] == [1.5, 4.5, 2.5]
    assert [dict(block.counts) for block in blocks] == [{"empty": 1}, {"empty": 2}, {}]
    assert couple.asked == [["one"], [], ["two words", "three"]]


def test_spaces_are_text():
    assert [one.nats for one in records_of(drift(SECTION, Couple(), responses("  ")))] == [1]


@pytest.mark.parametrize("blocks", [0, 1, 2, 3])
def test_drift_goes_on_from_a_block_as_if_never_stopped(blocks):
    whole = list(drift(SECTION, Couple(), ANSWERS))
    couple = Couple()
    assert list(drift(SECTION, couple, ANSWERS, resume=Resume(blocks))) == whole[blocks:]
    assert len(couple.asked) == 3 - blocks


def test_an_id_names_the_couple_and_the_response():
    ids = {one.id for name in ("M0", "M1") for one in records_of(drift(SECTION, Couple(name), ANSWERS))}
    assert len(ids) == 2 * len(ANSWERS)


def test_a_couple_that_forgets_a_response_is_noticed():
    class Lazy(Couple):
        def nats(self, responses):
            return super().nats(responses)[1:]

    with pytest.raises(ValueError, match="shorter"):
        list(drift(SECTION, Lazy(), ANSWERS))

"""Which examples the model is shown when it writes prompts, and the user's turn it writes without any."""

import itertools
import random
from statistics import fmean

import pytest

from srlm.config import PromptsSection
from srlm.engines.scripted import ScriptedEngine
from srlm.records import Example, Judgment, Prompt, content_id
from srlm.similarity import closest
from srlm.stages import records_of
from srlm.stages.demonstrations import LOOKED_AT, Shown, hardest, spreads_of, unlike
from srlm.stages.prompts import write_prompts
from srlm.store.blocks import Resume

HARD = PromptsSection(demonstrate="hard", count=12, block=3)
SYNTHESIS = PromptsSection(method="synthesis", count=12, block=3)
FIELDS = [
    "cooking",
    "sailing",
    "algebra",
    "gardens",
    "history",
    "weather",
    "music",
    "chess",
    "glass",
    "trains",
]


def seed_of(n: int) -> Example:
    text = f"Question number {n} about topic {n * 7}"
    return Example(id=content_id(n), kind="ift", prompt=text, response="An answer.")


SEEDS = [seed_of(n) for n in range(20)]
EARLIER = [Prompt.of(f"How does machine {n} work in detail?", (), n) for n in range(5)]
MANY = [Prompt.of(f"Tell the story of the {n}th lighthouse keeper.", (), n) for n in range(16)]


def judgment(prompt: str, place: int, score: float | None) -> Judgment:
    return Judgment(
        id=f"{prompt} {place}",
        response_id=f"{prompt} response {place}",
        prompt_id=prompt,
        rubric="additive@0",
        scoring="sampled",
        score=score,
        variance=None,
        scores=(score,),
        reasons=(None,),
        replies=("",),
        finishes=("stop",),
        num_tokens=1,
        flagged=False,
    )


def own_shown(made: list[Prompt], own: list[Prompt]) -> list[set[str]]:
    ids = {item.id for item in own}
    return [ids & set(item.demonstrations) for item in made]


def test_defaults_write_what_they_wrote_before_there_were_switches():
    section = PromptsSection(count=12, block=3)
    made = records_of(write_prompts(section, ScriptedEngine(), SEEDS, EARLIER, seed=3))
    assert content_id([item.model_dump(mode="json") for item in made]) == "d90f6cc52ea0b134"


def test_a_spread_is_the_highest_score_less_the_lowest():
    scores = {"a": [1.0, 4.5, None, 2.0], "b": [3.0, 3.0], "c": [None, 5.0], "d": [None]}
    given = [judgment(key, place, score) for key, all_ in scores.items() for place, score in enumerate(all_)]
    assert spreads_of(HARD, given) == {"a": 3.5, "b": 0.0}
    assert spreads_of(PromptsSection(), given) == {}


def test_the_hardest_are_a_quarter_and_ties_go_by_id():
    spreads = {item.id: float(n // 2) for n, item in enumerate(MANY)}
    found = [item.id for item in hardest(HARD, MANY, spreads)]
    assert found == [*sorted([MANY[14].id, MANY[15].id]), *sorted([MANY[12].id, MANY[13].id])]
    few = {item.id: 1.0 for item in MANY[:3]}
    assert [item.id for item in hardest(HARD, MANY, few)] == sorted(few)[:2]  # as many as are shown
    assert hardest(HARD, MANY, {MANY[0].id: 5.0}) == []


def test_hard_shows_only_what_the_answers_to_were_furthest_apart():
    spreads = {item.id: float(n) for n, item in enumerate(MANY)}
    made = records_of(write_prompts(HARD, ScriptedEngine(), SEEDS, MANY, (), spreads, seed=1))
    shown = own_shown(made, MANY)
    assert len(made) == 12
    assert all(len(found) == 2 for found in shown)
    assert set.union(*shown) == {item.id for item in MANY[12:]}
    assert all(len(item.demonstrations) == 8 for item in made)


def test_hard_begins_as_random_does():
    plain = PromptsSection(count=12, block=3)
    assert records_of(write_prompts(HARD, ScriptedEngine(), SEEDS)) == records_of(
        write_prompts(plain, ScriptedEngine(), SEEDS)
    )


def test_each_next_example_is_the_one_least_like_those_that_are_there():
    candidates = [
        Shown(str(n), f"Say something about {FIELDS[n % 10]} {'and more ' * (n % 3)}now") for n in range(24)
    ]
    beside = [Shown("beside", "Say something about chess now")]
    for draw in range(5):
        picked = unlike(candidates, 6, beside, random.Random(draw))
        assert len(set(picked)) == 6
        for place in range(6):
            there = [item.text for item in (*beside, *picked[:place])]
            left = [item.text for item in candidates if item not in picked[:place]]
            likeness = closest(left, there)
            assert closest([picked[place].text], there)[0] == min(likeness)
    first = {unlike(candidates, 1, (), random.Random(draw))[0].id for draw in range(20)}
    assert len(first) > 5


def test_more_examples_than_are_looked_at_can_be_shown():
    many = [Shown(str(n), f"word{n} word{n + 1}") for n in range(3 * LOOKED_AT)]
    assert len(set(unlike(many, LOOKED_AT + 5, (), random.Random(0)))) == LOOKED_AT + 5
    assert unlike([], 0, (), random.Random(0)) == []


def test_diverse_examples_are_less_alike_than_random_ones():
    """Ten families of texts, each of near copies: by chance an attempt shows several of one."""

    def family(n: int) -> str:
        return " ".join(f"{FIELDS[n % 10]}{place}" for place in range(6))

    seeds = [Example(id=f"s{n}", kind="ift", prompt=f"{family(n)} {n}", response="a") for n in range(60)]
    own = [Prompt.of(f"{family(n)} note {n}", (), n) for n in range(30)]

    def most_alike(demonstrate: str) -> float:
        section = PromptsSection(demonstrate=demonstrate, count=10, block=5)
        made = records_of(write_prompts(section, ScriptedEngine(), seeds, own, seed=2))
        texts = {item.id: item.prompt for item in seeds} | {item.id: item.text for item in (*own, *made)}
        shown = [[texts[key] for key in item.demonstrations] for item in made]
        assert all(len(set(found)) == 8 for found in shown)
        assert all(len(found) == 2 for found in own_shown(made[:5], own))
        return fmean(
            max(closest([one], [other])[0] for one, other in itertools.combinations(found, 2))
            for found in shown
        )

    assert most_alike("random") > 0.7
    assert most_alike("diverse") < 0.2


@pytest.mark.parametrize(
    "section", [HARD, SYNTHESIS, PromptsSection(demonstrate="diverse", count=12, block=3)]
)
def test_every_way_goes_on_from_a_block_as_if_never_stopped(section):
    given = (ScriptedEngine(), SEEDS, MANY, (), {item.id: float(n) for n, item in enumerate(MANY)})
    whole = list(write_prompts(section, *given, seed=3))
    resume = Resume(2, [record for block in whole[:2] for record in block.records])
    assert list(write_prompts(section, *given, seed=3, resume=resume)) == whole[2:]


def test_synthesis_asks_for_the_users_turn_from_nothing():
    asked = []

    def script(request, draw):
        asked.append(request)
        return f"Why would anyone count {request.seed} {request.seed % 9973} {request.seed % 9967} sheep?"

    first = records_of(write_prompts(SYNTHESIS, ScriptedEngine(script), SEEDS, seed=1))
    second = records_of(write_prompts(SYNTHESIS, ScriptedEngine(script), SEEDS, first, seed=1))
    assert all(
        (item.conversation, item.speaker, item.prefix, item.stop) == ((), "user", "", ()) for item in asked
    )
    assert len({item.seed for item in asked}) == len(asked)  # a fixed writer repeats no round
    assert [len(made) for made in (first, second)] == [12, 12]
    assert all(item.demonstrations == () for item in (*first, *second))
    assert not {item.text for item in first} & {item.text for item in second}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Always the same sentence about nothing", "too similar"),
        ("word " * 400, "cut off"),
        ("Hello.", "too short"),
        (SEEDS[3].prompt, "too similar"),
    ],
)
def test_synthesis_is_filtered_bounded_and_counted(said, reason):
    engine = ScriptedEngine(lambda request, draw: said)
    section = PromptsSection(method="synthesis", count=4, block=3, max_attempts=2)
    blocks = list(write_prompts(section, engine, SEEDS))
    total = {
        key: sum(block.counts.get(key, 0) for block in blocks) for key in ("attempts", f"dropped: {reason}")
    }
    kept = len(records_of(blocks))
    assert total == {"attempts": 8, f"dropped: {reason}": 8 - kept}
    assert kept == (said.startswith("Always"))
